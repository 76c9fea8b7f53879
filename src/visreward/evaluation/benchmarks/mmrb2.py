"""Multimodal RewardBench 2: which of two generated or edited images people prefer.

Shape letters: A answers, one for each pair and order that was asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from visreward.data.mmrb2 import MMRB2 as LAYOUT
from visreward.data.mmrb2 import MMRB2_TABLES
from visreward.data.preference_files import PreferenceData
from visreward.data.preferences import PreferenceRow
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.group_files import is_group_file, read_groups
from visreward.evaluation.benchmarks.groups import JoinedGroups, table_data
from visreward.evaluation.benchmarks.layouts import require_path
from visreward.evaluation.benchmarks.pair_metrics import mean_by_group, share
from visreward.evaluation.benchmarks.pairs import PairTable, pair_table
from visreward.evaluation.benchmarks.published import published_rows
from visreward.evaluation.benchmarks.records import GroupResult, Outcome
from visreward.evaluation.benchmarks.results import MetricValue, PublishedRow
from visreward.evaluation.benchmarks.score_problems import score_problems

_LABELS: Final[dict[Outcome, float]] = {"first": 1.0, "second": -1.0, "tie": 0.0}


class MMRB2(Benchmark):
    """MMRB2 (arXiv 2512.16899), text to image (`t2i`) and image editing (`edit`): 1,000 pairs each.

    A judge is asked in both orders and each answer counts by itself; a tie is right where people
    call a tie. A reward model that scores images alone has one answer in either order: equal scores
    are a tie. An answer that cannot be read is wrong; released code (`compute_accuracy.py`): left
    out, which is `accuracy,as_released`.
    """

    name: ClassVar[str] = "mmrb2"
    summary: ClassVar[str] = "pairs of generated and of edited images, 1,000 each, in both orders"
    published: ClassVar[tuple[PublishedRow, ...]] = published_rows("mmrb2")
    hub_files: ClassVar[tuple[str, ...]] = ("t2i*", "edit*", "*images/*")

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups of both tasks, or of the one that is there; see `Benchmark.read`.

        A category is the task and where the prompt is from, such as `edit/emu-edit`.
        """
        path = require_path(path, benchmark=self.name)
        if is_group_file(path):
            return read_groups(path, images=images)
        is_tables = any(any(path.glob(f"{each}/*.parquet")) for each in MMRB2_TABLES.splits)
        data = PreferenceData(MMRB2_TABLES if is_tables else LAYOUT, path, images=images)
        parts = [
            table_data(data.split(name), category=partial(_category, task=name))
            for name in data.splits
        ]
        return BenchData(
            groups=JoinedGroups([part.groups for part in parts]),
            problems=tuple(problem for part in parts for problem in part.problems),
        )

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return accuracy on answers, as a whole and by task; see `Benchmark.evaluate`."""
        table = pair_table(results)
        pairs, said = _answers(table, results)
        right, clusters = said == table.labels[pairs], table.clusters[pairs]
        metrics = [MetricValue.of("accuracy", share(right, clusters))]
        if table.has_verdicts:
            metrics += _of_judges(table, pairs, said)
        for name, chosen in _parts(table, results):
            kept = chosen[pairs]
            metrics.append(
                MetricValue.of("accuracy", share(right[kept], clusters[kept]), variant=name)
            )
        correct = mean_by_group(
            right.astype(np.float64), table.groups[pairs], num_groups=len(results)
        )
        problems = score_problems(results, correct=correct)
        return Evaluation(metrics=tuple(metrics), correct=correct, problems=problems)


def _category(row: PreferenceRow, *, task: str) -> str:
    return f"{task}/{row.category}"


def _answers(
    table: PairTable, results: Sequence[GroupResult]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the place of each answer's pair, and the answer: 1, 0, -1 as labels, NaN if unread."""
    pairs: list[int] = []
    said: list[float] = []
    for place, group in enumerate(table.groups.tolist()):
        for answer in _said(table, place, results[group]):
            pairs.append(place)
            said.append(answer)
    return np.array(pairs, dtype=np.int64), np.array(said, dtype=np.float64)


def _said(table: PairTable, place: int, result: GroupResult) -> list[float]:
    """Return what a model says of a pair, once for each order that it was asked in."""
    if not result.verdicts:
        return [float(np.sign(table.margins[place]))]
    first, second = int(table.firsts[place]), int(table.seconds[place])
    said = []
    for verdict in result.verdicts:
        sign = {(first, second): 1.0, (second, first): -1.0}.get((verdict.first, verdict.second))
        if sign is not None:
            said += [
                math.nan if outcome is None else sign * _LABELS[outcome]
                for outcome in verdict.outcomes
            ]
    return said or [math.nan]


def _of_judges(
    table: PairTable, pairs: NDArray[np.int64], said: NDArray[np.float64]
) -> list[MetricValue]:
    """Return accuracy on answers that could be read, and how often the orders agree."""
    is_read = ~np.isnan(said)
    right = said == table.labels[pairs]
    released = share(right[is_read], table.clusters[pairs[is_read]])
    num = np.bincount(pairs, minlength=len(table))
    num_same = np.max(
        [np.bincount(pairs[said == each], minlength=len(table)) for each in _LABELS.values()],
        axis=0,
    )
    agree = share((num_same == num)[num > 1], table.clusters[num > 1])
    return [
        MetricValue.of("accuracy", released, variant="as_released"),
        MetricValue.of("orders_agree", agree),
    ]


def _parts(
    table: PairTable, results: Sequence[GroupResult]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the parts that accuracy is broken down by: name, and which pairs, (M,)."""
    of_pair = [results[place] for place in table.groups.tolist()]
    tasks = np.array([result.category.partition("/")[0] for result in of_pair], dtype=object)
    categories = np.array([result.category for result in of_pair], dtype=object)
    one_source = np.array([len(result.sources) == 1 for result in of_pair], dtype=np.bool_)
    for task in sorted(set(tasks.tolist()) - {""}):
        yield task, tasks == task
        if (one_source & (tasks == task)).any():
            yield f"{task}/single-source", one_source & (tasks == task)
    makers = [
        (result.candidates[first].generator, result.candidates[second].generator)
        for result, first, second in zip(
            of_pair, table.firsts.tolist(), table.seconds.tolist(), strict=True
        )
    ]
    is_known = np.array([None not in each for each in makers], dtype=np.bool_)
    is_same = np.array([one == other for one, other in makers], dtype=np.bool_)
    yield "same generator", is_known & is_same
    yield "different generators", is_known & ~is_same
    for category in sorted(set(categories.tolist()) - set(tasks.tolist()) - {""}):
        yield category, categories == category
