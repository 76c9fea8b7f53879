"""ImagenHub, image editing: how well edits of each editing model are scored one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from visreward.data.editreward_eval import IMAGENHUB
from visreward.data.imagenhub import rating_tables, read_imagenhub
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.groups import RowGroups
from visreward.evaluation.benchmarks.layouts import read_layout
from visreward.evaluation.benchmarks.pointwise import (
    ScoredImages,
    correlation_metric,
    evaluate_pointwise,
    human_to_human,
    released_correlation,
)
from visreward.evaluation.benchmarks.published import published_rows
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import MetricValue, PublishedRow
from visreward.evaluation.metrics import as_released
from visreward.evaluation.metrics.correlation import per_group


class ImagenHub(Benchmark):
    """ImagenHub's human scores of edits: Spearman's correlation for each editing model.

    The main metric averages them by Fisher's z. Released code (EditReward's `eval_bench.py`): means
    to, but takes tanh of the plain mean, which shrinks it; that is `spearman,as_released`, which
    the published numbers are. Where several raters are told apart, as in ImagenHub's own tables,
    `human-to-human` stands beside them. The released code's second version, which ranks edits of
    one prompt, is given as `spearman_by_prompt` and, over z-scores per prompt,
    `spearman_of_z_scores`.
    """

    name: ClassVar[str] = "imagenhub"
    summary: ClassVar[str] = "single edits with human scores, of ImagenHub, per editing model"
    published: ClassVar[tuple[PublishedRow, ...]] = published_rows("imagenhub")

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups, of one candidate each; see `Benchmark.read`."""
        if path is not None and rating_tables(path):
            found = read_imagenhub(path, images=images)
            data = BenchData(groups=RowGroups(found.rows), problems=found.problems)
        else:
            data = read_layout(path, (IMAGENHUB,), benchmark=self.name, images=images)
        return replace(data, references=human_to_human(data.groups))

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return correlations; see `Benchmark.evaluate`."""
        return evaluate_pointwise(results, _released)


def _released(images: ScoredImages, correlations: NDArray[np.float64]) -> tuple[MetricValue, ...]:
    """Return what both versions of the released code give."""
    is_defined = len(correlations) > 0 and bool(np.isfinite(correlations).all())
    by_prompt = per_group(images.scores, images.human, images.prompts).mean
    return (
        released_correlation(
            "spearman",
            as_released.tanh_of_mean(correlations) if is_defined else None,
            images=images,
        ),
        correlation_metric("spearman_by_prompt", by_prompt.noted(images.note)),
        released_correlation("spearman_of_z_scores", _of_z_scores(images), images=images),
    )


def _of_z_scores(images: ScoredImages) -> float | None:
    """Return Spearman over all images, scores standardised by prompt, less prompts of one."""
    prompts = np.array(images.prompts, dtype=np.str_)
    _, numbers, nums = np.unique(prompts, return_inverse=True, return_counts=True)
    kept = nums[numbers] > 1
    if not kept.any():
        return None
    return as_released.spearman_of_standard_scores(
        images.scores[kept], images.human[kept], numbers[kept].tolist()
    )
