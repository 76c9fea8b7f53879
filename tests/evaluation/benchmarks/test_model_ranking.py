from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from visreward.data.base import load_optional
from visreward.data.generator_folders import HUMAN_SCORES_FILE
from visreward.evaluation.benchmarks.model_ranking import ModelRanking
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import MetricValue

stats = load_optional("scipy.stats", extra="train")

Metrics = dict[tuple[str, str], MetricValue]
ByName = Callable[[Sequence[MetricValue]], Metrics]
MakeGroup = Callable[..., GroupResult]

GENERATORS = ("one", "two", "three", "four", "five")
HUMAN = (5.0, 3.0, 4.0, 2.0, 1.0)


def drawn_groups(group_of: MakeGroup) -> list[GroupResult]:
    """Return 40 groups: 30 animals, 10 arts, a candidate per generator."""
    rng = np.random.default_rng(2)
    strength = np.array([4.0, 3.5, 3.0, 2.0, 1.0])
    return [
        group_of(
            number,
            (strength + (number >= 30) * rng.normal(0, 1, 5) + rng.normal(0, 0.3, 5)).tolist(),
            human=HUMAN,
            generators=GENERATORS,
            category="arts" if number >= 30 else "animals",
        )
        for number in range(40)
    ]


def test_scores_are_means_of_category_means_and_their_order_is_compared(
    group_of: MakeGroup, by_name: ByName
) -> None:
    groups = drawn_groups(group_of)
    evaluation = ModelRanking().evaluate(groups)
    metrics = by_name(evaluation.metrics)
    values = np.array([[each.value for each in group.candidates] for group in groups])
    animals, arts = values[:30].mean(axis=0), values[30:].mean(axis=0)
    overall = (animals + arts) / 2
    for place, name in enumerate(GENERATORS):
        found = metrics["mean_score", name]
        assert found.value == pytest.approx(overall[place], abs=1e-12)
        assert (found.unit, found.num) == ("number", 40)
        assert found.low is not None
        assert found.high is not None
        assert found.low < overall[place] < found.high
        assert metrics["mean_score", f"{name}/animals"].value == pytest.approx(animals[place])
        assert metrics["mean_score", f"{name}/arts"].num == 10
    main = evaluation.metrics[0]
    assert (main.name, main.filter) == ("spearman", "none")
    assert main.value == pytest.approx(stats.spearmanr(overall, HUMAN).statistic, abs=1e-12)
    kendall = metrics["kendall", "none"].value
    assert kendall == pytest.approx(stats.kendalltau(overall, HUMAN).statistic, abs=1e-12)
    order = [each.filter for each in evaluation.metrics if each.name == "mean_score"][:5]
    assert order == [GENERATORS[place] for place in np.argsort(-overall)]
    assert evaluation.problems == ()
    assert evaluation.num_counted == 40


def test_published_order_of_generators_gives_the_correlation_of_its_ranks(
    group_of: MakeGroup, by_name: ByName
) -> None:
    # The published scores of HPSv3 as a model's, against an order by people with two swaps.
    (row,) = (each for each in ModelRanking.published if "mean_score,SDXL" in each.values)
    names = [key.partition(",")[2] for key in row.values]
    assert len(names) == 11
    human = [11, 10, 9, 8, 7, 6, 5, 3, 4, 1, 2]
    group = group_of(0, list(row.values.values()), human=human, generators=names, category="all")
    metrics = by_name(ModelRanking().evaluate([group, group]).metrics)
    assert metrics["mean_score", "Kolors"].value == pytest.approx(10.55)
    # 1 - 6 sum d^2 / (n (n^2 - 1)) with four d of 1; (55 - 2 * 2) / 55
    assert metrics["spearman", "none"].value == pytest.approx(1 - 24 / (11 * 120))
    assert metrics["kendall", "none"].value == pytest.approx(51 / 55)


def test_without_an_order_by_people_there_is_no_correlation(
    group_of: MakeGroup, by_name: ByName
) -> None:
    groups = [
        group_of(number, [1.0 + number, 2.0], generators=["one", "two"], category="arts")
        for number in range(3)
    ]
    metrics = by_name(ModelRanking().evaluate(groups).metrics)
    assert metrics["spearman", "none"].value is None
    assert "2 of 2 generators have no score on one side" in metrics["spearman", "none"].note
    assert metrics["mean_score", "one"].value == pytest.approx(2.0)


def test_bad_scores_and_labels_are_left_out_named_and_counted(
    group_of: MakeGroup, by_name: ByName
) -> None:
    groups = [
        group_of(0, [1.0, None], human=[2.0, 1.0], generators=["one", "two"], category="arts"),
        group_of(1, [3.0, math.inf], human=[5.0, 1.0], generators=["one", "two"], category="arts"),
        group_of(2, [4.0, 2.0], human=[2.0, 1.0], generators=["one", None], category="arts"),
    ]
    evaluation = ModelRanking().evaluate(groups)
    metrics = by_name(evaluation.metrics)
    assert metrics["mean_score", "one"].value == pytest.approx(8 / 3)
    assert metrics["mean_score", "two"].value is None
    assert "2 images have no score" in metrics["mean_score", "two"].note
    assert {problem.kind: problem.examples for problem in evaluation.problems} == {
        "candidate without a score": ("g0/1 (0-1.png): unreadable",),
        "score that is not finite": ("g1/1 (1-1.png): inf",),
        "image of an unknown generator": ("g2 (2-1.png)",),
        "generator with several scores by people": ("one: [2.0, 5.0]",),
    }


def test_folders_are_read_as_groups_with_the_order_by_people(tmp_path: Path) -> None:
    for name in ("one/arts/0.png", "two/arts/0.png", "one/arts/1.png", "two/animals/0.png"):
        image = tmp_path / name
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"no real picture")
        image.with_suffix(".txt").write_text(f"prompt of {image.stem}", encoding="utf-8")
    (tmp_path / "one/arts/2.png").write_bytes(b"no prompt")
    (tmp_path / HUMAN_SCORES_FILE).write_text('{"one": 2, "two": 1}', encoding="utf-8")
    data = ModelRanking().read(tmp_path)
    assert [(group.row.id, group.category, group.cluster) for group in data.groups] == [
        ("animals/0", "animals", "prompt of 0"),
        ("arts/0", "arts", "prompt of 0"),
        ("arts/1", "arts", "prompt of 1"),
    ]
    assert [image.overall for image in data.groups[1].row.images] == [2.0, 1.0]
    assert [problem.kind for problem in data.problems] == ["image without a prompt"]


def test_duels_compare_images_of_one_prompt(group_of: MakeGroup, by_name: ByName) -> None:
    # "one" wins 3 of 4 prompts against "two"; prompts differ far more than generators do.
    scores = [[101.0, 100.0], [2.0, 1.0], [55.0, 54.0], [0.0, 9.0], [7.0, None]]
    groups = [
        group_of(number, values, generators=["one", "two"], category="arts")
        for number, values in enumerate(scores)
    ]
    metrics = by_name(ModelRanking().evaluate(groups).metrics)
    assert metrics["win_rate", "one"].value == pytest.approx(3 / 4)
    assert metrics["win_rate", "two"].num == 4
    one, two = metrics["elo", "one"].value, metrics["elo", "two"].value
    assert one is not None
    assert two is not None
    # Elo: odds of 3 to 1 are 400 log10(3) points
    assert one - two == pytest.approx(400 * math.log10(3))


def test_generators_that_never_lose_have_a_win_rate_and_no_elo(
    group_of: MakeGroup, by_name: ByName
) -> None:
    groups = [
        group_of(number, [2.0, 1.0], generators=["one", "two"], category="arts")
        for number in range(3)
    ]
    metrics = by_name(ModelRanking().evaluate(groups).metrics)
    assert metrics["win_rate", "one"].value == 1.0
    assert metrics["elo", "one"].value is None
    assert metrics["elo", "one"].note
