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
from visreward.evaluation.benchmarks.group_files import write_groups
from visreward.evaluation.benchmarks.pointwise import HUMAN_TO_HUMAN
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.registry import find_benchmark
from visreward.evaluation.benchmarks.results import MetricValue
from visreward.evaluation.benchmarks.runner import RunFacts, evaluate, score_groups
from visreward.evaluation.benchmarks.scorers import RandomScorer
from visreward.evaluation.metrics.as_released import tanh_of_mean

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


EDITORS = ["MagicBrush", "SDEdit"]
RATERS = ["rater1", "rater2", "rater3"]


def rated_release(folder: Path, num: int = 40) -> np.ndarray[Any, Any]:
    """Write tables of three raters as ImagenHub's; return scores, (raters, edits, editors)."""
    rng = np.random.default_rng(3)
    liked = rng.integers(0, 3, (1, num, len(EDITORS), 2))
    cells = np.clip(liked + rng.integers(-1, 2, (3, num, len(EDITORS), 2)), 0, 2) / 2
    for rater, table in zip(RATERS, cells, strict=True):
        lines = ["\t".join(["uid", *EDITORS])]
        for number, row in enumerate(table.tolist()):
            lines.append("\t".join([f"{number}.jpg", *map(json.dumps, row)]))
        (folder / f"{rater}.tsv").write_text("\n".join(lines), encoding="utf-8")
    lookup = {f"{number}.jpg": {"instruction": f"edit {number}"} for number in range(num)}
    (folder / "dataset_lookup.json").write_text(json.dumps(lookup), encoding="utf-8")
    scores: np.ndarray[Any, Any] = np.sqrt(cells.prod(axis=-1))
    return scores


def correlations_of_raters(scores: np.ndarray[Any, Any]) -> list[list[float]]:
    """Return Spearman of each rater with the mean of the others, by editor."""
    return [
        [
            stats.spearmanr(
                scores[rater, :, editor], np.delete(scores[:, :, editor], rater, 0).mean(0)
            ).statistic
            for rater in range(3)
        ]
        for editor in range(len(EDITORS))
    ]


def test_imagenhub_human_to_human_row_is_each_rater_against_the_others(tmp_path: Path) -> None:
    scores = rated_release(tmp_path)
    data = find_benchmark("imagenhub").read(tmp_path)
    assert len(data.groups) == 80
    (row,) = data.references
    wanted = correlations_of_raters(scores)
    by_editor = [math.tanh(np.mean(np.arctanh(each))) for each in wanted]
    for editor, value in zip(EDITORS, by_editor, strict=True):
        assert row.values[f"spearman,{editor}"] == pytest.approx(value, abs=1e-12)
    mean = math.tanh(np.mean(np.arctanh(by_editor)))
    assert row.values["spearman,none"] == pytest.approx(mean, abs=1e-12)
    released = math.tanh(np.mean([math.tanh(np.mean(each)) for each in wanted]))
    assert row.values["spearman,as_released"] == pytest.approx(released, abs=1e-12)


def test_imagenhub_published_human_to_human_is_the_tanh_of_the_notebooks_numbers() -> None:
    # What VIEScore's released notebook prints of eight editing models, people against people.
    printed = [0.5811, 0.5891, 0.1991, 0.4265, 0.6289, 0.1524, 0.3327, 0.6561]
    (row,) = [row for row in find_benchmark("imagenhub").published if "uman" in row.model]
    rebuilt = tanh_of_mean(printed)
    assert round(rebuilt, 4) == round(row.values["spearman,as_released"], 4) == 0.4184


def test_result_has_the_human_to_human_row_before_the_published_ones(tmp_path: Path) -> None:
    rated_release(tmp_path)
    benchmark = find_benchmark("imagenhub")
    data = benchmark.read(tmp_path)
    answers = score_groups(data.groups, RandomScorer())
    result, _ = evaluate(benchmark, data, answers, RunFacts(model="random", revision=""))
    assert [row.model for row in result.published[:2]] == [HUMAN_TO_HUMAN, "Human-to-Human"]
    assert result.published[1:] == benchmark.published


@pytest.mark.parametrize("name", POINTWISE)
def test_group_files_with_ratings_have_a_human_to_human_row(tmp_path: Path, name: str) -> None:
    file = tmp_path / "groups.jsonl"
    given = [(1, 2), (2, 3), (3, 3), (4, 1), (5, 5)]
    for ratings, num in ((True, 1), (False, 0)):
        lines = [
            {
                "prompt": "p",
                "candidates": [
                    {
                        "image": "a.png",
                        "generator": "one",
                        **({"ratings": {"anna": a, "bo": b}} if ratings else {"human": a}),
                    }
                ],
            }
            for a, b in given
        ]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        data = find_benchmark(name).read(file)
        assert len(data.references) == num
        if ratings:
            assert [group.row.images[0].overall for group in data.groups] == [1.5, 2.5, 3, 2.5, 5]
            wanted = stats.spearmanr(*zip(*given, strict=True)).statistic
            value = data.references[0].values["spearman,one"]
            assert value == pytest.approx(wanted, abs=1e-12)
            again = tmp_path / "again.jsonl"
            write_groups(data.groups, again)
            assert find_benchmark(name).read(again).references == data.references


def test_ratings_that_are_no_numbers_by_rater_make_a_malformed_row(tmp_path: Path) -> None:
    file = tmp_path / "groups.jsonl"
    good = {"prompt": "p", "candidates": [{"image": "a.png", "human": 1}]}
    bad = [
        {"prompt": "p", "candidates": [{"image": "a.png", "ratings": r}]} for r in ([1], {"a": "x"})
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in (good, *bad)), encoding="utf-8")
    (problem,) = find_benchmark("imagenhub").read(file).problems
    assert problem.count == 2
    assert "in 'ratings', expected a score by rater" in problem.examples[0]
