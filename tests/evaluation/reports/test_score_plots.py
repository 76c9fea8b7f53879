"""What the plots of scores show beside their drawing."""

from __future__ import annotations

import numpy as np

from visreward.evaluation.benchmarks.pairs import pair_table
from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult
from visreward.evaluation.benchmarks.results import BenchResult
from visreward.evaluation.reports.agreement import Measured
from visreward.evaluation.reports.score_plots import human_plot


def scored_alone(human: list[float]) -> Measured:
    """Return a model that gives each candidate its place."""
    groups = [
        GroupResult(
            id=str(place),
            prompt="p",
            sources=(),
            candidates=(CandidateResult(image="a.png", human=each, value=float(place)),),
        )
        for place, each in enumerate(human)
    ]
    result = BenchResult(
        benchmark="imagenhub",
        version=1,
        model="m",
        revision="",
        metrics=(),
        num_groups=len(groups),
        num_counted=len(groups),
    )
    return Measured(result=result, groups=groups, pairs=pair_table(groups))


def test_human_plot_equal_scores_by_people_are_one_level() -> None:
    distinct = np.random.default_rng(0).random(12)
    human = np.repeat(distinct, [1, 30, 5, 2, 8, 1, 1, 3, 40, 1, 1, 2]).tolist()
    plot = human_plot([scored_alone(human)])
    assert plot is not None
    levels = [float(row[1]) for row in plot.rows]
    assert len(levels) > 2
    assert levels == sorted(set(levels))


def test_human_plot_few_levels_are_shown_each_with_the_mean_score() -> None:
    plot = human_plot([scored_alone([1.0, 2.0, 1.0, 4.0])])
    assert plot is not None
    assert [row[1] for row in plot.rows] == ["1", "2", "4"]
    assert [float(row[2]) for row in plot.rows] == [1.0, 1.0, 3.0]
