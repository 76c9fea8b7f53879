"""Benchmarks in which people scored each edit alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visreward.data.base import load_optional
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.registry import find_benchmark
from visreward.evaluation.benchmarks.results import MetricValue

stats = load_optional("scipy.stats", extra="train")

Metrics = dict[tuple[str, str], MetricValue]
ByName = Callable[[Sequence[MetricValue]], Metrics]
MakeGroup = Callable[..., GroupResult]

POINTWISE = ["aurora-bench-pointwise", "imagenhub"]


def released_groups(
    shared_dir: Path, group_of: MakeGroup, key: str
) -> tuple[list[GroupResult], dict[str, Any]]:
    """Return the inputs of a released summary as groups, and the summary."""
    text = (shared_dir / "parity" / "metrics.json").read_text(encoding="utf-8")
    data = json.loads(text)[key]
    groups = [
        group_of(
            number,
            [item["score"]],
            human=[item["human_score"]],
            generators=[item["model"]],
            prompt=item["instruction"],
        )
        for number, item in enumerate(data["items"])
    ]
    return groups, data["result"]


@pytest.mark.parametrize(
    ("name", "key"),
    [("aurora-bench-pointwise", "aurora_bench_pointwise"), ("imagenhub", "imagenhub")],
)
def test_as_released_equals_the_released_summary(
    shared_dir: Path, group_of: MakeGroup, by_name: ByName, name: str, key: str
) -> None:
    groups, wanted = released_groups(shared_dir, group_of, key)
    metrics = by_name(find_benchmark(name).evaluate(groups).metrics)
    average = metrics["spearman", "as_released"].value
    assert average == pytest.approx(wanted.pop("average"), abs=1e-12)
    for model, value in wanted.items():
        assert metrics["spearman", model].value == pytest.approx(value, abs=1e-12)


def test_imagenhub_second_version_equals_the_released_summary(
    shared_dir: Path, group_of: MakeGroup, by_name: ByName
) -> None:
    groups, wanted = released_groups(shared_dir, group_of, "imagenhub_v2")
    metrics = by_name(find_benchmark("imagenhub").evaluate(groups).metrics)
    by_prompt = metrics["spearman_by_prompt", "none"].value
    of_z_scores = metrics["spearman_of_z_scores", "as_released"].value
    assert by_prompt == pytest.approx(wanted["avg_per_prompt_spearman"], abs=1e-12)
    assert of_z_scores == pytest.approx(wanted["overall_zscore_spearman"], abs=1e-12)


def drawn_groups(group_of: MakeGroup, num: int = 60) -> list[GroupResult]:
    rng = np.random.default_rng(7)
    human = rng.integers(0, 5, num) / 4
    scores = human + rng.normal(0, 0.5, num)
    return [
        group_of(
            number,
            [float(scores[number])],
            human=[float(human[number])],
            generators=[f"editor-{number % 3}"],
        )
        for number in range(num)
    ]


@pytest.mark.parametrize("name", POINTWISE)
def test_main_metric_is_the_mean_through_fishers_z(
    group_of: MakeGroup, by_name: ByName, name: str
) -> None:
    groups = drawn_groups(group_of)
    evaluation = find_benchmark(name).evaluate(groups)
    metrics = by_name(evaluation.metrics)
    values = []
    for editor in range(3):
        own = [group.candidates[0] for group in groups[editor::3]]
        wanted = stats.spearmanr([each.value for each in own], [each.human for each in own])
        values.append(float(wanted.statistic))
        found = metrics["spearman", f"editor-{editor}"]
        assert found.value == pytest.approx(values[-1], abs=1e-12)
        assert found.num == 20
    main = evaluation.metrics[0]
    assert (main.name, main.filter, main.unit) == ("spearman", "none", "correlation")
    assert main.value == pytest.approx(math.tanh(np.mean(np.arctanh(values))), abs=1e-12)
    assert metrics["spearman", "plain_mean"].value == pytest.approx(np.mean(values), abs=1e-12)
    assert evaluation.correct == (None,) * 60
    assert evaluation.num_counted == 60


def test_imagenhub_as_released_shrinks_the_mean(group_of: MakeGroup, by_name: ByName) -> None:
    groups = drawn_groups(group_of)
    metrics = by_name(find_benchmark("imagenhub").evaluate(groups).metrics)
    plain = metrics["spearman", "plain_mean"].value
    assert plain is not None
    released = metrics["spearman", "as_released"].value
    assert released == pytest.approx(math.tanh(plain), abs=1e-12)


@pytest.mark.parametrize("name", POINTWISE)
def test_images_without_a_score_are_left_out_named_and_counted(
    group_of: MakeGroup, by_name: ByName, name: str
) -> None:
    groups = drawn_groups(group_of)
    bad = [
        group_of(90, [None], human=[1.0], generators=["editor-0"]),
        group_of(91, [math.nan], human=[0.0], generators=["editor-0"]),
    ]
    clean = by_name(find_benchmark(name).evaluate(groups).metrics)
    evaluation = find_benchmark(name).evaluate([*groups, *bad])
    metrics = by_name(evaluation.metrics)
    assert metrics["spearman", "none"].value == clean["spearman", "none"].value
    assert "2 of 62 images have no score and are left out." in metrics["spearman", "none"].note
    assert evaluation.num_counted == 60
    assert {problem.kind for problem in evaluation.problems} == {
        "candidate without a score",
        "score that is not finite",
    }


@pytest.mark.parametrize("name", POINTWISE)
def test_constant_scores_have_no_correlation(
    group_of: MakeGroup, by_name: ByName, name: str
) -> None:
    groups = [
        group_of(number, [1.0], human=[float(number)], generators=[f"editor-{number % 2}"])
        for number in range(8)
    ]
    evaluation = find_benchmark(name).evaluate(groups)
    for each in evaluation.metrics:
        assert each.value is None, each
        assert each.note
    assert [problem.kind for problem in evaluation.problems] == ["constant scores"]


@pytest.mark.parametrize("name", POINTWISE)
def test_no_groups_have_no_correlation(name: str) -> None:
    assert all(each.value is None for each in find_benchmark(name).evaluate([]).metrics)


@pytest.mark.parametrize("name", POINTWISE)
def test_one_image_with_two_scores_by_people_is_named(group_of: MakeGroup, name: str) -> None:
    groups = drawn_groups(group_of)
    candidate = replace(groups[3].candidates[0], human=9.0)
    again = replace(groups[3], id="again", candidates=(candidate,))
    same = replace(groups[4], id="same")
    (problem,) = find_benchmark(name).evaluate([*groups, again, same]).problems
    assert problem.kind == "same image with two scores by people"
    assert (problem.examples, problem.is_warning) == (("again and g3",), True)
