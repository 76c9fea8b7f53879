from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from visreward.evaluation.benchmarks.mmrb2 import MMRB2
from visreward.evaluation.benchmarks.records import GroupResult, PairVerdict
from visreward.evaluation.benchmarks.results import MetricValue

Metrics = dict[tuple[str, str], MetricValue]
ByName = Callable[[Sequence[MetricValue]], Metrics]
MakeGroup = Callable[..., GroupResult]


def judged(
    group_of: MakeGroup, number: int, ranks: Sequence[int], *outcomes: Any, **fields: Any
) -> GroupResult:
    """Return a pair that a judge was asked about, in one verdict."""
    order = fields.pop("order", (0, 1))
    verdict = PairVerdict(first=order[0], second=order[1], outcomes=outcomes, errors=("nonsense",))
    return group_of(number, [None, None], ranks=ranks, verdicts=(verdict,), **fields)


def test_both_orders_count_and_an_unread_answer_is_wrong(
    group_of: MakeGroup, by_name: ByName
) -> None:
    groups = [
        judged(group_of, 0, [1, 2], "first", "first"),
        judged(group_of, 1, [1, 2], "first", "second"),
        judged(group_of, 2, [2, 1], "tie", None),
        judged(group_of, 3, [1, 1], "tie", "tie"),
        judged(group_of, 4, [1, 2], "second", "second", order=(1, 0)),
    ]
    evaluation = MMRB2().evaluate(groups)
    metrics = by_name(evaluation.metrics)
    assert evaluation.correct == (1.0, 0.5, 0.0, 1.0, 1.0)
    assert metrics["accuracy", "none"].value == pytest.approx(7 / 10)
    assert metrics["accuracy", "none"].num == 10
    assert metrics["accuracy", "as_released"].value == pytest.approx(7 / 9)
    assert metrics["orders_agree", "none"].value == pytest.approx(3 / 5)
    assert {problem.kind: problem.count for problem in evaluation.problems} == {
        "answer that could not be read": 1
    }


def test_a_reward_model_answers_once_and_equal_scores_are_a_tie(
    group_of: MakeGroup, by_name: ByName
) -> None:
    groups = [
        group_of(0, [2.0, 1.0], ranks=[1, 2]),
        group_of(1, [1.0, 1.0], ranks=[1, 1]),
        group_of(2, [1.0, 1.0], ranks=[1, 2]),
        group_of(3, [None, 1.0], ranks=[1, 1]),
    ]
    evaluation = MMRB2().evaluate(groups)
    metrics = by_name(evaluation.metrics)
    assert evaluation.correct == (1.0, 1.0, 0.0, 0.0)
    assert metrics["accuracy", "none"].value == pytest.approx(1 / 2)
    assert ("orders_agree", "none") not in metrics
    assert ("accuracy", "as_released") not in metrics


def test_accuracy_is_broken_down_by_task_source_and_generators(
    group_of: MakeGroup, by_name: ByName
) -> None:
    def pair(
        number: int, right: bool, category: str, makers: list[str | None], *sources: str
    ) -> GroupResult:
        return group_of(
            number,
            [float(right), 0.5],
            ranks=[1, 2],
            category=category,
            generators=makers,
            sources=sources,
        )

    groups = [
        pair(0, True, "t2i/wise", ["a", "a"]),
        pair(1, False, "t2i/wise", ["a", "b"]),
        pair(2, True, "edit/emu-edit", ["a", "b"], "s"),
        pair(3, True, "edit/emu-edit", ["b", "b"], "s"),
        pair(4, False, "edit/mix", ["a", None], "s", "t"),
    ]
    metrics = by_name(MMRB2().evaluate(groups).metrics)
    values = {filter_: each.value for (_, filter_), each in metrics.items()}
    assert values == {
        "none": pytest.approx(3 / 5),
        "edit": pytest.approx(2 / 3),
        "edit/single-source": 1.0,
        "t2i": pytest.approx(1 / 2),
        "same generator": 1.0,
        "different generators": pytest.approx(1 / 2),
        "edit/emu-edit": 1.0,
        "edit/mix": 0.0,
        "t2i/wise": pytest.approx(1 / 2),
    }


def test_a_pair_that_a_judge_was_not_asked_about_is_wrong(group_of: MakeGroup) -> None:
    other = PairVerdict(first=0, second=2, outcomes=("first",))
    group = group_of(0, [None] * 3, ranks=[1, 2, 3], verdicts=(other,))
    (correct,) = MMRB2().evaluate([group]).correct
    assert correct == pytest.approx(1 / 3)
