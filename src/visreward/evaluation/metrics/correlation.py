"""Rank correlation of a model's scores with people's, over all items and within groups.

Shape letters: M items, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import UsageError
from visreward.evaluation.metrics.arrays import read_column, read_finite, read_weights
from visreward.evaluation.metrics.intervals import NORMAL_QUANTILE_95, Estimate, cluster_interval
from visreward.evaluation.metrics.rank_statistics import (
    kendall_variance,
    mean_ranks,
    num_inversions,
    num_tied,
    student_p_value,
)

CorrelationMethod: TypeAlias = Literal["spearman", "kendall"]
"""Which coefficient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation(Estimate):
    """A correlation in [-1, 1]; None where a side is constant.

    Attributes:
        p_value: Two-sided, of no association; None without a value.
    """

    p_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedCorrelation:
    """Correlations within groups, such as editing models or prompts, and two means of them.

    Attributes:
        groups: Name of a group to its correlation, in the order of first appearance.
        mean: Plain mean of the groups that have a value; bootstrap over groups.
        fisher_mean: Mean through Fisher's z of the same groups.
    """

    groups: Mapping[Hashable, Correlation]
    mean: Estimate
    fisher_mean: Estimate


def spearman(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Return Spearman's rank correlation, equal values sharing their mean rank.

    The interval is tanh(arctanh(r) +- 1.96 sqrt((1 + r^2 / 2) / (M - 3))): Bonett and Wright,
    "Sample size requirements for estimating Pearson, Kendall and Spearman correlations",
    Psychometrika 65 (2000). The p-value is of Student's t with M - 2 degrees of freedom, as
    scipy's.

    Args:
        x: (M,) numbers.
        y: (M,) numbers, same order.

    Returns:
        The correlation; None with a note where a side is constant, has NaN, or M is below 2. No
        interval below M = 4 or at r = 1 or -1, where Fisher's z is infinite. Deterministic;
        O(M log M).

    Raises:
        ShapeError: if the arrays are not both (M,).
        NonFiniteError: if a number is infinite.
    """
    ours, theirs = _read_both(x, y)
    why_not = _undefined_because(ours, theirs)
    if why_not:
        return Correlation(value=None, num=len(ours), note=why_not)
    value = _pearson(mean_ranks(ours), mean_ranks(theirs))
    low, high, note = _fisher_interval(value, len(ours) - 3, 1 + value**2 / 2)
    return Correlation(
        value=value,
        low=low,
        high=high,
        num=len(ours),
        note=note,
        p_value=student_p_value(value, len(ours) - 2),
    )


def kendall(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Return Kendall's tau-b, which corrects for ties on both sides.

    tau_b = (concordant - discordant) / sqrt((pairs - ties in x) (pairs - ties in y)).
    Source: Kendall, "The treatment of ties in ranking problems", Biometrika 33 (1945). The interval
    is tanh(arctanh(tau) +- 1.96 sqrt(0.437 / (M - 4))): Fieller, Hartley and Pearson, Biometrika 44
    (1957). The p-value is of the normal approximation with tied variance, scipy's "asymptotic".

    Args:
        x: (M,) numbers.
        y: (M,) numbers, same order.

    Returns:
        As `spearman`; no interval below M = 5. Deterministic; O(M log^2 M).

    Raises:
        ShapeError: if the arrays are not both (M,).
        NonFiniteError: if a number is infinite.
    """
    ours, theirs = _read_both(x, y)
    why_not = _undefined_because(ours, theirs)
    if why_not:
        return Correlation(value=None, num=len(ours), note=why_not)
    num = len(ours)
    _, first = np.unique(ours, return_inverse=True)
    _, second = np.unique(theirs, return_inverse=True)
    order = np.lexsort((second, first))
    pairs = num * (num - 1) // 2
    tied_first, tied_second = num_tied(first), num_tied(second)
    tied_both = num_tied(first * (int(second.max()) + 1) + second)
    discordant = num_inversions(second[order])
    lead = pairs - tied_first - tied_second + tied_both - 2 * discordant
    value = lead / math.sqrt(pairs - tied_first) / math.sqrt(pairs - tied_second)
    value = min(max(value, -1.0), 1.0)
    low, high, note = _fisher_interval(value, num - 4, 0.437)
    deviation = math.sqrt(kendall_variance(first, second))
    p_value = math.erfc(abs(lead) / deviation / math.sqrt(2))
    return Correlation(value=value, low=low, high=high, num=num, note=note, p_value=p_value)


def fisher_mean(values: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
    """Return tanh of the mean of arctanh: the mean of correlations through Fisher's z.

    The interval is 1.96 standard errors of that mean either way, from how much the z differ.
    Source: Fisher, "On the 'probable error' of a coefficient of correlation", Metron 1 (1921).
    Released code (EditReward's ImagenHub): tanh of the mean of r, no arctanh, so that 0.42 becomes
    0.397; see `as_released.tanh_of_mean`.

    Args:
        values: (G,) correlations in [-1, 1].
        weights: (G,) finite numbers of 0 or more, such as items - 3; None for equal weights.

    Returns:
        The mean; None with a note where there is none or one is exactly 1 or -1. No interval for
        one value. Deterministic.

    Raises:
        ShapeError: if the arrays do not have one length.
        NonFiniteError: if a number is NaN or infinite.
        UsageError: if a value is outside [-1, 1], or a weight is negative.
    """
    array = read_finite(values, name="values")
    if (np.abs(array) > 1).any():
        raise UsageError(
            f"A value is {array[np.abs(array).argmax()]}. Correlations lie in [-1, 1]."
        )
    num_perfect = int((np.abs(array) == 1).sum())
    if num_perfect:
        note = (
            f"Not defined: {num_perfect} of {len(array)} correlations are exactly 1 or -1, where "
            "Fisher's z is infinite; use the plain mean."
        )
        return Estimate(value=None, num=len(array), note=note)
    shares = np.ones(len(array)) if weights is None else read_weights(weights, length=len(array))
    if shares.sum() <= 0:
        return Estimate(value=None, num=len(array), note="Not defined: nothing to average.")
    shares = shares / shares.sum()
    heights = np.arctanh(array)
    centre = float(shares @ heights)
    low = high = None
    if (shares > 0).sum() > 1:
        # Variance of a weighted mean, with the factor that makes it unbiased for equal weights.
        spread = np.square(shares * (heights - centre)).sum() / (1 - np.square(shares).sum())
        reach = NORMAL_QUANTILE_95 * math.sqrt(spread)
        low, high = math.tanh(centre - reach), math.tanh(centre + reach)
    return Estimate(value=math.tanh(centre), low=low, high=high, num=len(array))


def per_group(
    x: ArrayLike,
    y: ArrayLike,
    groups: Iterable[Hashable],
    *,
    method: CorrelationMethod = "spearman",
) -> GroupedCorrelation:
    """Return the correlation within each group, and their means.

    Args:
        x: (M,) numbers.
        y: (M,) numbers, same order.
        groups: (M,) what tells groups apart, such as the editing model or the prompt.
        method: Which coefficient.

    Returns:
        One correlation for each group, and means over those that have a value; how many have none
        stands in the notes. Deterministic.

    Raises:
        ShapeError: if the arrays do not have one length.
        NonFiniteError: if a number is infinite.
    """
    ours, theirs = _read_both(x, y)
    members: dict[Hashable, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    read_column(np.zeros(sum(map(len, members.values()))), name="groups", length=len(ours))
    coefficient: Callable[[ArrayLike, ArrayLike], Correlation]
    coefficient = spearman if method == "spearman" else kendall
    found = {group: coefficient(ours[places], theirs[places]) for group, places in members.items()}
    values = [each.value for each in found.values() if each.value is not None]
    missing = len(found) - len(values)
    note = f"{missing} of {len(found)} groups have no correlation." if missing else ""
    return GroupedCorrelation(
        groups=found,
        mean=cluster_interval(values, None).noted(note),
        fisher_mean=fisher_mean(values).noted(note),
    )


def _read_both(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ours = read_column(x, name="x")
    return ours, read_column(y, name="y", length=len(ours))


def _undefined_because(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """Return why there is no correlation, or ""."""
    if len(x) < 2:
        return f"Not defined: {len(x)} items; a correlation needs two."
    num_missing = int((np.isnan(x) | np.isnan(y)).sum())
    if num_missing:
        return f"Not defined: {num_missing} of {len(x)} items have no number on one side."
    for name, side in (("first", x), ("second", y)):
        if (side == side[0]).all():
            return f"Not defined: all numbers on the {name} side are {side[0]:g}."
    return ""


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    ours, theirs = x - x.mean(), y - y.mean()
    value = float(ours @ theirs / math.sqrt(ours @ ours) / math.sqrt(theirs @ theirs))
    rounded = round(value)
    return float(rounded) if abs(rounded) == 1 and abs(value - rounded) < 1e-12 else value


def _fisher_interval(
    value: float, freedom: int, variance: float
) -> tuple[float | None, float | None, str]:
    """Return the ends of an interval in Fisher's z, or why there is none."""
    if freedom < 1:
        return None, None, "No interval: too few items."
    if abs(value) == 1:
        return None, None, "No interval: the orders agree or disagree in full."
    centre, reach = math.atanh(value), NORMAL_QUANTILE_95 * math.sqrt(variance / freedom)
    return math.tanh(centre - reach), math.tanh(centre + reach), ""
