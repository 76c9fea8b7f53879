"""Groups of K candidates as arrays: is the whole order of a group right?

Shape letters: G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visreward.evaluation.benchmarks.pairs import (
    PairTable,
    cluster_numbers,
    finite_value,
    pair_table,
)
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import MetricValue
from visreward.evaluation.metrics.as_released_groups import edit_reward_bench
from visreward.evaluation.metrics.intervals import Estimate, cluster_interval
from visreward.evaluation.metrics.pairs import (
    TieFitting,
    accuracy_with_ties,
    accuracy_without_ties,
    right_pairs,
)

Floats = NDArray[np.float64]

GROUPS: Final = "group_accuracy"
PAIRS: Final = "pair_accuracy"

RELEASED_SIZES: Final = (2, 3, 4)

_NO_MISSING: Final = "Groups with a missing score, and of other sizes, are left out."


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the groups, and what the filter of their metrics is called.

    Attributes:
        name: "" for all.
        mask: (G,) which groups, or None for all.
        size: K, or None for all sizes.
    """

    name: str
    mask: NDArray[np.bool_] | None = None
    size: int | None = None

    def __and__(self, other: Part) -> Part:
        """Return the groups that are in both."""
        masks = [each.mask for each in (self, other) if each.mask is not None]
        return Part(
            f"{self.name} {other.name}".strip(),
            np.logical_and.reduce(masks) if masks else None,
            self.size,
        )


SAME_DATA: Final = Part("same_data")
RELEASED: Final = Part("as_released")


@dataclass(frozen=True, slots=True)
class GroupAnswers:
    """All groups as arrays.

    Attributes:
        results: G groups.
        table: Their pairs.
        sizes: (G,) K.
        clusters: (G,) number of the cluster.
        is_answered: (G,) whether every pair has a verdict.
    """

    results: Sequence[GroupResult]
    table: PairTable
    sizes: NDArray[np.int64]
    clusters: NDArray[np.int64]
    is_answered: NDArray[np.bool_]

    @classmethod
    def of(cls, results: Sequence[GroupResult]) -> GroupAnswers:
        """Return the arrays of some groups."""
        table = pair_table(results)
        missing = np.bincount(table.groups[np.isnan(table.margins)], minlength=len(results))
        return cls(
            results=results,
            table=table,
            sizes=np.array([len(result.candidates) for result in results]),
            clusters=cluster_numbers(results),
            is_answered=missing == 0,
        )

    def parts(self, up_to: int | None = None) -> list[Part]:
        """Return all groups, then those of each size."""
        sizes = [int(size) for size in np.unique(self.sizes[self.table.groups])]
        return [
            Part(""),
            *(
                Part(f"K={size}", self.sizes == size, size)
                for size in sizes
                if up_to is None or size <= up_to
            ),
        ]

    def right_groups(self, fit: TieFitting) -> Floats:
        """Return (G,) 1 for a right group and 0 for a wrong one; NaN for one that is neither.

        Neither: people order none of its candidates, or no tie threshold can be found.
        """
        table, num = self.table, len(self.results)
        threshold = 0.0 if table.has_verdicts else None
        pairs = right_pairs(table.margins, table.labels, tie_threshold=threshold)
        right = pairs.astype(np.float64)
        is_two = self.sizes[table.groups] == 2
        if is_two.any() and not table.has_verdicts:
            two = table.where(is_two)
            found = accuracy_with_ties(two.margins, two.labels, clusters=two.clusters, fit=fit)
            right[is_two] = np.nan if found.right is None else found.right
        num_pairs = np.bincount(table.groups, minlength=num)
        num_right = np.bincount(table.groups, weights=right, minlength=num)
        is_neither = (num_pairs == 0) | np.isnan(num_right)
        return np.where(is_neither, np.nan, num_right == num_pairs)

    def groups(self, right: Floats, part: Part) -> MetricValue:
        """Return the share of right groups; groups that nobody ordered do not count."""
        is_ordered = np.bincount(self.table.groups, minlength=len(self.results)) > 0
        chosen = is_ordered if part.mask is None else is_ordered & part.mask
        name, counted = part.name or "none", right[chosen]
        if np.isnan(counted).any():
            note = "Not defined: no tie threshold for K = 2 can be found."
            return MetricValue.of(GROUPS, Estimate(value=None, note=note), variant=name)
        return MetricValue.of(
            GROUPS, cluster_interval(counted == 1, self.clusters[chosen]), variant=name
        )

    def pairs(self, part: Part, fit: TieFitting) -> MetricValue:
        """Return accuracy on pairs, with ties unless groups are of more than two."""
        chosen = np.ones(len(self.table), dtype=bool)
        if part.mask is not None:
            chosen = part.mask[self.table.groups]
        table, name = self.table.where(chosen), part.name or "none"
        if table.has_verdicts:
            right = right_pairs(table.margins, table.labels, tie_threshold=0.0)
            return MetricValue.of(PAIRS, cluster_interval(right, table.clusters), variant=name)
        if part.size not in (None, 2):
            found = accuracy_without_ties(table.margins, table.labels, clusters=table.clusters)
        else:
            found = accuracy_with_ties(
                table.margins, table.labels, clusters=table.clusters, fit=fit
            ).accuracy
        return MetricValue.of(PAIRS, found, variant=name)

    def released(self, right: Floats) -> list[MetricValue]:
        """Return what stands beside published rows.

        Of verdicts: all groups overall, but only those that were answered in the K columns. Of
        scores: what the released code prints, groups with a missing score left out.
        """
        if self.table.has_verdicts:
            answered = Part("", self.is_answered)
            whole, *sizes = self.parts()
            return [
                self.groups(right, whole & RELEASED),
                *(self.groups(right, (part & answered) & RELEASED) for part in sizes),
            ]
        groups = []
        for result in self.results:
            scores = [finite_value(each) for each in result.candidates]
            ranks = [each.rank for each in result.candidates if each.rank is not None]
            is_whole = not np.isnan(scores).any() and len(ranks) == len(scores)
            if is_whole and len(scores) in RELEASED_SIZES:
                groups.append((scores, ranks))
        note = "" if len(groups) == len(self.results) else _NO_MISSING
        if not groups:
            return [MetricValue.of(GROUPS, Estimate(value=None, note=note), variant=RELEASED.name)]
        found = edit_reward_bench(groups)
        values = {"": (len(groups), found.overall, found.pairwise)} | {
            f"K={size} ": (len(each.right), float(each.right.mean()), each.pairwise)
            for size, each in found.sizes.items()
        }
        return [
            MetricValue(
                name=name, filter=f"{part}as_released", value=value[place], num=value[0], note=note
            )
            for place, name in ((1, GROUPS), (2, PAIRS))
            for part, value in values.items()
        ]
