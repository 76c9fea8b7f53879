"""Accuracy on pairs: does a model call the same image better as people, or call both equal?

Shape letters: M pairs.

label: (M,) 1 where people prefer the first, -1 where they prefer the second, 0 for a tie.
margin: (M,) score(first) - score(second). NaN is no verdict: wrong whatever the threshold, never
left out and never 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import UsageError
from visreward.evaluation.metrics.arrays import number_clusters, read_pairs
from visreward.evaluation.metrics.intervals import Estimate, cluster_interval

TieFitting: TypeAlias = Literal["held-out", "same-data"]
"""Where a tie threshold comes from: other clusters than those it is used on, or the same pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TieFit:
    """The tie threshold that fits some pairs best.

    Attributes:
        tie_threshold: Pairs whose |margin| is at most this are called ties; None calls none so.
        accuracy: Share of those pairs that are right with it.
    """

    tie_threshold: float | None
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TiesAccuracy:
    """Accuracy with ties, and what it is made of.

    Attributes:
        accuracy: Share of right pairs; None where no threshold could be found.
        right: (M,) bool, whether each pair is right; None where no threshold could be found.
        thresholds: What was fitted: one for each fold, or one for all pairs.
    """

    accuracy: Estimate
    right: NDArray[np.bool_] | None
    thresholds: tuple[float | None, ...]


def right_pairs(
    margin: ArrayLike, label: ArrayLike, *, tie_threshold: float | None
) -> NDArray[np.bool_]:
    """Return which pairs are right, (M,) bool.

    Args:
        margin: (M,) see the module.
        label: (M,) see the module.
        tie_threshold: Pairs whose |margin| is at most this are called ties. None calls none so:
            a margin of exactly 0 is then wrong for every label.

    Raises:
        ShapeError: if the arrays are not both (M,).
        NonFiniteError: if a margin is infinite.
        UsageError: if a label is not 1, 0 or -1, or the threshold is negative or not finite.
    """
    margins, labels = read_pairs(margin, label)
    is_right: NDArray[np.bool_] = (np.sign(margins) == labels) & (margins != 0)
    if tie_threshold is None:
        return is_right
    if not 0 <= tie_threshold < np.inf:
        raise UsageError(
            f"tie_threshold is {tie_threshold}. Give a finite number of 0 or more, or None for no "
            "ties."
        )
    is_called_tie: NDArray[np.bool_] = np.abs(margins) <= tie_threshold
    return np.where(is_called_tie, labels == 0, is_right)


def fit_tie_threshold(margin: ArrayLike, label: ArrayLike) -> TieFit:
    """Return the tie threshold with the most right pairs, exactly, in O(M log M).

    Every threshold that makes a difference is looked at: none, and each distinct |margin|. Of
    equally good ones the smallest is taken, and none before all.

    Paper: Deutsch, Foster and Freitag, "Ties Matter", EMNLP 2023 (arXiv 2305.14324), section 5.
    Released code (EditReward's `calc_accuracy_with_ties`): never none, and wrong where a |margin|
    repeats; see `as_released.accuracy_with_ties`.

    Args:
        margin: (M,) see the module, M at least 1.
        label: (M,) see the module.

    Raises:
        ShapeError: if the arrays are not both (M,).
        NonFiniteError: if a margin is infinite.
        UsageError: if a label is not 1, 0 or -1, or there is no pair.
    """
    margins, labels = read_pairs(margin, label)
    if not len(margins):
        raise UsageError("There are 0 pairs. A tie threshold needs one pair or more.")
    is_judged = ~np.isnan(margins)
    order = np.flatnonzero(is_judged)[np.argsort(np.abs(margins[is_judged]), kind="stable")]
    sizes = np.abs(margins[order])
    is_ordered = right_pairs(margins[order], labels[order], tie_threshold=None)
    gains = np.cumsum((labels[order] == 0).astype(np.int64) - is_ordered)
    ends = np.flatnonzero(np.append(np.diff(sizes) > 0, True)[: len(sizes)])
    right = int(is_ordered.sum()) + np.concatenate([[0], gains[ends]])
    best = int(right.argmax())
    threshold = None if best == 0 else float(sizes[ends[best - 1]])
    return TieFit(tie_threshold=threshold, accuracy=int(right[best]) / len(margins))


def accuracy_without_ties(
    margin: ArrayLike, label: ArrayLike, *, clusters: Iterable[Hashable] | None = None
) -> Estimate:
    """Return the share of pairs ordered as people order them, of those that people do order.

    Pairs that people call equal are left out; a margin of 0 and a missing verdict are wrong.

    Args:
        margin: (M,) see the module.
        label: (M,) see the module.
        clusters: (M,) what is drawn whole for the interval; None draws pairs.

    Returns:
        The share with the bootstrap interval over clusters; None with a note where people order
        no pair. Deterministic.

    Raises:
        ShapeError: if the arrays do not have one length.
        NonFiniteError: if a margin is infinite.
        UsageError: if a label is not 1, 0 or -1.
    """
    margins, labels = read_pairs(margin, label)
    numbers = number_clusters(clusters, num=len(margins))
    is_ordered = labels != 0
    if not is_ordered.any():
        return Estimate(value=None, note=f"Not defined: {_what_pairs(len(margins))}.")
    right = right_pairs(margins, labels, tie_threshold=None)[is_ordered]
    return _noted(cluster_interval(right, numbers[is_ordered]), margins[is_ordered])


def accuracy_with_ties(
    margin: ArrayLike,
    label: ArrayLike,
    *,
    clusters: Iterable[Hashable] | None = None,
    fit: TieFitting = "held-out",
    num_folds: int = 5,
    seed: int = 0,
) -> TiesAccuracy:
    """Return the share of pairs that are right where "equal" is an answer too.

    "same-data" takes the threshold that fits these very pairs best, as published numbers do; that
    flatters, the more so the fewer pairs there are. "held-out" splits the clusters into folds and
    uses on each the threshold that fits the others best. The intervals take thresholds as given.

    Args:
        margin: (M,) see the module.
        label: (M,) see the module.
        clusters: (M,) what is never split, and is drawn whole for the interval; None splits and
            draws pairs.
        fit: Where thresholds come from.
        num_folds: Of "held-out", at least 2; no more are used than there are clusters.
        seed: Of the split into folds.

    Returns:
        The share with the bootstrap interval over clusters; None with a note where there is no
        pair, or only one cluster to hold out. Deterministic.

    Raises:
        ShapeError: if the arrays do not have one length.
        NonFiniteError: if a margin is infinite.
        UsageError: if a label is not 1, 0 or -1, or there are fewer than two folds.
    """
    margins, labels = read_pairs(margin, label)
    numbers = number_clusters(clusters, num=len(margins))
    if num_folds < 2:
        raise UsageError(f"num_folds is {num_folds}. Give 2 or more.")
    if not len(margins):
        return _undefined(f"{_what_pairs(0)}")
    if fit == "same-data":
        threshold = fit_tie_threshold(margins, labels).tie_threshold
        right = right_pairs(margins, labels, tie_threshold=threshold)
        thresholds: tuple[float | None, ...] = (threshold,)
    else:
        num_clusters = int(numbers.max()) + 1
        if num_clusters < 2:
            return _undefined("all pairs are of one cluster, so that no threshold can be held out")
        places = np.random.default_rng(seed).permutation(num_clusters)
        folds = (places % min(num_folds, num_clusters))[numbers]
        right, thresholds = _cross_fitted(margins, labels, folds)
    return TiesAccuracy(
        accuracy=_noted(cluster_interval(right, numbers), margins),
        right=right,
        thresholds=thresholds,
    )


def _cross_fitted(
    margins: NDArray[np.float64], labels: NDArray[np.float64], folds: NDArray[np.intp]
) -> tuple[NDArray[np.bool_], tuple[float | None, ...]]:
    """Return which pairs are right with the threshold of the other folds, and the thresholds."""
    right = np.zeros(len(margins), dtype=np.bool_)
    thresholds = []
    for fold in range(int(folds.max()) + 1):
        is_held = folds == fold
        threshold = fit_tie_threshold(margins[~is_held], labels[~is_held]).tie_threshold
        right[is_held] = right_pairs(margins[is_held], labels[is_held], tie_threshold=threshold)
        thresholds.append(threshold)
    return right, tuple(thresholds)


def _noted(found: Estimate, margins: NDArray[np.float64]) -> Estimate:
    """Add how many pairs have no verdict."""
    num_missing = int(np.isnan(margins).sum())
    if not num_missing:
        return found
    return found.noted(f"{num_missing} of {len(margins)} pairs have no verdict and count as wrong.")


def _undefined(reason: str) -> TiesAccuracy:
    return TiesAccuracy(
        accuracy=Estimate(value=None, note=f"Not defined: {reason}."), right=None, thresholds=()
    )


def _what_pairs(num: int) -> str:
    return "people call all pairs equal" if num else "there are no pairs"
