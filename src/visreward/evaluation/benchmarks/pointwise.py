"""Metrics of benchmarks in which people scored each image alone.

Shape letters: M scored images.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visreward.evaluation.benchmarks.base import Evaluation
from visreward.evaluation.benchmarks.pairs import finite_value
from visreward.evaluation.benchmarks.records import BenchGroup, GroupResult
from visreward.evaluation.benchmarks.results import MetricValue, PublishedRow
from visreward.evaluation.benchmarks.score_problems import score_problems
from visreward.evaluation.metrics import as_released
from visreward.evaluation.metrics.agreement import leave_one_out_correlations
from visreward.evaluation.metrics.correlation import fisher_mean, per_group
from visreward.evaluation.metrics.intervals import Estimate

UNKNOWN: Final = "unknown"
"""What stands for the editing model of an edit that names none, as in the released code."""

HUMAN_TO_HUMAN: Final = "human-to-human"
"""What the row of the raters is called."""


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
        (finite_value(candidate), candidate.human, candidate.generator or UNKNOWN, result.prompt)
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


def human_to_human(groups: Iterable[BenchGroup]) -> tuple[PublishedRow, ...]:
    """Return how well each rater agrees with the others, as a row to stand beside models.

    Of each editing model, the correlations of its raters are averaged through Fisher's z, and so
    are then the editing models. `spearman,as_released` is tanh of the plain mean both times, as in
    VIEScore's notebook: the 41.84 that EditReward's table shows for ImagenHub. A mean without a
    value is left out; no row where no two raters scored one image.
    """
    ratings: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for group in groups:
        for image in group.row.images:
            if len(image.ratings) > 1:
                ratings[image.generator or UNKNOWN].append(image.ratings)
    found = {generator: _of_raters(given) for generator, given in sorted(ratings.items())}
    means = {generator: fisher_mean(values).value for generator, values in found.items()}
    values = {
        "spearman,none": fisher_mean([each for each in means.values() if each is not None]).value,
        "spearman,as_released": as_released.tanh_of_mean(
            [as_released.tanh_of_mean(each) for each in found.values() if each]
        )
        if any(found.values())
        else None,
        **{f"spearman,{generator}": value for generator, value in means.items()},
    }
    kept = {key: value for key, value in values.items() if value is not None}
    source = "each rater of this data against the mean of the others"
    return (PublishedRow(model=HUMAN_TO_HUMAN, values=kept, source=source),) if kept else ()


def _of_raters(ratings: Sequence[Mapping[str, float]]) -> list[float]:
    """Return the correlations of the raters of some images that have one."""
    raters = sorted({name for given in ratings for name in given})
    table = [[given.get(name, math.nan) for name in raters] for given in ratings]
    return [each.value for each in leave_one_out_correlations(table) if each.value is not None]
