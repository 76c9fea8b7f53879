"""Metrics of benchmarks in which people scored each image alone.

Shape letters: M scored images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visreward.evaluation.benchmarks.base import Evaluation
from visreward.evaluation.benchmarks.pairs import finite_value
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import MetricValue
from visreward.evaluation.benchmarks.score_problems import score_problems
from visreward.evaluation.metrics.correlation import per_group
from visreward.evaluation.metrics.intervals import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredImages:
    """Images that both people and a model scored.

    Attributes:
        scores: (M,) by the model, finite.
        human: (M,) by people.
        generators: M names of what made each.
        prompts: M prompts.
        note: How many images the model did not score, or "".
    """

    scores: NDArray[np.float64]
    human: NDArray[np.float64]
    generators: tuple[str, ...]
    prompts: tuple[str, ...]
    note: str


ReleasedMetrics = Callable[[ScoredImages, NDArray[np.float64]], tuple[MetricValue, ...]]
"""Returns the variants of a release, given images and (G,) the correlation of each generator, NaN
where there is none.
"""


def released_correlation(name: str, value: float | None, *, images: ScoredImages) -> MetricValue:
    """Return what released code gives as a metric.

    Args:
        name: Of the metric.
        value: What it gives; None where that is NaN.
        images: What it is given.
    """
    return MetricValue(
        name=name,
        filter="as_released",
        value=value,
        unit="correlation",
        num=len(images.scores),
        note=images.note if value is not None else "Not defined: the released code gives NaN here.",
    )


def correlation_metric(name: str, found: Estimate, *, variant: str = "none") -> MetricValue:
    """Return a correlation as a metric; see `MetricValue.of`."""
    return MetricValue.of(name, found, variant=variant, unit="correlation")


def evaluate_pointwise(results: Sequence[GroupResult], released: ReleasedMetrics) -> Evaluation:
    """Return Spearman's correlation per generator and its means over generators.

    A correlation has no place for an image that was not scored: it is left out, named among the
    problems, and counted in the notes. Groups are not right or wrong, so that none is marked.

    Args:
        results: Groups with human scores.
        released: The variants of the release.
    """
    images = scored_images(results)
    found = per_group(images.scores, images.human, images.generators)
    values = np.array([each.value for each in found.groups.values()], dtype=np.float64)
    metrics = [
        correlation_metric("spearman", found.fisher_mean.noted(images.note)),
        correlation_metric("spearman", found.mean.noted(images.note), variant="plain_mean"),
        *released(images, values),
        *(
            correlation_metric("spearman", each, variant=str(generator))
            for generator, each in sorted(found.groups.items(), key=lambda item: str(item[0]))
        ),
    ]
    return Evaluation(
        metrics=tuple(metrics),
        correct=(None,) * len(results),
        num_counted=sum(map(_has_both, results)),
        problems=score_problems(results),
    )


def _has_both(result: GroupResult) -> bool:
    return any(
        each.human is not None and not math.isnan(finite_value(each)) for each in result.candidates
    )


def scored_images(results: Sequence[GroupResult]) -> ScoredImages:
    """Return all images with a score by people, less those that the model did not score."""
    rows = [
        (finite_value(candidate), candidate.human, candidate.generator or "unknown", result.prompt)
        for result in results
        for candidate in result.candidates
        if candidate.human is not None
    ]
    kept = [row for row in rows if not math.isnan(row[0])]
    missing = len(rows) - len(kept)
    return ScoredImages(
        scores=np.array([row[0] for row in kept], dtype=np.float64),
        human=np.array([row[1] for row in kept], dtype=np.float64),
        generators=tuple(row[2] for row in kept),
        prompts=tuple(row[3] for row in kept),
        note=f"{missing} of {len(rows)} images have no score and are left out." if missing else "",
    )
