"""EditScore's EditReward-Bench, which is not the EditReward-Bench of EditReward."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from visreward.data.editscore_bench import EDITSCORE_BENCH, JUDGED_ON
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.layouts import read_layout
from visreward.evaluation.benchmarks.pair_metrics import (
    mean_by_group,
    ordered_pairs,
    strict_order,
)
from visreward.evaluation.benchmarks.pairs import PairTable, pair_table
from visreward.evaluation.benchmarks.published import published_rows
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import MetricValue, PublishedRow
from visreward.evaluation.benchmarks.score_problems import score_problems
from visreward.evaluation.metrics.intervals import Estimate, cluster_interval
from visreward.evaluation.metrics.pairs import right_pairs


class EditScoreBench(Benchmark):
    """The benchmark of EditScore (arXiv 2509.23909): 3,072 pairs of edits.

    Pairs were judged on prompt following (944), consistency (890) or as a whole (1,238), in 13
    tasks. As released, accuracy is the mean over tasks, and equal scores are wrong. The release
    asks a model for each dimension; here the score as a whole is compared for all three.
    """

    name: ClassVar[str] = "editscore-bench"
    summary: ClassVar[str] = "3,072 pairs of edits in 13 tasks, EditScore's `EditReward-Bench`"
    published: ClassVar[tuple[PublishedRow, ...]] = published_rows("editscore-bench")

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups; see `Benchmark.read`.

        A category is what a pair was judged on and its task, such as `overall/subject-add`.
        """
        return read_layout(path, (EDITSCORE_BENCH,), benchmark=self.name, images=images)

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return accuracy by what was judged and by task; see `Benchmark.evaluate`."""
        table = pair_table(results)
        categories = [results[place].category for place in table.groups.tolist()]
        judged_on = np.array([each.partition("/")[0] for each in categories], dtype=object)
        tasks = np.array([each.partition("/")[2] for each in categories], dtype=object)
        metrics: list[MetricValue] = []
        for name in reversed(JUDGED_ON):
            own = judged_on == name
            metrics.append(
                MetricValue.of(
                    "accuracy_by_task", _by_task(table.where(own), tasks[own]), variant=name
                )
            )
            metrics.append(ordered_pairs(table.where(own), variant=name))
        for category in sorted({each for each in categories if each}):
            own = (judged_on == category.partition("/")[0]) & (tasks == category.partition("/")[2])
            metrics.append(ordered_pairs(table.where(own), variant=category))
        judged = strict_order(table)
        correct = mean_by_group(judged.right, table.groups, num_groups=len(results))
        problems = score_problems(results, correct=correct)
        return Evaluation(metrics=(*metrics, *judged.metrics), correct=correct, problems=problems)


def _by_task(table: PairTable, tasks: NDArray[np.object_]) -> Estimate:
    """Return the mean over tasks of the share of right pairs: each task weighs the same."""
    kept = table.where(table.labels != 0)
    if not len(kept):
        return Estimate(value=None, note="Not defined: there are no pairs.")
    right = right_pairs(kept.margins, kept.labels, tie_threshold=None)
    _, numbers, counts = np.unique(
        tasks[table.labels != 0].astype(str), return_inverse=True, return_counts=True
    )
    return cluster_interval(right, kept.clusters, weights=1.0 / counts[numbers])
