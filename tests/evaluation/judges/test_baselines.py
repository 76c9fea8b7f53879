"""Chance, and one annotator against the others."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from visreward.core.errors import DataError
from visreward.data.preferences import JudgedImage, PreferenceRow
from visreward.evaluation.benchmarks.records import BenchGroup
from visreward.evaluation.judges import load_judge
from visreward.evaluation.judges.baselines import (
    HumanJudge,
    RandomJudge,
    read_annotations,
    without_annotator,
)
from visreward.evaluation.judges.config import Ties


def group(name: str, ranks: tuple[int | None, ...]) -> BenchGroup:
    images = tuple(JudgedImage(image=Path(f"{place}.png"), rank=r) for place, r in enumerate(ranks))
    return BenchGroup(row=PreferenceRow(id=name, prompt="p", images=images))


def groups(num: int, size: int) -> list[BenchGroup]:
    return [group(f"g{number}", tuple(range(1, size + 1))) for number in range(num)]


def share_all_first(judge: RandomJudge, size: int, num: int) -> float:
    right = [
        all(verdict.outcomes == ("first",) for verdict in verdicts)
        for verdicts in judge.compare(groups(num, size))
    ]
    return sum(right) / num


@pytest.mark.parametrize(
    ("size", "ties", "chance"),
    [
        (2, "groups_of_two", 1 / 3),
        (3, "groups_of_two", 1 / 8),
        (4, "groups_of_two", 1 / 64),
        (2, "never", 1 / 2),
        (3, "always", 1 / 27),
    ],
)
def test_random_judge_is_right_as_often_as_chance_says(
    size: int, ties: Ties, chance: float
) -> None:
    num = 3000
    found = share_all_first(RandomJudge(seed=3, ties=ties), size, num)
    assert abs(found - chance) < 4 * (chance * (1 - chance) / num) ** 0.5


def test_random_outcomes_are_equally_frequent() -> None:
    verdicts = [pair for (pair,) in RandomJudge(seed=1).compare(groups(6000, 2))]
    counts = Counter(verdict.outcomes[0] for verdict in verdicts)
    assert set(counts) == {"first", "second", "tie"}
    assert all(abs(count - 2000) < 160 for count in counts.values())


def test_random_verdict_depends_on_seed_and_group_only() -> None:
    judge = RandomJudge(seed=5)
    forward = list(judge.compare(groups(50, 3)))
    backward = list(judge.compare(groups(50, 3)[::-1]))[::-1]
    assert forward == backward == list(RandomJudge(seed=5).compare(groups(50, 3)))
    assert forward != list(RandomJudge(seed=6).compare(groups(50, 3)))


ANNOTATIONS = [
    {"id": "g0", "ranks": {"anna": [1, 2, 3], "bo": [2, 1, 3], "cy": [2, 1, 3]}},
    {"id": "g1", "ranks": {"anna": [1, 1, 2], "bo": [1, 2, 3]}},
    {"id": "g2", "ranks": {"bo": [3, 2, 1], "cy": [3, 2, 1]}},
    {"id": "g3", "ranks": {"anna": [3, 2, 1]}},
]


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    path = tmp_path / "votes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ANNOTATIONS))
    return path


def test_annotator_answers_as_a_judge(votes: Path, tmp_path: Path) -> None:
    config = tmp_path / "anna.yaml"
    config.write_text("{kind: humans, annotations: votes.jsonl, annotator: anna}")
    judge = load_judge(config)
    assert isinstance(judge, HumanJudge)
    assert judge.name == "anna"
    first, second, third, _ = judge.compare(groups(4, 3))
    assert [each.outcomes[0] for each in first] == ["first", "first", "first"]
    assert [each.outcomes[0] for each in second] == ["tie", "first", "first"]
    assert [each.outcomes for each in third] == [(None,)] * 3
    assert "did not rank" in third[0].errors[0]


def test_labels_without_the_annotator_are_those_of_the_others(votes: Path) -> None:
    found = list(without_annotator(groups(4, 3), read_annotations(votes), annotator="anna"))
    assert [each.row.id for each in found] == ["g0", "g1"]
    assert [tuple(image.rank for image in each.row.images) for each in found] == [
        (2, 1, 3),
        (1, 2, 3),
    ]


def test_others_that_disagree_tie_where_their_mean_ranks_do(votes: Path) -> None:
    found = list(without_annotator(groups(1, 3), read_annotations(votes), annotator="bo"))
    assert [image.rank for image in found[0].row.images] == [1, 1, 3]


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        '{"id": "g"}',
        '{"id": 3, "ranks": {}}',
        '{"id": "g", "ranks": {}, "votes": 1}',
        '{"id": "g", "ranks": {"anna": [0, 1]}}',
        '{"id": "g", "ranks": {"anna": [1.5, 1]}}',
        '{"id": "g", "ranks": {"anna": [true, 1]}}',
        '{"id": "g", "ranks": {"anna": "1>2"}}',
        '{"id": "g", "ranks": {"anna": [1, 2]}}\n{"id": "g", "ranks": {"anna": [1, 2]}}',
    ],
)
def test_wrong_line_of_annotations_is_refused_by_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_text("\n" + line)
    with pytest.raises(DataError, match=r"line [23]"):
        read_annotations(path)


def test_unknown_annotator_and_wrong_number_of_ranks_are_refused(votes: Path) -> None:
    with pytest.raises(DataError, match="anna, bo, cy"):
        HumanJudge(read_annotations(votes), annotator="dee")
    judge = HumanJudge(read_annotations(votes), annotator="anna")
    with pytest.raises(DataError, match="3 ranks to group 'g0', which has 2"):
        list(judge.compare(groups(1, 2)))
