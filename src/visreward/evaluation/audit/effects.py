"""Effects with intervals over whole clusters.

Shape letters: M comparisons.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import UsageError
from visreward.evaluation.audit.records import Measure, Unit
from visreward.evaluation.metrics.intervals import PERCENTILES_95, cluster_interval
from visreward.evaluation.metrics.rank_statistics import mean_ranks
from visreward.evaluation.metrics.resampling import resample_sums

Array = NDArray[np.float64]

NUM_RESAMPLES: Final = 2000

MIN_CLUSTERS: Final = 5
"""Fewer clusters are not drawn whole: comparisons are drawn alone."""


def mean_measure(
    name: str, values: ArrayLike, clusters: ArrayLike, *, unit: Unit, seed: int = 0
) -> Measure:
    """Return the mean of comparisons with its bootstrap interval over whole clusters.

    A share of 0 or 1 has the Wilson interval of as many answers as there are clusters; where all
    else is alike, the interval has no width.

    Args:
        name: What is measured.
        values: (M,) floats or bools; NaN where a score is missing, which is left out.
        clusters: (M,) what each comparison belongs to, such as its prompt.
        unit: How the mean reads.
        seed: Of the resampling.

    Raises:
        UsageError: if no value is left.
    """
    numbers = np.asarray(values, dtype=np.float64)
    kept = np.isfinite(numbers)
    if not kept.any():
        raise UsageError(
            f"None of {len(numbers)} comparisons has both scores. See the failed pictures."
        )
    chosen = numbers[kept]
    members = np.unique(np.asarray(clusters)[kept], return_inverse=True)[1]
    is_yes_or_no = unit == "share" and bool(np.isin(chosen, (0, 1)).all())
    found = cluster_interval(
        chosen.astype(bool) if is_yes_or_no else chosen,
        members.tolist() if members.max() + 1 >= MIN_CLUSTERS else None,
        num_resamples=NUM_RESAMPLES,
        seed=seed,
    )
    assert found.value is not None
    return Measure(
        name=name,
        value=found.value,
        low=found.value if found.low is None else found.low,
        high=found.value if found.high is None else found.high,
        unit=unit,
        num=int(kept.sum()),
    )


def within_correlation(
    name: str, scores: ArrayLike, values: ArrayLike, groups: ArrayLike, *, seed: int = 0
) -> Measure | None:
    """Return how the order of scores follows a property within groups, from -1 to 1.

    Ranks within each group (ties share the mean rank), centred, and correlated over all groups:
    a Spearman correlation that differences between groups do not touch. Bootstrap over groups.

    Args:
        name: What is measured.
        scores: (M,) floats; NaN is left out.
        values: (M,) the property.
        groups: (M,) such as prompts.
        seed: Of the resampling.

    Returns:
        None where, within groups, the scores or the property never differ.
    """
    found, measured, members = (np.asarray(each) for each in (scores, values, groups))
    kept = np.isfinite(found) & np.isfinite(measured)
    sums = np.array(
        [_products(found[mask], measured[mask]) for mask in _masks(members, kept)]
    ).reshape(-1, 3)
    total = sums.sum(axis=0)
    if total[0] <= 0 or total[1] <= 0:
        return None
    drawn = resample_sums(sums, num_resamples=NUM_RESAMPLES, seed=seed)
    low, high = np.percentile(_correlation(drawn), PERCENTILES_95)
    return Measure(
        name=name,
        value=float(_correlation(total[None])[0]),
        low=float(low),
        high=float(high),
        unit="correlation",
        num=int(kept.sum()),
    )


def _masks(members: NDArray[np.generic], kept: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    return [(members == group) & kept for group in np.unique(members[kept])]


def _products(first: Array, second: Array) -> tuple[float, float, float]:
    a, b = _centred_ranks(first), _centred_ranks(second)
    return float(a @ a), float(b @ b), float(a @ b)


def _centred_ranks(values: Array) -> Array:
    ranks: Array = mean_ranks(values)
    centred: Array = ranks - ranks.mean()
    return centred


def _correlation(sums: Array) -> Array:
    size = np.sqrt(sums[:, 0] * sums[:, 1])
    found: Array = np.zeros_like(size)
    np.divide(sums[:, 2], size, out=found, where=size > 0)
    return found
