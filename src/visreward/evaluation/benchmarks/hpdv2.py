"""HPDv2's test split: in which order people rank generated images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from visreward.data.hpdv2 import HPDV2_TEST
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.layouts import read_layout
from visreward.evaluation.benchmarks.pair_metrics import (
    JudgedPairs,
    evaluate_pairs,
    mean_by_group,
    strict_order,
)
from visreward.evaluation.benchmarks.pairs import PairTable
from visreward.evaluation.benchmarks.published import published_rows
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import MetricValue, PublishedRow


class HPDv2(Benchmark):
    """HPDv2 (arXiv 2306.09341), `test.json`: a ranking of several images per prompt.

    The main metric is that of HPSv3's evaluation: the share, over all pairs of images that people
    order, of those that score in that order. HPSv2's own, `accuracy_by_prompt,as_released`, is the
    mean over prompts of 1 - (pairs in the wrong order) / (all pairs): a tie of people is right
    whatever the model says, and of equal scores the earlier image counts as the better.
    """

    name: ClassVar[str] = "hpdv2"
    summary: ClassVar[str] = "rankings of generated images, the test split of HPDv2"
    published: ClassVar[tuple[PublishedRow, ...]] = published_rows("hpdv2")

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups; see `Benchmark.read`."""
        return read_layout(
            path, (HPDV2_TEST,), benchmark=self.name, images=images, splits=("test",)
        )

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return accuracy on pairs; see `Benchmark.evaluate`."""
        return evaluate_pairs(results, _judge)


def _judge(table: PairTable) -> JudgedPairs:
    judged = strict_order(table)
    return JudgedPairs(metrics=(*judged.metrics, _released(table)), right=judged.right)


def _released(table: PairTable) -> MetricValue:
    """Return what HPSv2's `inversion_score` gives; prompts with a missing verdict are left out."""
    is_first_better = table.margins >= 0
    right = np.where(is_first_better, table.labels >= 0, table.labels <= 0).astype(np.float64)
    is_missing = np.isnan(table.margins)
    right[np.isin(table.groups, table.groups[is_missing])] = np.nan
    num_groups = int(table.groups.max(initial=-1)) + 1
    shares = mean_by_group(right, table.groups, num_groups=num_groups)
    counted = [each for each in shares if each is not None]
    return MetricValue(
        name="accuracy_by_prompt",
        filter="as_released",
        value=sum(counted) / len(counted) if counted else None,
        num=len(counted),
        note="Prompts with a missing score are left out." if is_missing.any() else "",
    )
