"""What a benchmark is: where groups come from, how answers become numbers, what was published."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from visreward.data.base import Problem
from visreward.evaluation.benchmarks.records import BenchGroup, GroupResult
from visreward.evaluation.benchmarks.results import MetricValue, PublishedRow


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchData:
    """The groups of a benchmark.

    Attributes:
        groups: In the order of the files; each is made when it is asked for, with its images.
        problems: What was wrong with rows, which are then not among the groups.
        references: Rows that come of the data itself and stand beside the published ones, such as
            how well one rater agrees with the others.
    """

    groups: Sequence[BenchGroup]
    problems: tuple[Problem, ...] = ()
    references: tuple[PublishedRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What came of the answers.

    Attributes:
        metrics: The first is the main one.
        correct: One entry per group, as in `GroupResult.correct`.
        num_counted: How many groups the main metric counts, where groups are not right or wrong;
            None means those that are.
        problems: What was wrong with groups or scores: failed candidates, scores that are not
            finite, constant scores, contradicting labels.
    """

    metrics: tuple[MetricValue, ...]
    correct: tuple[float | None, ...]
    num_counted: int | None = None
    problems: tuple[Problem, ...] = ()


class Benchmark(abc.ABC):
    """One benchmark. It has no state; all that differs between models is in what it is given."""

    name: ClassVar[str]
    """As the command line takes it."""

    summary: ClassVar[str]
    """One line: what is compared, how many groups, whose data."""

    version: ClassVar[int] = 1
    """Raised whenever a number would change."""

    needs_data: ClassVar[bool] = True
    """False for benchmarks that make their own pictures."""

    published: ClassVar[tuple[PublishedRow, ...]] = ()

    hub_files: ClassVar[tuple[str, ...]] = ("*",)
    """Which files of a data set of the hub are fetched, as patterns of the hub's client: the rest,
    such as a train split of hundreds of gigabytes, is not needed."""

    @abc.abstractmethod
    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups.

        Args:
            path: A folder or file in the published layout or a JSONL of groups; None for
                benchmarks that make their own.
            images: The folder that images are named relative to, or None for that of the file.

        Raises:
            DataError: if there is no such data.
        """

    @abc.abstractmethod
    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return metrics with intervals; deterministic, and free of torch."""
