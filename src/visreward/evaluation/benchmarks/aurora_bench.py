"""AURORA-Bench: which of two edits people prefer, and how well edits are scored one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from visreward.data.editreward_eval import AURORA_PAIRS, AURORA_POINTWISE
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.layouts import read_layout
from visreward.evaluation.benchmarks.pair_metrics import evaluate_pairs, with_ties
from visreward.evaluation.benchmarks.pointwise import (
    ScoredImages,
    evaluate_pointwise,
    human_to_human,
    released_correlation,
)
from visreward.evaluation.benchmarks.published import published_rows
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import MetricValue, PublishedRow


class AuroraBench(Benchmark):
    """AURORA-Bench in pairs, the form of EditReward's table.

    Metrics as for `genai-bench-edit`. ADIEE's published number bins its scores by round(score / 5)
    in place of a fitted threshold, so that it and the others are not like for like.
    """

    name: ClassVar[str] = "aurora-bench"
    summary: ClassVar[str] = "pairs of edits with ties, of AURORA-Bench"
    published: ClassVar[tuple[PublishedRow, ...]] = published_rows("aurora-bench")

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups; see `Benchmark.read`."""
        return read_layout(path, (AURORA_PAIRS,), benchmark=self.name, images=images)

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return accuracy with and without ties; see `Benchmark.evaluate`."""
        return evaluate_pairs(results, with_ties)


class AuroraBenchPointwise(Benchmark):
    """AURORA-Bench edit by edit: Spearman's correlation for each editing model.

    Released code: the plain mean of the correlations, here `spearman,as_released`.
    """

    name: ClassVar[str] = "aurora-bench-pointwise"
    summary: ClassVar[str] = "single edits with human scores, of AURORA-Bench, per editing model"

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups, of one candidate each; see `Benchmark.read`."""
        data = read_layout(path, (AURORA_POINTWISE,), benchmark=self.name, images=images)
        return replace(data, references=human_to_human(data.groups))

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return correlations; see `Benchmark.evaluate`."""
        return evaluate_pointwise(results, _released)


def _released(images: ScoredImages, correlations: NDArray[np.float64]) -> tuple[MetricValue, ...]:
    """Return the plain mean of the generators' correlations."""
    is_defined = len(correlations) > 0 and bool(np.isfinite(correlations).all())
    mean = float(correlations.mean()) if is_defined else None
    return (released_correlation("spearman", mean, images=images),)
