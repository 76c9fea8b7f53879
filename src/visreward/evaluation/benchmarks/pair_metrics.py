"""Metrics of benchmarks that compare two candidates at a time.

Shape letters: M pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visreward.evaluation.benchmarks.base import Evaluation
from visreward.evaluation.benchmarks.pairs import PairTable, pair_table
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import MetricValue
from visreward.evaluation.benchmarks.score_problems import score_problems
from visreward.evaluation.metrics import as_released
from visreward.evaluation.metrics.intervals import Estimate, cluster_interval
from visreward.evaluation.metrics.pairs import (
    accuracy_with_ties,
    accuracy_without_ties,
    right_pairs,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPairs:
    """Metrics of pairs, and which pairs the first of them calls right.

    Attributes:
        metrics: The first is the main one.
        right: (M,) whether each pair is right; NaN where it does not count.
    """

    metrics: tuple[MetricValue, ...]
    right: NDArray[np.float64]


def evaluate_pairs(
    results: Sequence[GroupResult], judge: Callable[[PairTable], JudgedPairs]
) -> Evaluation:
    """Return what came of all pairs of the groups.

    Args:
        results: The groups.
        judge: Which metrics, such as `strict_order` or `with_ties`.
    """
    table = pair_table(results)
    judged = judge(table)
    correct = mean_by_group(judged.right, table.groups, num_groups=len(results))
    problems = score_problems(results, correct=correct)
    return Evaluation(metrics=judged.metrics, correct=correct, problems=problems)


def ordered_pairs(
    table: PairTable, *, name: str = "accuracy", variant: str = "none"
) -> MetricValue:
    """Return the share of pairs that are ordered as people order them; ties of people are left out.

    Equal scores and missing verdicts are wrong, as in HPSv3's evaluation.
    """
    found = accuracy_without_ties(table.margins, table.labels, clusters=table.clusters)
    return MetricValue.of(name, found, variant=variant)


def strict_order(table: PairTable) -> JudgedPairs:
    """Return accuracy on pairs that people order, with the share of equal scores beside it."""
    right = right_pairs(table.margins, table.labels, tie_threshold=None).astype(np.float64)
    is_ordered = table.labels != 0
    right[~is_ordered] = np.nan
    equal = share(table.margins[is_ordered] == 0, table.clusters[is_ordered])
    return JudgedPairs(
        metrics=(ordered_pairs(table), MetricValue.of("equal_scores", equal)), right=right
    )


def with_ties(table: PairTable) -> JudgedPairs:
    """Return accuracy where a tie is an answer too: held-out, as published, and without ties.

    A judge that compares says itself what is a tie, so that nothing is fitted.
    """
    margins, labels, clusters = table.margins, table.labels, table.clusters
    ordered = ordered_pairs(table, name="accuracy_without_ties")
    if table.has_verdicts or not len(table):
        right = right_pairs(margins, labels, tie_threshold=0.0)
        found = share(right, clusters)
        variants = ("none", "same_data", "as_released")
        named = tuple(
            MetricValue.of("accuracy_with_ties", found, variant=each) for each in variants
        )
        return JudgedPairs(metrics=(*named, ordered), right=right.astype(np.float64))
    held_out = accuracy_with_ties(margins, labels, clusters=clusters)
    same_data = accuracy_with_ties(margins, labels, clusters=clusters, fit="same-data")
    right = np.full(len(table), np.nan) if held_out.right is None else held_out.right
    return JudgedPairs(
        metrics=(
            MetricValue.of("accuracy_with_ties", held_out.accuracy),
            MetricValue.of("accuracy_with_ties", same_data.accuracy, variant="same_data"),
            released_with_ties(table),
            ordered,
        ),
        right=right.astype(np.float64),
    )


def released_with_ties(table: PairTable) -> MetricValue:
    """Return accuracy with ties as the released code of EditReward computes it, faults included."""
    is_judged = ~np.isnan(table.margins)
    note = "The released code has no missing verdicts: they are left out."
    value = as_released.accuracy_with_ties(table.margins[is_judged], table.labels[is_judged])
    return MetricValue(
        name="accuracy_with_ties",
        filter="as_released",
        value=value if is_judged.any() else None,
        num=int(is_judged.sum()),
        note="" if is_judged.all() else note,
    )


def share(right: NDArray[np.bool_ | np.float64], clusters: NDArray[np.int64]) -> Estimate:
    """Return a mean share with its interval, or no value where there is nothing to count."""
    if not len(right):
        return Estimate(value=None, note="Not defined: there are no pairs.")
    return cluster_interval(right, clusters)


def mean_by_group(
    values: NDArray[np.float64], groups: NDArray[np.int64], *, num_groups: int
) -> tuple[float | None, ...]:
    """Return the mean of each group's values, or None where none counts.

    Args:
        values: (M,) numbers, NaN for one that does not count.
        groups: (M,) place of the group.
        num_groups: How many groups there are.
    """
    is_counted = ~np.isnan(values)
    sums = np.bincount(groups[is_counted], weights=values[is_counted], minlength=num_groups)
    nums = np.bincount(groups[is_counted], minlength=num_groups)
    return tuple(
        float(total) / int(num) if num else None for total, num in zip(sums, nums, strict=True)
    )


def by_prompt(table: PairTable, right: NDArray[np.float64]) -> MetricValue:
    """Return the mean over groups of the share of their pairs that are right.

    HPSv2's evaluation of ImageReward's test averages so; it fails where people order no pair of a
    group, and such groups are left out here.
    """
    kept = ~np.isnan(right)
    places, numbers = np.unique(table.groups[kept], return_inverse=True)
    shares = np.bincount(numbers, weights=right[kept]) / np.bincount(numbers)
    first = np.unique(table.groups[kept], return_index=True)[1]
    found = share(shares, table.clusters[kept][first])
    return MetricValue.of("accuracy_by_prompt", replace(found, num=len(places)))
