"""Accuracy on triplets: does a score put refined over winning over losing?

Shapes: T triplets; the columns of every array are losing, winning, refined image (I1, I2, I3).
The three comparisons I2>I1, I3>I2, I3>I1 and their average are the columns of the results table
of "Enhancing Reward Models for High-quality Image Generation: Beyond Text-Image Alignment"
(ICCV 2025, arXiv 2507.19002).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visreward.core.errors import NonFiniteError, ShapeError
from visreward.evaluation.metrics.intervals import Accuracy, wilson_interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletAccuracies:
    """How often a score orders the images of a triplet as people do.

    Attributes:
        winning_over_losing: I2>I1.
        refined_over_winning: I3>I2.
        refined_over_losing: I3>I1.
        average: Mean of the three.
        num_triplets: How many triplets were counted.
    """

    winning_over_losing: Accuracy
    refined_over_winning: Accuracy
    refined_over_losing: Accuracy
    average: Accuracy
    num_triplets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedTripletMetrics:
    """What the released validation of ICT-HP prints, with intervals added.

    Attributes:
        ict_hp: Accuracies of ICT * softmax(HP); the release calls the average `accuracy` and
            the comparisons `agree_on_10`, `agree_on_r1`, `agree_on_r0`. Its `num_samples` is
            three times `num_triplets`.
        hp: Accuracies of softmax(HP); `hp_acc:` (with the colon), `hp_10`, `hp_r1`, `hp_r0`.
        mean_hp_losing: Mean softmax share of the losing image, in [0, 1]; `hp_0`.
        mean_hp_winning: The same of the winning image; `hp_1`.
        mean_hp_refined: The same of the refined image; `hp_r`.
    """

    ict_hp: TripletAccuracies
    hp: TripletAccuracies
    mean_hp_losing: float
    mean_hp_winning: float
    mean_hp_refined: float


def triplet_accuracies(scores: ArrayLike) -> TripletAccuracies:
    """Return the shares of triplets whose images are ordered as people order them.

    A comparison is right when the better image scores strictly higher: equal scores are wrong.

    Intervals are 95 % Wilson intervals over triplets. The three comparisons of one triplet
    depend on each other, so the average is not 3 T trials. Its interval uses T trials: a mean of
    three answers lies in [0, 1], hence varies at most as much as one answer of the same
    expectation, and the interval is never too narrow for that reason, at times too wide.

    Args:
        scores: (T, 3) finite numbers, columns losing, winning, refined; higher is better.

    Returns:
        Four accuracies with intervals; deterministic, and the same for any order of the triplets
        and any increasing change of the scores.

    Raises:
        ShapeError: if the scores are not (T, 3) with T at least 1.
        NonFiniteError: if a score is NaN or infinite.
    """
    losing, winning, refined = _read_triplets(scores, name="scores").T
    answers = np.stack([winning > losing, refined > winning, refined > losing])
    num_triplets = answers.shape[1]
    columns = [
        wilson_interval(int(right.sum()) / num_triplets, num_trials=num_triplets)
        for right in answers
    ]
    average = int(answers.sum()) / answers.size
    return TripletAccuracies(
        winning_over_losing=columns[0],
        refined_over_winning=columns[1],
        refined_over_losing=columns[2],
        average=wilson_interval(average, num_trials=num_triplets),
        num_triplets=num_triplets,
    )


def released_triplet_metrics(
    *, ict_scores: ArrayLike, hp_logits: ArrayLike
) -> ReleasedTripletMetrics:
    """Return the numbers of the released validation of ICT-HP (`ICTHPTask.evaluate`).

    The released code multiplies the ICT score by the softmax of the three HP logits of a
    triplet, so a score depends on its companions; the product that works for one image,
    ICT * sigmoid(HP), goes through `triplet_accuracies` instead. The softmax is taken in float64
    here, in the model's precision there: logits more than about 100 apart tie only there.

    Args:
        ict_scores: (T, 3) cosines in [-1, 1] under the basic prompt, columns losing, winning,
            refined.
        hp_logits: (T, 3) raw HP outputs, same order, unbounded.

    Returns:
        The released numbers under our names; deterministic.

    Raises:
        ShapeError: if the inputs are not (T, 3) with one T of at least 1.
        NonFiniteError: if a number is NaN or infinite.
    """
    ict = _read_triplets(ict_scores, name="ict_scores")
    logits = _read_triplets(hp_logits, name="hp_logits")
    if ict.shape != logits.shape:
        raise ShapeError(
            f"ict_scores have shape {ict.shape} but hp_logits {logits.shape}. "
            "Pass both for the same triplets."
        )
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    hp = exponentials / exponentials.sum(axis=1, keepdims=True)
    mean_losing, mean_winning, mean_refined = (float(mean) for mean in hp.mean(axis=0))
    return ReleasedTripletMetrics(
        ict_hp=triplet_accuracies(ict * hp),
        hp=triplet_accuracies(hp),
        mean_hp_losing=mean_losing,
        mean_hp_winning=mean_winning,
        mean_hp_refined=mean_refined,
    )


def _read_triplets(values: ArrayLike, *, name: str) -> NDArray[np.float64]:
    """Return the values as a (T, 3) float64 array, or stop."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or array.shape[0] == 0:
        raise ShapeError(
            f"{name} have shape {array.shape}, expected (T, 3) with T at least 1. "
            "Pass one row per triplet: losing, winning, refined."
        )
    is_bad = ~np.isfinite(array).all(axis=1)
    if is_bad.any():
        row = int(is_bad.argmax())
        raise NonFiniteError(
            f"{name} hold NaN or infinity in {int(is_bad.sum())} of {len(array)} rows, first in "
            f"row {row}: {array[row].tolist()}. Find out why the model gave it; do not drop it."
        )
    return array
