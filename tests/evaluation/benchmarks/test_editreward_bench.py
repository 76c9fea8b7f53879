"""EditReward-Bench: published columns from counts, both policies, ties, and both forms of data."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visreward.core.errors import UsageError
from visreward.data.rankings import read_ranking
from visreward.evaluation.benchmarks.editreward_bench import EditRewardBench
from visreward.evaluation.benchmarks.records import (
    CandidateResult,
    GroupResult,
    Outcome,
    PairVerdict,
)

if TYPE_CHECKING:
    from visreward.evaluation.benchmarks.results import MetricValue

SIZES = {2: 186, 3: 150, 4: 148}
MakeGroup = Callable[..., GroupResult]
Metrics = dict[tuple[str, str], Any]
GROUP, PAIR = "group_accuracy", "pair_accuracy"


def scored_groups(make: MakeGroup, right: dict[int, int]) -> list[GroupResult]:
    """Return all 484 groups, of each size as many right as is said; the others are upside down."""
    groups = []
    for size, num in SIZES.items():
        best_first = [float(size - place) for place in range(size)]
        for number in range(num):
            values = best_first if number < right[size] else best_first[::-1]
            name = 1000 * size + number
            groups.append(make(name, values, ranks=range(1, size + 1)))
    return groups


def judged(number: int, size: int, outcome: Outcome | None) -> GroupResult:
    """Return a group whose verdicts all say `outcome`; right is "first"."""
    return GroupResult(
        id=f"K{size}/{number}",
        prompt=f"{size} {number}",
        sources=("s",),
        candidates=tuple(
            CandidateResult(image=f"{place}", rank=place + 1) for place in range(size)
        ),
        cluster=f"{size} {number}",
        verdicts=tuple(
            PairVerdict(
                first=first,
                second=second,
                outcomes=(outcome,),
                errors=() if outcome else ("cut",),
            )
            for first, second in combinations(range(size), 2)
        ),
    )


def shown(metric: MetricValue) -> str:
    assert metric.value is not None
    return f"{100 * metric.value:.2f}"


# Counts that the published columns stand for. 38.42 is 186 of 484, cut and not rounded.
@pytest.mark.parametrize(
    ("model", "right", "overall"),
    [
        ("Random", {2: 48, 3: 17, 4: 2}, "13.84"),
        ("EditReward (on MiMo-VL-7B)", {2: 105, 3: 64, 4: 17}, "38.43"),
    ],
)
def test_evaluate_counts_give_the_published_columns(
    group_of: MakeGroup,
    by_name: Callable[[Sequence[MetricValue]], Metrics],
    model: str,
    right: dict[int, int],
    overall: str,
) -> None:
    bench = EditRewardBench()
    found = bench.evaluate(scored_groups(group_of, right))
    metrics = by_name(found.metrics)
    published = next(row.values for row in bench.published if row.model == model)
    for filters in ("", " same_data", " as_released"):
        for size, num in SIZES.items():
            if filters == " same_data" and size > 2:
                continue
            metric = metrics[GROUP, f"K={size}{filters}"]
            assert metric.num == num
            assert metric.value == right[size] / num
            assert abs(metric.value - published[f"{GROUP},K={size} as_released"]) < 1e-4
    for name in ("none", "same_data", "as_released", "answered"):
        metric = metrics[GROUP, name]
        assert shown(metric) == overall
        assert metric.num == 484
        assert abs(metric.value - published[f"{GROUP},as_released"]) < 1e-4
    assert found.metrics[0] is metrics[GROUP, "none"]
    assert found.correct.count(1.0) == sum(right.values())
    assert found.correct.count(0.0) == 484 - sum(right.values())
    assert not found.problems


def test_evaluate_published_overall_of_one_row_contradicts_its_columns(
    group_of: MakeGroup, by_name: Callable[[Sequence[MetricValue]], Metrics]
) -> None:
    """Qwen2.5 is published as 36.78, but its columns hold 106 + 54 + 16 = 176 of 484."""
    metrics = by_name(
        EditRewardBench().evaluate(scored_groups(group_of, {2: 106, 3: 54, 4: 16})).metrics
    )
    columns = [shown(metrics[GROUP, f"K={size}"]) for size in SIZES]
    assert columns == ["56.99", "36.00", "10.81"]
    assert shown(metrics[GROUP, "none"]) == "36.36"


def test_evaluate_unread_verdicts_are_wrong_and_the_published_policy_stands_beside(
    by_name: Callable[[Sequence[MetricValue]], Metrics],
) -> None:
    """GPT-5 as published: 107/186, 57/148 (two groups of K = 3 unread), 19/148, 183/484."""
    right, unread = {2: 107, 3: 57, 4: 19}, {2: 0, 3: 2, 4: 0}
    groups = []
    for size, num in SIZES.items():
        for number in range(num):
            wrong: Outcome | None = None if number >= num - unread[size] else "second"
            groups.append(judged(number, size, "first" if number < right[size] else wrong))
    found = EditRewardBench().evaluate(groups)
    metrics = by_name(found.metrics)
    assert shown(metrics[GROUP, "none"]) == "37.81"
    assert shown(metrics[GROUP, "K=2"]) == "57.53"
    assert shown(metrics[GROUP, "K=3"]) == "38.00"
    assert shown(metrics[GROUP, "K=3 answered"]) == "38.51"
    assert metrics[GROUP, "K=3 answered"].num == 148
    published = next(row.values for row in EditRewardBench.published if row.model == "GPT-5")
    for name in ("", "K=2 ", "K=3 ", "K=4 "):
        value = metrics[GROUP, f"{name}as_released"].value
        assert abs(value - published[f"{GROUP},{name}as_released"]) < 1e-4
    assert shown(metrics[GROUP, "answered"]) == f"{100 * 183 / 482:.2f}"
    (problem,) = found.problems
    assert problem.count == 6  # three pairs in each of two groups


def test_evaluate_two_candidates_have_three_classes(
    by_name: Callable[[Sequence[MetricValue]], Metrics],
) -> None:
    outcomes: list[Outcome] = ["first", "second", "tie"]
    groups = []
    for number, (said, ranks) in enumerate(
        (said, ranks) for said in outcomes for ranks in ((1, 2), (2, 1), (1, 1))
    ):
        groups.append(
            GroupResult(
                id=f"g{number}",
                prompt=f"p{number}",
                sources=(),
                candidates=tuple(CandidateResult(image="i", rank=rank) for rank in ranks),
                verdicts=(PairVerdict(first=0, second=1, outcomes=(said,)),),
            )
        )
    found = EditRewardBench().evaluate(groups)
    assert list(found.correct) == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert by_name(found.metrics)[GROUP, "K=2"].value == pytest.approx(1 / 3)


def test_evaluate_tie_threshold_is_held_out_by_default_and_same_data_as_published(
    group_of: MakeGroup, by_name: Callable[[Sequence[MetricValue]], Metrics]
) -> None:
    """Ties are 0.1 apart and orders 1: every fold finds the same threshold, and all is right."""
    groups = [
        group_of(number, [0.0, 0.1], ranks=(1, 1))
        if number % 2
        else group_of(number, [1.0, 0.0], ranks=(1, 2))
        for number in range(20)
    ]
    metrics = by_name(EditRewardBench().evaluate(groups).metrics)
    for name in ("none", "same_data", "as_released"):
        assert metrics[GROUP, name].value == 1.0
        assert metrics[PAIR, name].value == 1.0
    # Ties as far apart as the orders: no threshold helps, and the one fitted on the same data
    # is never worse than the held-out one.
    noise = [group_of(k, [math.sin(7 * k), 0.0], ranks=(1, 1 + k % 2)) for k in range(30)]
    metrics = by_name(EditRewardBench().evaluate(noise).metrics)
    assert metrics[PAIR, "same_data"].value >= metrics[PAIR, "none"].value


def test_evaluate_missing_score_makes_its_group_wrong_and_is_named(
    group_of: MakeGroup, by_name: Callable[[Sequence[MetricValue]], Metrics]
) -> None:
    groups = [
        group_of(0, [3.0, None, 1.0], ranks=(1, 2, 3)),
        group_of(1, [3.0, 2.0, 1.0], ranks=(1, 2, 3)),
        group_of(2, [3.0, 3.0, 1.0], ranks=(1, 2, 3)),
        group_of(3, [3.0, 2.0, 1.0], ranks=(1, 2, 2)),
    ]
    found = EditRewardBench().evaluate(groups)
    assert list(found.correct) == [0, 1, 0, 0]
    metrics = by_name(found.metrics)
    assert metrics[GROUP, "none"].num == 4
    assert metrics[GROUP, "answered"].value == pytest.approx(1 / 3)
    assert metrics[PAIR, "K=3"].num == 11
    assert metrics[PAIR, "K=3"].value == (1 + 3 + 2 + 2) / 11
    assert "left out" in metrics[GROUP, "as_released"].note
    kinds = {problem.kind: problem.count for problem in found.problems}
    assert kinds["candidate without a score"] == 1
    assert kinds["tie in a group of three or more, which is always wrong"] == 1


def test_evaluate_single_pair_has_no_held_out_threshold_and_says_so(group_of: MakeGroup) -> None:
    found = EditRewardBench().evaluate([group_of(0, [1.0, 0.0], ranks=(1, 2))])
    assert found.metrics[0].value is None
    assert "threshold" in found.metrics[0].note
    assert found.correct == (None,)


def test_evaluate_is_the_released_summary_on_its_own_scores(
    group_of: MakeGroup,
    by_name: Callable[[Sequence[MetricValue]], Metrics],
    shared_dir: Path,
) -> None:
    reference = json.loads((shared_dir / "parity/metrics.json").read_text())["edit_reward_bench"]
    groups: list[GroupResult] = []
    for items in reference["groups"].values():
        for item in items:
            scores = item["scores"]
            ranks = read_ranking(item["ranking"], "ABCD"[: len(scores)])
            groups.append(group_of(len(groups), scores, ranks=ranks))
    metrics = by_name(EditRewardBench().evaluate(groups).metrics)
    names = {"2-Pair": "K=2 ", "3-Pair": "K=3 ", "4-Pair": "K=4 ", "overall": ""}
    for key, name in names.items():
        wanted = reference["result"][key]
        strict = metrics[GROUP, f"{name}as_released"].value
        assert strict == pytest.approx(wanted["strict_ranking_accuracy"], abs=1e-12)
        pairs = metrics[PAIR, f"{name}as_released"].value
        assert pairs == pytest.approx(wanted["pairwise_accuracy"], abs=1e-12)
    # Ours differ by the groups with equal scores, which the release may call right.
    for size, items in zip((3, 4), list(reference["groups"].values())[1:], strict=True):
        lucky = sum(item["strict_correct"] and len(set(item["scores"])) < size for item in items)
        ours = metrics[GROUP, f"K={size}"].value * len(items)
        released = reference["result"][f"{size}-Pair"]["strict_correct_count"]
        assert round(ours) == released - lucky


def test_read_json_and_groups_agree(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": "p",
            "path_src": "s.png",
            "paths_generated": ["a.png", "b.png"],
            "human_vote": {"ranking": vote},
        }
        for vote in ("A>B", "A=B=Good", "A>C")
    ]
    (tmp_path / "EditReward_Bench_2pair.json").write_text(json.dumps(rows))
    data = EditRewardBench().read(tmp_path)
    assert [group.category for group in data.groups] == ["K=2", "K=2"]
    assert [group.cluster for group in data.groups] == ["p", "p"]
    assert data.problems[0].count == 1
    line = {
        "prompt": "p",
        "source_image": "s.png",
        "candidates": [{"image": "a.png", "rank": 1}, {"image": "b.png", "rank": 2}],
    }
    (tmp_path / "g.jsonl").write_text(json.dumps(line) + "\n")
    again = EditRewardBench().read(tmp_path / "g.jsonl")
    assert again.groups[0].row.images == data.groups[0].row.images


def test_read_without_data_says_what_to_give() -> None:
    with pytest.raises(UsageError, match="--data"):
        EditRewardBench().read(None)
