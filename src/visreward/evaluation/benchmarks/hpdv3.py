"""HPDv3's test split: which of two generated images people prefer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from visreward.data.hpdv3 import HPDV3
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.layouts import read_layout
from visreward.evaluation.benchmarks.pair_metrics import evaluate_pairs, strict_order
from visreward.evaluation.benchmarks.published import published_rows
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import PublishedRow


class HPDv3(Benchmark):
    """HPDv3 (arXiv 2508.03789), `test.json`: 1 prompt, 2 images, the first is preferred.

    HPSv3's evaluation: right is a strictly higher score; equal scores are wrong, and counted. The
    official splits are reported to overlap in prompts and images (HPSv3 issue 39), so check a model
    that was trained on HPDv3 with `visreward data check hpdv3`.
    """

    name: ClassVar[str] = "hpdv3"
    summary: ClassVar[str] = "pairs of generated images, the test split of HPDv3"
    published: ClassVar[tuple[PublishedRow, ...]] = published_rows("hpdv3")

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups; see `Benchmark.read`."""
        return read_layout(path, (HPDV3,), benchmark=self.name, images=images, splits=("test",))

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return accuracy on pairs; see `Benchmark.evaluate`."""
        return evaluate_pairs(results, strict_order)
