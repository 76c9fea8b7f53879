"""What scores of held-out pairs say: right order, and whether doubt and error agree.

Shape letters: M pairs, K dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visreward.core.preference import Calibration
from visreward.evaluation.calibration import read_chance
from visreward.evaluation.metrics.reliability import expected_calibration_error

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScoredPairs:
    """Every two images of each held-out edit, as a model scores them; differences first - second.

    Attributes:
        gap: (M,) difference of the fused scores.
        deviation: (M,) deviation of that difference, 0 where the model has no sigma.
        overall: (M,) difference of the true overall ratings.
        gaps: (M, K) differences of the scores on each dimension.
        ratings: (M, K) differences of the true ratings on each dimension.
    """

    gap: Array
    deviation: Array
    overall: Array
    gaps: Array
    ratings: Array


def order_figures(pairs: ScoredPairs) -> dict[str, float]:
    """Return how often pairs are in the right order; equal scores count as wrong.

    accuracy: of pairs that differ overall, by the fused score. following, quality: of pairs that
    differ in that dimension alone, by its own score. ties_apart: how often a pair that differs
    overall has a larger gap than one that is tied, 1/2 by chance.
    """
    is_clear = pairs.overall != 0
    figures = {"accuracy": _share_right(pairs.gap[is_clear], pairs.overall[is_clear])}
    for number, name in enumerate(("following", "quality")):
        differs = pairs.ratings != 0
        alone = differs[:, number] & (differs.sum(axis=1) == 1)
        figures[name] = _share_right(pairs.gaps[alone, number], pairs.ratings[alone, number])
    figures["ties_apart"] = share_above(abs(pairs.gap[is_clear]), abs(pairs.gap[~is_clear]))
    return figures


def doubt_figures(pairs: ScoredPairs, *, noise: float) -> dict[str, float]:
    """Return whether the doubt of a model and its errors agree, on pairs that differ overall.

    Of each pair, P = E[sigmoid(z)] is the probability that the image with the higher mu is the
    better one, z a Gaussian with gap and deviation; 1 - P is the doubt.

    error, doubt: their means. calibration_error: over bins of equally many pairs by P, equal ones
    in one, the mean distance of P and of the share that is right. noisy_calibration_error: the same
    against labels of which `noise` is wrong, as those were that the model learnt from. log_loss:
    mean of -log P of the right order. deviation: geometric mean. doubt_finds_errors,
    sigma_finds_errors: how often a wrong pair has more doubt, or a larger deviation, than a right
    one; 1/2 by chance.

    Args:
        pairs: Held-out pairs with true labels.
        noise: Share of wrong labels in training.
    """
    is_clear = pairs.overall != 0
    gap, deviation = pairs.gap[is_clear], pairs.deviation[is_clear]
    sign = np.sign(pairs.overall[is_clear])
    is_right = gap * sign > 0
    sure = read_chance(abs(gap), deviation, Calibration())
    chance = np.where(is_right, sure, 1 - sure)
    right = is_right.astype(np.float64)
    figures = {
        "error": 1 - float(right.mean()),
        "doubt": 1 - float(sure.mean()),
        "calibration_error": calibration_error(sure, right),
        "noisy_calibration_error": calibration_error(
            sure, right * (1 - noise) + (1 - right) * noise
        ),
        "log_loss": float(-np.log(np.clip(chance, 1e-12, 1)).mean()),
        "doubt_finds_errors": share_above(1 - sure[~is_right], 1 - sure[is_right]),
    }
    if deviation.any():
        figures["deviation"] = float(np.exp(np.log(np.maximum(deviation, 1e-30)).mean()))
        figures["sigma_finds_errors"] = share_above(deviation[~is_right], deviation[is_right])
    return figures


def calibration_error(chance: Array, right: Array) -> float:
    """Return the expected calibration error over bins of equally many pairs, equal ones in one.

    Args:
        chance: (M,) how likely each pair is said to be right.
        right: (M,) whether it is, or how likely that is.
    """
    found = expected_calibration_error(chance, right, binning="equal-count", num_resamples=1)
    return float("nan") if found.value is None else found.value


def share_above(one: Array, other: Array) -> float:
    """Return how often a value of one is above a value of the other; equal ones count half.

    That is the area under the ROC curve; NaN where either is empty.
    """
    if not len(one) or not len(other):
        return float("nan")
    ordered = np.sort(other)
    below = np.searchsorted(ordered, one, side="left")
    not_above = np.searchsorted(ordered, one, side="right")
    return float((below + not_above).mean() / 2 / len(other))


def _share_right(gap: Array, wanted: Array) -> float:
    return float((gap * wanted > 0).mean()) if len(gap) else float("nan")
