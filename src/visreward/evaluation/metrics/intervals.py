"""Numbers with their intervals: shares of right answers, means, differences of two models.

Shape letters: T answers, M values, G groups or clusters.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import UsageError
from visreward.evaluation.metrics.arrays import (
    cluster_sums,
    number_clusters,
    read_finite,
    read_weights,
)
from visreward.evaluation.metrics.resampling import NUM_RESAMPLES, flip_sums, resample_sums

NORMAL_QUANTILE_95: Final = 1.959963984540054  # two-sided 95 % of a standard normal
PERCENTILES_95: Final = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A share of right answers and its 95 % interval, all in [0, 1].

    Attributes:
        value: Share of right answers.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number that may not exist, its 95 % interval, and why where there is none.

    Attributes:
        value: The number; None where it is not defined.
        low: Lower end of the interval, or None.
        high: Upper end of the interval, or None.
        stderr: Standard error: the standard deviation of resamples, where there are some.
        num: How many answers it rests on.
        note: What a reader must know; "" where there is nothing to say.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    stderr: float | None = None
    num: int = 0
    note: str = ""

    def noted(self, note: str) -> Self:
        """Return the same with a note before its own; "" adds nothing."""
        return replace(self, note=f"{note} {self.note}".strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference(Estimate):
    """How far two models are apart on the same answers.

    Attributes:
        p_value: Of the null hypothesis that the models may be swapped; None without a value.
    """

    p_value: float | None = None


def wilson_interval(share: float, *, num_trials: int) -> Accuracy:
    """Return a share of successes with its 95 % Wilson score interval.

    With z = 1.96 and n trials:
    (share + z^2 / 2n +- z sqrt(share (1 - share) / n + z^2 / 4n^2)) / (1 + z^2 / n).
    Source: Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927). Unlike the plain normal interval it has a width at shares of 0 and 1.

    Args:
        share: Share of successes in [0, 1].
        num_trials: Number of independent trials, at least 1.

    Returns:
        The share and its interval; deterministic.

    Raises:
        UsageError: if the share is outside [0, 1] or there is no trial.
    """
    if not 0.0 <= share <= 1.0:
        raise UsageError(f"The share is {share}, outside [0, 1]. Divide successes by trials.")
    if num_trials < 1:
        raise UsageError(f"The number of trials is {num_trials}. An interval needs at least one.")
    z_squared = NORMAL_QUANTILE_95**2
    centre = share + z_squared / (2 * num_trials)
    spread = NORMAL_QUANTILE_95 * math.sqrt(
        share * (1 - share) / num_trials + z_squared / (4 * num_trials**2)
    )
    scale = 1 + z_squared / num_trials
    low = min(max((centre - spread) / scale, 0.0), share)
    high = max(min((centre + spread) / scale, 1.0), share)
    return Accuracy(value=share, low=low, high=high)


def share_of(right: NDArray[np.bool_]) -> Accuracy:
    """Return the share of right answers that do not depend on each other, with its interval.

    Args:
        right: (T,) whether each answer is right.
    """
    return wilson_interval(float(right.mean()), num_trials=len(right))


def grouped_share(right: ArrayLike, total: ArrayLike, *, seed: int = 0) -> Accuracy:
    """Return the share of right answers over groups whose answers depend on each other.

    The interval is the 95 % percentile bootstrap over whole groups; deterministic.

    Args:
        right: (G,) right answers of each group.
        total: (G,) answers of each group, right or wrong; groups of none count nothing.
        seed: Of the resampling.

    Raises:
        UsageError: if there is no answer at all.
    """
    rights, totals = (np.asarray(values, dtype=np.float64) for values in (right, total))
    if totals.sum() <= 0:
        raise UsageError("There are 0 answers in all groups. Give more groups.")
    kept = totals > 0
    drawn = _resampled_means(np.stack([rights, totals], axis=1)[kept], NUM_RESAMPLES, seed)
    low, high = _ends(drawn)
    return Accuracy(value=float(rights.sum() / totals.sum()), low=low, high=high)


def cluster_interval(
    values: ArrayLike,
    clusters: Iterable[Hashable] | None,
    *,
    weights: ArrayLike | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the mean of values with the 95 % percentile bootstrap over whole clusters.

    Values of one cluster, such as pairs of one prompt, depend on each other: a resample draws
    clusters, not values. The mean of a resample is its sum over its weight. The interval is a
    little too short below about 30 clusters. Where all clusters have one mean, resamples cannot
    differ: right and wrong answers (bool) then get the Wilson interval of G trials, other values
    none.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13; whole
    clusters: Davison and Hinkley, "Bootstrap Methods and their Application" (1997), section 3.8.

    Args:
        values: (M,) finite numbers, or bool for right and wrong answers.
        clusters: (M,) what tells clusters apart, anything hashable; None makes each value its own.
        weights: (M,) finite numbers of 0 or more, or None for equal weights.
        num_resamples: How many resamples, at least 1.
        seed: Of the resampling.

    Returns:
        Mean and interval; deterministic; linear in M. Without values or weight, or with one
        cluster, None and a note.

    Raises:
        ShapeError: if the arrays do not have one length.
        NonFiniteError: if a value or a weight is NaN or infinite.
        UsageError: if a weight is negative, or there is no resample.
    """
    array = read_finite(values, name="values")
    each = np.ones(len(array)) if weights is None else read_weights(weights, length=len(array))
    numbers = number_clusters(clusters, num=len(array))
    if each.sum() <= 0:
        reason = "there are no values" if not len(array) else "all weights are 0"
        return Estimate(value=None, num=len(array), note=f"Not defined: {reason}.")
    sums = cluster_sums(array * each, each, numbers=numbers)
    sums = sums[sums[:, 1] > 0]
    mean = float(sums[:, 0].sum() / sums[:, 1].sum())
    if len(sums) == 1:
        return Estimate(
            value=mean, num=len(array), note="No interval: all values are of one cluster."
        )
    if not _has_spread(sums):
        if np.asarray(values).dtype == np.bool_:
            share = wilson_interval(min(max(mean, 0.0), 1.0), num_trials=len(sums))
            return Estimate(value=share.value, low=share.low, high=share.high, num=len(array))
        return Estimate(
            value=mean, num=len(array), note="No interval: all clusters have the same mean."
        )
    drawn = _resampled_means(sums, num_resamples, seed)
    low, high = _ends(drawn)
    return Estimate(value=mean, low=low, high=high, stderr=float(np.std(drawn)), num=len(array))


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Iterable[Hashable] | None,
    *,
    weights: ArrayLike | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Return mean(first) - mean(second) on the same answers, its interval, and a paired test.

    The interval is the bootstrap of `cluster_interval` on the differences. The test swaps the two
    models in each cluster with chance 1/2, which changes nothing if they are equally good:
    p = (1 + swaps whose difference is at least as far from 0) / (1 + swaps), so that it is valid
    at any number of clusters. With lone right and wrong answers it is McNemar's exact test.

    Source: Davison and Hinkley (1997), section 4.3; Dror et al., "The Hitchhiker's Guide to
    Testing Statistical Significance in NLP", ACL 2018, section 3.2.

    Args:
        first: (M,) finite numbers of one model, such as whether each answer is right.
        second: (M,) those of the other, in the same order.
        clusters: As in `cluster_interval`.
        weights: As in `cluster_interval`.
        num_resamples: How many resamples and how many swaps, at least 1.
        seed: Of both.

    Returns:
        The difference, above 0 where the first is better; deterministic. Two models that answer
        alike have a difference of 0, p = 1 and no interval; without values, None and a note.

    Raises:
        ShapeError: if the arrays do not have one length.
        NonFiniteError: if a number is NaN or infinite.
        UsageError: if a weight is negative, or there is no resample.
    """
    ours = read_finite(first, name="first")
    theirs = read_finite(second, name="second", length=len(ours))
    numbers = number_clusters(clusters, num=len(ours))
    gap = ours - theirs
    found = cluster_interval(gap, numbers, weights=weights, num_resamples=num_resamples, seed=seed)
    if found.value is None:
        return Difference(value=None, num=found.num, note=found.note)
    each = np.ones(len(ours)) if weights is None else read_weights(weights, length=len(ours))
    sums = cluster_sums(gap * each, each, numbers=numbers)[:, 0]
    swapped = flip_sums(sums, num_resamples=num_resamples, seed=seed)
    rounding = 1e-12 * np.abs(sums).sum()
    as_far = int((np.abs(swapped) >= abs(sums.sum()) - rounding).sum())
    return Difference(
        value=found.value,
        low=found.low,
        high=found.high,
        num=found.num,
        note=found.note,
        p_value=(1 + as_far) / (1 + num_resamples),
    )


def _has_spread(sums: NDArray[np.float64]) -> bool:
    """Whether clusters differ in their means, beyond rounding."""
    means = sums[:, 0] / sums[:, 1]
    return bool(np.ptp(means) > 1e-12 * np.abs(means).max())


def _resampled_means(
    sums: NDArray[np.float64], num_resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return sum over weight of each resample, for (G, 2) of both."""
    drawn = resample_sums(sums, num_resamples=num_resamples, seed=seed)
    return drawn[:, 0] / drawn[:, 1]


def _ends(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % percentile interval of what was drawn."""
    low, high = np.percentile(drawn, PERCENTILES_95)
    return float(low), float(high)
