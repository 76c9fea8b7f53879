"""Drawing whole clusters again and again, fast and flat in memory.

Shape letters: G clusters, C kinds of clusters, R resamples.

A resample draws G clusters with replacement. Clusters with the same numbers are of one kind, and
how often each kind is drawn is multinomial: where kinds are few, as with right and wrong answers,
R draws of C counts stand for R draws of G clusters, with exactly the same distribution.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from visreward.core.errors import UsageError

NUM_RESAMPLES: Final = 10_000

_COST_OF_A_KIND: Final = 20
"""Drawing how often a kind comes takes as long as drawing so many clusters."""

_MAX_VALUES: Final = 1 << 20
"""How many values are held at once: 8 MB."""


def resample_sums(
    sums: NDArray[np.float64], *, num_resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return sums over clusters that are drawn with replacement, as many as there are.

    Args:
        sums: (G, ...) numbers of each cluster, such as right answers and answers.
        num_resamples: R, at least 1.
        seed: Of the drawing; the result is deterministic.

    Returns:
        (R, ...) sums over the G clusters of each resample.

    Raises:
        UsageError: if R is below 1.
    """
    check_resamples(num_resamples)
    num_clusters = len(sums)
    flat = sums.reshape(num_clusters, -1)
    rng = np.random.default_rng(seed)
    kinds, counts = np.unique(flat, axis=0, return_counts=True)
    if len(kinds) * _COST_OF_A_KIND <= num_clusters:
        drawn = rng.multinomial(num_clusters, counts / num_clusters, size=num_resamples)
        totals = drawn @ kinds
    else:
        totals = _draw_one_by_one(flat, num_resamples=num_resamples, rng=rng)
    return totals.reshape(num_resamples, *sums.shape[1:])


def _draw_one_by_one(
    flat: NDArray[np.float64], *, num_resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    num_clusters = len(flat)
    varied = (flat != flat[0]).any(axis=0)
    totals = np.empty((num_resamples, flat.shape[1]))
    totals[:, ~varied] = num_clusters * flat[0, ~varied]
    columns = [(place, flat[:, place].copy()) for place in np.flatnonzero(varied)]
    rows = max(1, _MAX_VALUES // num_clusters)
    for start in range(0, num_resamples, rows):
        stop = min(start + rows, num_resamples)
        drawn = rng.integers(num_clusters, size=(stop - start, num_clusters))
        for place, column in columns:
            # "clip" spares a check of each index; none is out of range.
            totals[start:stop, place] = column.take(drawn, mode="clip").sum(axis=1)
    return totals


def flip_sums(sums: NDArray[np.float64], *, num_resamples: int, seed: int) -> NDArray[np.float64]:
    """Return sums over clusters whose signs are drawn, each plus or minus with equal chance.

    Args:
        sums: (G,) differences of each cluster.
        num_resamples: R, at least 1.
        seed: Of the drawing; the result is deterministic.

    Returns:
        (R,) sums of the G signed differences.

    Raises:
        UsageError: if R is below 1.
    """
    check_resamples(num_resamples)
    rng = np.random.default_rng(seed)
    sizes, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    if len(sizes) * _COST_OF_A_KIND <= len(sums):
        plus = rng.binomial(counts, 0.5, size=(num_resamples, len(counts)))
        return np.asarray((2.0 * plus - counts) @ sizes)
    each = np.repeat(sizes, counts)
    totals = np.empty(num_resamples)
    rows = max(1, _MAX_VALUES // len(each))
    for start in range(0, num_resamples, rows):
        num = min(rows, num_resamples - start)
        bits = np.unpackbits(
            np.frombuffer(rng.bytes(num * -(-len(each) // 8)), dtype=np.uint8).reshape(num, -1),
            axis=1,
            count=len(each),
        )
        totals[start : start + num] = 2.0 * (bits @ each) - each.sum()
    return totals


def check_resamples(num_resamples: int) -> None:
    """Stop unless there is a resample to draw.

    Raises:
        UsageError: if there is none.
    """
    if num_resamples < 1:
        raise UsageError(f"num_resamples is {num_resamples}. Give 1 or more; 10,000 is usual.")
