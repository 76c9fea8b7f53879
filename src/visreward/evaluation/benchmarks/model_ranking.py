"""Ranking of generators: mean score of each, and whether people rank them so too.

Shape letters: M images of one generator, C categories, G generators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from visreward.data.base import Problem, ProblemLog
from visreward.data.generator_folders import read_generator_images
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.group_files import is_group_file, read_groups
from visreward.evaluation.benchmarks.layouts import require_path
from visreward.evaluation.benchmarks.pairs import cluster_numbers, finite_value
from visreward.evaluation.benchmarks.pointwise import correlation_metric
from visreward.evaluation.benchmarks.published import published_rows
from visreward.evaluation.benchmarks.records import BenchGroup, GroupResult
from visreward.evaluation.benchmarks.results import MetricValue, PublishedRow
from visreward.evaluation.benchmarks.score_problems import score_problems
from visreward.evaluation.metrics.correlation import kendall, spearman
from visreward.evaluation.metrics.generators import rank_generators
from visreward.evaluation.metrics.intervals import Estimate, cluster_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class _Images:
    """The images of one generator that have a score.

    scores: (M,); categories: (M,) names; clusters: (M,) numbers; human: of the generator, or None;
    num_missing: how many images have no score.
    """

    scores: NDArray[np.float64]
    categories: NDArray[np.str_]
    clusters: NDArray[np.int64]
    human: float | None
    num_missing: int


class ModelRanking(Benchmark):
    """HPSv3's benchmark of generators (arXiv 2508.03789), on any generators and categories.

    A generator's score is the mean of its category means, so that each category weighs the same;
    `spearman` and `kendall` compare the order of generators with that by people. `win_rate` and
    `elo` look at images of one prompt only, which scores of easy prompts do not blur. The published
    scores are of HPSv3's 12 categories; of other prompts they are not comparable.
    """

    name: ClassVar[str] = "model-ranking"
    summary: ClassVar[str] = "mean score of generators per category, against their order by people"
    published: ClassVar[tuple[PublishedRow, ...]] = published_rows("model-ranking")

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return one group per category and prompt, a candidate per generator.

        What people make of a generator is the human score of each of its candidates. See
        `Benchmark.read`.
        """
        path = require_path(path, benchmark=self.name)
        if is_group_file(path):
            return read_groups(path, images=images)
        found = read_generator_images(path)
        groups = [
            BenchGroup(row=row, category=row.category, cluster=row.prompt) for row in found.rows
        ]
        return BenchData(groups=groups, problems=found.problems)

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return the correlations, and the mean score of each generator; see `Benchmark.evaluate`.

        Images without a score are left out of the means, named and counted.
        """
        log = ProblemLog()
        generators = _by_generator(results, log)
        means = {name: _mean_of_categories(images) for name, images in generators.items()}
        names = sorted(means, key=lambda name: -_sortable(means[name].value))
        metrics = _correlations(means, generators)
        metrics += [_score_metric(means[name], variant=name) for name in names]
        metrics += _duels(results)
        for name in names:
            images = generators[name]
            for category in np.unique(images.categories).tolist():
                own = images.categories == category
                found = cluster_interval(images.scores[own], images.clusters[own])
                metrics.append(_score_metric(found, variant=f"{name}/{category}"))
        problems: tuple[Problem, ...] = (*score_problems(results), *log.problems())
        return Evaluation(
            metrics=tuple(metrics),
            correct=(None,) * len(results),
            num_counted=sum(map(_has_score, results)),
            problems=problems,
        )


def _has_score(result: GroupResult) -> bool:
    return any(not math.isnan(finite_value(each)) for each in result.candidates)


def _by_generator(results: Sequence[GroupResult], log: ProblemLog) -> dict[str, _Images]:
    numbers = cluster_numbers(results)
    rows: dict[str, list[tuple[float, str, int]]] = {}
    human: dict[str, set[float]] = {}
    for place, result in enumerate(results):
        for candidate in result.candidates:
            if candidate.generator is None:
                log.add("image of an unknown generator", [f"{result.id} ({candidate.image})"])
                continue
            row = (finite_value(candidate), result.category, int(numbers[place]))
            rows.setdefault(candidate.generator, []).append(row)
            if candidate.human is not None:
                human.setdefault(candidate.generator, set()).add(candidate.human)
    found = {}
    for name, own in rows.items():
        kept = [row for row in own if not math.isnan(row[0])]
        said = sorted(human.get(name, ()))
        if len(said) > 1:
            log.add("generator with several scores by people", [f"{name}: {said[:3]}"])
        found[name] = _Images(
            scores=np.array([row[0] for row in kept], dtype=np.float64),
            categories=np.array([row[1] for row in kept], dtype=np.str_),
            clusters=np.array([row[2] for row in kept], dtype=np.int64),
            human=said[0] if len(said) == 1 else None,
            num_missing=len(own) - len(kept),
        )
    return found


def _mean_of_categories(images: _Images) -> Estimate:
    """Return the mean over categories of the mean score in each."""
    note = (
        f"{images.num_missing} images have no score and are left out." if images.num_missing else ""
    )
    if not len(images.scores):
        return Estimate(value=None, note=f"Not defined: no image has a score. {note}".strip())
    _, numbers, counts = np.unique(images.categories, return_inverse=True, return_counts=True)
    weights = 1.0 / counts[numbers]
    return cluster_interval(images.scores, images.clusters, weights=weights).noted(note)


def _correlations(
    means: Mapping[str, Estimate], generators: Mapping[str, _Images]
) -> list[MetricValue]:
    pairs = [
        (means[name].value, images.human)
        for name, images in generators.items()
        if means[name].value is not None and images.human is not None
    ]
    ours = np.array([pair[0] for pair in pairs], dtype=np.float64)
    human = np.array([pair[1] for pair in pairs], dtype=np.float64)
    missing = len(generators) - len(pairs)
    note = (
        f"{missing} of {len(generators)} generators have no score on one side." if missing else ""
    )
    return [
        correlation_metric("spearman", spearman(ours, human).noted(note)),
        correlation_metric("kendall", kendall(ours, human).noted(note)),
    ]


def _duels(results: Sequence[GroupResult]) -> list[MetricValue]:
    """Return how often each generator's image scores higher than another's of the same prompt."""
    numbers = cluster_numbers(results).tolist()
    first, second, labels, clusters = [], [], [], []
    for number, result in zip(numbers, results, strict=True):
        scored = [
            (each.generator, finite_value(each))
            for each in result.candidates
            if each.generator is not None and not math.isnan(finite_value(each))
        ]
        for (one, score), (other, other_score) in combinations(scored, 2):
            if one != other:
                first.append(one)
                second.append(other)
                labels.append((score > other_score) - (score < other_score))
                clusters.append(number)
    if not labels:
        return []
    ranking = rank_generators(first, second, labels, clusters=clusters)
    metrics = []
    for each in ranking.generators:
        metrics.append(
            MetricValue(name="win_rate", filter=each.name, value=each.win_rate, num=each.num_pairs)
        )
        metrics.append(_number_metric("elo", each.elo, variant=each.name))
    return metrics


def _score_metric(found: Estimate, *, variant: str) -> MetricValue:
    return _number_metric("mean_score", found, variant=variant)


def _number_metric(name: str, found: Estimate, *, variant: str) -> MetricValue:
    return MetricValue.of(name, found, variant=variant, unit="number")


def _sortable(value: float | None) -> float:
    return -math.inf if value is None else value
