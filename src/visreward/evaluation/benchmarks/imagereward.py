"""ImageReward's test: in which order people rank generated images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from visreward.data.imagerewarddb import IMAGEREWARDDB
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.layouts import read_layout
from visreward.evaluation.benchmarks.pair_metrics import (
    JudgedPairs,
    by_prompt,
    evaluate_pairs,
    strict_order,
)
from visreward.evaluation.benchmarks.pairs import PairTable
from visreward.evaluation.benchmarks.published import published_rows
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import PublishedRow


class ImageReward(Benchmark):
    """ImageReward (arXiv 2304.05977), `test.json`: a ranking of 4 to 9 images per prompt.

    The main metric is that of HPSv3's evaluation: of all pairs of images that people order, the
    share that scores in that order. `accuracy_by_prompt` is HPSv2's: the mean of that share over
    prompts.
    """

    name: ClassVar[str] = "imagereward"
    summary: ClassVar[str] = "rankings of generated images of 466 prompts, ImageReward's test"
    published: ClassVar[tuple[PublishedRow, ...]] = published_rows("imagereward")

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups; see `Benchmark.read`."""
        return read_layout(
            path, (IMAGEREWARDDB,), benchmark=self.name, images=images, splits=("test",)
        )

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return accuracy on pairs; see `Benchmark.evaluate`."""
        return evaluate_pairs(results, _judge)


def _judge(table: PairTable) -> JudgedPairs:
    judged = strict_order(table)
    metrics = (*judged.metrics, by_prompt(table, judged.right))
    return JudgedPairs(metrics=metrics, right=judged.right)
