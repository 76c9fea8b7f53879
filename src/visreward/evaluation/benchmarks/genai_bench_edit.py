"""GenAI-Bench, image editing: which of two edits people prefer, or neither."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from visreward.data.editreward_eval import GENAI_BENCH_PAIRS
from visreward.data.genai_bench import GENAI_BENCH_EDIT
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.layouts import read_layout
from visreward.evaluation.benchmarks.pair_metrics import evaluate_pairs, with_ties
from visreward.evaluation.benchmarks.published import published_rows
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import PublishedRow


class GenAIBenchEdit(Benchmark):
    """GenAI-Bench (arXiv 2406.04485), image editing.

    Read are the tables of the release (`test_v1` with 919 pairs before `test` with 983) and the
    JSON that EditReward's evaluation takes. The main metric is accuracy with ties and a threshold
    fitted on held-out prompts; `same_data` fits it on the same pairs, as published, and
    `as_released` is what EditReward's `eval_bench.py` computes, faults included.
    """

    name: ClassVar[str] = "genai-bench-edit"
    summary: ClassVar[str] = "pairs of edits with ties, 919 votes of GenAI-Bench (983 in `test`)"
    published: ClassVar[tuple[PublishedRow, ...]] = published_rows("genai-bench-edit")
    hub_files: ClassVar[tuple[str, ...]] = ("image_edition/*", "data/*", "test*")

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups; see `Benchmark.read`."""
        layouts = (GENAI_BENCH_EDIT, GENAI_BENCH_PAIRS)
        return read_layout(path, layouts, benchmark=self.name, images=images)

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return accuracy with and without ties; see `Benchmark.evaluate`."""
        return evaluate_pairs(results, with_ties)
