"""EditReward-Bench of TIGER-Lab: is the whole order of K = 2, 3 or 4 candidate edits right?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from visreward.data.base import Problem, ProblemLog
from visreward.data.editreward_bench import read_editreward_bench
from visreward.data.preferences import PreferenceRow
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.group_files import is_group_file, read_groups
from visreward.evaluation.benchmarks.groups import RowGroups
from visreward.evaluation.benchmarks.layouts import require_path
from visreward.evaluation.benchmarks.orders import SAME_DATA, GroupAnswers, Part
from visreward.evaluation.benchmarks.published import published_rows
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import PublishedRow
from visreward.evaluation.benchmarks.score_problems import score_problems


class EditRewardBench(Benchmark):
    """EditReward-Bench (arXiv 2509.26346): 186 groups of K = 2, 150 of K = 3, 148 of K = 4.

    A group is right if all its K (K - 1) / 2 comparisons are: two candidates may tie, more have a
    strict order. A comparison without a verdict is wrong; `answered` leaves such groups out, as
    the published K columns of judges do. A reward model ties two candidates where its scores are
    no further apart than a threshold, fitted on held-out groups; `same_data` fits it on the test
    set, as published, and `as_released` follows the released code, faults included.
    """

    name: ClassVar[str] = "editreward-bench"
    summary: ClassVar[str] = "orders of 2, 3 or 4 edits, 484 groups (TIGER-Lab)"
    published: ClassVar[tuple[PublishedRow, ...]] = published_rows("editreward-bench")

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups; see `Benchmark.read`."""
        path = require_path(path, benchmark=self.name)
        if is_group_file(path):
            return read_groups(path, images=images)
        found = read_editreward_bench(path, images=images)
        return BenchData(groups=RowGroups(found.rows, category=_size), problems=found.problems)

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return the share of right groups and of right pairs; see `Benchmark.evaluate`."""
        answers = GroupAnswers.of(results)
        right = answers.right_groups("held-out")
        metrics = [answers.groups(right, part) for part in answers.parts()]
        answered = Part("answered", answers.is_answered)
        metrics += [answers.groups(right, part & answered) for part in answers.parts()]
        published = answers.right_groups("same-data")
        metrics += [answers.groups(published, part & SAME_DATA) for part in answers.parts(up_to=2)]
        metrics += [answers.pairs(part, "held-out") for part in answers.parts()]
        metrics += [answers.pairs(part & SAME_DATA, "same-data") for part in answers.parts(up_to=2)]
        metrics += answers.released(right)
        correct = tuple(None if np.isnan(each) else float(each) for each in right)
        problems = (*score_problems(results, correct=correct), *_ties_of_many(results))
        return Evaluation(metrics=tuple(metrics), correct=correct, problems=problems)


def _size(row: PreferenceRow) -> str:
    return f"K={len(row.images)}"


def _ties_of_many(results: Sequence[GroupResult]) -> tuple[Problem, ...]:
    """Return groups of three or more whose ranks tie: they cannot be right."""
    log = ProblemLog()
    tied = [
        result.id
        for result in results
        if len(result.candidates) > 2
        and len({each.rank for each in result.candidates}) < len(result.candidates)
    ]
    kind = "tie in a group of three or more, which is always wrong"
    log.add(kind, tied, is_warning=True)
    return log.problems()
