"""Pairs of candidates as arrays: what metrics take, made of what is known of groups.

Shape letters: M pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult, PairVerdict
from visreward.evaluation.metrics.arrays import number_clusters


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTable:
    """All pairs of candidates that people compared, group by group, in order.

    Attributes:
        margins: (M,) score of the first candidate less that of the second; of judges that
            compare, the mean of 1 (first), 0 (tie), -1 (second) over the orders that were asked.
            NaN where there is no verdict: a candidate has no score, or an answer could not be
            read.
        labels: (M,) 1 where people like the first better, -1 the second, 0 for a tie.
        clusters: (M,) number of the cluster, which is drawn whole when intervals are made.
        groups: (M,) place of the group in the results.
        firsts: (M,) place of the first candidate in its group.
        seconds: (M,) place of the second.
        has_verdicts: Whether margins come from verdicts, so that 0 is a tie that was called.
    """

    margins: NDArray[np.float64]
    labels: NDArray[np.int64]
    clusters: NDArray[np.int64]
    groups: NDArray[np.int64]
    firsts: NDArray[np.int64]
    seconds: NDArray[np.int64]
    has_verdicts: bool

    def __len__(self) -> int:
        return len(self.margins)

    def where(self, chosen: NDArray[np.bool_]) -> PairTable:
        """Return some of the pairs.

        Args:
            chosen: (M,) which.
        """
        return PairTable(
            margins=self.margins[chosen],
            labels=self.labels[chosen],
            clusters=self.clusters[chosen],
            groups=self.groups[chosen],
            firsts=self.firsts[chosen],
            seconds=self.seconds[chosen],
            has_verdicts=self.has_verdicts,
        )


def pair_table(results: Sequence[GroupResult]) -> PairTable:
    """Return every two candidates of each group that people compared.

    Who is better is read off the ranks, or where there are none off the scores by people. A pair
    of candidates with neither is left out. Deterministic.
    """
    margins: list[float] = []
    columns: list[tuple[int, int, int, int, int]] = []
    numbers = cluster_numbers(results)
    for place, result in enumerate(results):
        verdicts = {(each.first, each.second): each for each in result.verdicts}
        for first, second in combinations(range(len(result.candidates)), 2):
            label = _label(result.candidates[first], result.candidates[second])
            if label is None:
                continue
            columns.append((label, int(numbers[place]), place, first, second))
            margins.append(
                _verdict_margin(verdicts, first, second)
                if result.verdicts
                else _margin(result.candidates[first], result.candidates[second])
            )
    labels, clusters, groups, firsts, seconds = np.array(columns, dtype=np.int64).reshape(-1, 5).T
    return PairTable(
        margins=np.array(margins, dtype=np.float64),
        labels=labels,
        clusters=clusters,
        groups=groups,
        firsts=firsts,
        seconds=seconds,
        has_verdicts=any(result.verdicts for result in results),
    )


def cluster_numbers(results: Sequence[GroupResult]) -> NDArray[np.int64]:
    """Return the number of each group's cluster; a group without one is a cluster of its own."""
    keys = [
        (True, result.cluster) if result.cluster else (False, place)
        for place, result in enumerate(results)
    ]
    return number_clusters(keys, num=len(results)).astype(np.int64)


def finite_value(candidate: CandidateResult) -> float:
    """Return a candidate's score; NaN where there is none, or it is not finite."""
    value = candidate.value
    return value if value is not None and math.isfinite(value) else math.nan


def _label(first: CandidateResult, second: CandidateResult) -> int | None:
    if first.rank is not None and second.rank is not None:
        return (second.rank > first.rank) - (second.rank < first.rank)
    if first.human is not None and second.human is not None:
        return (first.human > second.human) - (first.human < second.human)
    return None


def _margin(first: CandidateResult, second: CandidateResult) -> float:
    return finite_value(first) - finite_value(second)


def _verdict_margin(verdicts: dict[tuple[int, int], PairVerdict], first: int, second: int) -> float:
    """Return the mean of the answers; NaN where one could not be read or nobody was asked."""
    sign = 1.0
    verdict = verdicts.get((first, second))
    if verdict is None:
        sign, verdict = -1.0, verdicts.get((second, first))
    mean = None if verdict is None else verdict.mean
    return math.nan if mean is None else sign * mean
