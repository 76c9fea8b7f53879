"""Pick-a-Pic's test split: which of two generated images people prefer, or neither."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from visreward.data.pick_a_pic import PICK_A_PIC
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.layouts import read_layout
from visreward.evaluation.benchmarks.pair_metrics import (
    JudgedPairs,
    evaluate_pairs,
    strict_order,
    with_ties,
)
from visreward.evaluation.benchmarks.pairs import PairTable
from visreward.evaluation.benchmarks.published import published_rows
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import PublishedRow


class PickAPic(Benchmark):
    """Pick-a-Pic v2 (arXiv 2305.01569): pairs with a tie as a third answer.

    Read is `test_unique`, one pair for each of 500 prompts, or else `test` (20,716 pairs). Which of
    them published numbers are of, and what became of ties, is not published. The main metric leaves
    out ties of people, as HPSv3's evaluation does; accuracy with ties stands beside it.
    """

    name: ClassVar[str] = "pick-a-pic"
    summary: ClassVar[str] = "pairs of generated images with ties, the test split of Pick-a-Pic v2"
    published: ClassVar[tuple[PublishedRow, ...]] = published_rows("pick-a-pic")
    hub_files: ClassVar[tuple[str, ...]] = ("*test*",)

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups; see `Benchmark.read`."""
        return read_layout(
            path, (PICK_A_PIC,), benchmark=self.name, images=images, splits=("test_unique", "test")
        )

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return accuracy on pairs; see `Benchmark.evaluate`."""
        return evaluate_pairs(results, _judge)


def _judge(table: PairTable) -> JudgedPairs:
    judged, tied = strict_order(table), with_ties(table)
    metrics = (*judged.metrics, *(each for each in tied.metrics if "with_ties" in each.name))
    return JudgedPairs(metrics=metrics, right=judged.right)
