"""Shares of right answers with their intervals.

Shapes: T answers, G groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import UsageError

NORMAL_QUANTILE_95: Final = 1.959963984540054  # two-sided 95 % of a standard normal
NUM_RESAMPLES: Final = 2000


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
    rights, totals = rights[kept], totals[kept]
    drawn = np.random.default_rng(seed).integers(len(totals), size=(NUM_RESAMPLES, len(totals)))
    shares = rights[drawn].sum(axis=1) / totals[drawn].sum(axis=1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return Accuracy(value=float(rights.sum() / totals.sum()), low=float(low), high=float(high))
