"""Benchmarks of pairs and rankings: closed forms, brute force, and what the released code gives."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visreward.evaluation.benchmarks.base import Benchmark
from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult, PairVerdict
from visreward.evaluation.benchmarks.registry import find_benchmark
from visreward.evaluation.benchmarks.results import MetricValue

Metrics = dict[tuple[str, str], MetricValue]
ByName = Callable[[Sequence[MetricValue]], Metrics]
MakeGroup = Callable[..., GroupResult]

PAIRS = ["genai-bench-edit", "aurora-bench", "hpdv3", "hpdv2", "pick-a-pic", "imagereward"]
TIES = ["genai-bench-edit", "aurora-bench"]
STRICT = ["hpdv3", "hpdv2", "pick-a-pic", "imagereward"]


def parity(shared_dir: Path, key: str) -> dict[str, Any]:
    text = (shared_dir / "parity" / "metrics.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)[key]
    return found


@pytest.mark.parametrize(
    ("name", "key"),
    [("genai-bench-edit", "genai_bench"), ("aurora-bench", "aurora_bench_pairwise")],
)
def test_ties_as_released_equal_the_released_summary(
    shared_dir: Path, group_of: MakeGroup, by_name: ByName, name: str, key: str
) -> None:
    data = parity(shared_dir, key)
    groups = [
        group_of(
            number,
            [item["score_1"], item["score_2"]],
            human=[item["human_score_1"], item["human_score_2"]],
        )
        for number, item in enumerate(data["items"])
    ]
    metrics = by_name(find_benchmark(name).evaluate(groups).metrics)
    wanted = data["result"]
    assert metrics["accuracy_with_ties", "as_released"].value == wanted["calc_accuracy_with_ties"]
    found = metrics["accuracy_without_ties", "none"].value
    assert found == pytest.approx(wanted["calc_accuracy_without_ties"], abs=1e-12)


@pytest.mark.parametrize("name", TIES)
def test_ties_same_data_equals_brute_force_and_bounds_held_out(
    group_of: MakeGroup, by_name: ByName, name: str
) -> None:
    rng = np.random.default_rng(5)
    margins = rng.integers(-4, 5, size=80).astype(float)
    labels = rng.integers(-1, 2, size=80)
    groups = [
        group_of(number, [margin, 0.0], human=[float(label), 0.0])
        for number, (margin, label) in enumerate(zip(margins, labels, strict=True))
    ]
    evaluation = find_benchmark(name).evaluate(groups)
    metrics = by_name(evaluation.metrics)
    best = max(
        float(np.mean(np.where(np.abs(margins) <= limit, 0, np.sign(margins)) == labels))
        for limit in (0.0, *np.abs(margins))
    )
    same_data = metrics["accuracy_with_ties", "same_data"].value
    held_out = metrics["accuracy_with_ties", "none"]
    assert same_data == pytest.approx(best, abs=1e-12)
    assert held_out.value is not None
    assert held_out.value <= best
    assert evaluation.metrics[0] == held_out
    assert np.mean([each for each in evaluation.correct if each is not None]) == held_out.value


@pytest.mark.parametrize("name", TIES)
def test_ties_of_a_judge_are_the_ones_it_calls(
    group_of: MakeGroup, by_name: ByName, name: str
) -> None:
    said: list[tuple[Any, ...]] = [
        ("first", "first"),
        ("second", "tie"),
        ("tie",),
        ("first",),
        (None,),
    ]
    labels = [1.0, -1.0, 0.0, 0.0, 1.0]
    groups = [
        group_of(
            number,
            [None, None],
            human=[label, 0.0],
            verdicts=(PairVerdict(first=0, second=1, outcomes=outcomes, errors=("cut",)),),
        )
        for number, (outcomes, label) in enumerate(zip(said, labels, strict=True))
    ]
    evaluation = find_benchmark(name).evaluate(groups)
    assert evaluation.correct == (1.0, 1.0, 1.0, 0.0, 0.0)
    metrics = by_name(evaluation.metrics)
    assert metrics["accuracy_with_ties", "none"].value == pytest.approx(3 / 5)
    assert metrics["accuracy_with_ties", "as_released"].value == pytest.approx(3 / 5)
    assert metrics["accuracy_without_ties", "none"].value == pytest.approx(2 / 3)
    (problem,) = evaluation.problems
    assert problem.kind == "answer that could not be read"
    assert problem.examples == ("g4/0-1: cut",)


@pytest.mark.parametrize("name", STRICT)
def test_strict_order_equals_brute_force_over_all_pairs(
    group_of: MakeGroup, by_name: ByName, name: str
) -> None:
    rng = np.random.default_rng(11)
    groups, right, equal = [], [], 0
    for number in range(30):
        size = int(rng.integers(2, 6))
        values, ranks = rng.integers(0, 6, size).tolist(), rng.integers(1, 4, size).tolist()
        groups.append(group_of(number, [float(each) for each in values], ranks=ranks))
        for one, other in itertools.combinations(range(size), 2):
            if ranks[one] != ranks[other]:
                right.append((values[one] - values[other]) * (ranks[other] - ranks[one]) > 0)
                equal += values[one] == values[other]
    evaluation = find_benchmark(name).evaluate(groups)
    metrics = by_name(evaluation.metrics)
    main = evaluation.metrics[0]
    assert (main.name, main.filter, main.num) == ("accuracy", "none", len(right))
    assert main.value == pytest.approx(np.mean(right), abs=1e-12)
    assert main.low is not None
    assert main.high is not None
    assert main.low is not None
    assert main.value is not None
    assert main.high is not None
    assert main.low < main.value < main.high
    assert metrics["equal_scores", "none"].value == pytest.approx(equal / len(right), abs=1e-12)


@pytest.mark.parametrize("name", PAIRS)
def test_missing_and_infinite_scores_are_wrong_and_named(
    group_of: MakeGroup, by_name: ByName, name: str
) -> None:
    values: list[list[float | None]] = [
        [2.0, 1.0],
        [None, 1.0],
        [math.nan, 1.0],
        [3.0, math.inf],
        [1.0, 2.0],
    ]
    groups = [group_of(number, each, ranks=[1, 2]) for number, each in enumerate(values)]
    evaluation = find_benchmark(name).evaluate(groups)
    assert [each or 0.0 for each in evaluation.correct] == [1.0, 0.0, 0.0, 0.0, 0.0]
    names = {problem.kind: problem for problem in evaluation.problems}
    assert names["candidate without a score"].examples == ("g1/0 (1-0.png): unreadable",)
    assert names["score that is not finite"].examples == (
        "g2/0 (2-0.png): nan",
        "g3/1 (3-1.png): inf",
    )
    assert not names["score that is not finite"].is_warning
    without = [
        each for each in evaluation.metrics if each.name in ("accuracy", "accuracy_without_ties")
    ]
    assert without[0].value == pytest.approx(1 / 5)
    assert "3 of 5 pairs have no verdict" in without[0].note


@pytest.mark.parametrize("name", PAIRS)
def test_constant_scores_repeated_ids_and_contradictions_are_named(
    group_of: MakeGroup, name: str
) -> None:
    one = group_of(0, [1.0, 1.0], ranks=[1, 2])
    swapped = group_of(0, [1.0, 1.0], ranks=[2, 1])
    tied = group_of(1, [1.0, 1.0], ranks=[1, 1])
    alone = group_of(2, [1.0], ranks=[1])
    evaluation = find_benchmark(name).evaluate([one, swapped, tied, alone])
    names = {problem.kind: problem.examples for problem in evaluation.problems}
    assert names["constant scores"] == ("all 7 scores are 1",)
    assert names["id of several groups"] == ("g0: 2 groups",)
    assert names["same pair with contradicting labels"] == ("g0 and g0",)
    left_out = names["group that does not count: people order no two of its candidates"]
    assert left_out == (("g2",) if name in TIES else ("g1", "g2"))


@pytest.mark.parametrize("name", PAIRS)
def test_no_groups_and_ties_alone_have_no_number(group_of: MakeGroup, name: str) -> None:
    for groups in ([], [group_of(0, [1.0, 2.0], ranks=[1, 1])] * 2):
        metrics = find_benchmark(name).evaluate(groups).metrics
        ordered = [each for each in metrics if each.name in ("accuracy", "accuracy_without_ties")]
        assert [each.value for each in ordered] == [None] * len(ordered)
        assert all(each.note for each in ordered)


def test_pick_a_pic_shows_accuracy_with_ties_beside(group_of: MakeGroup, by_name: ByName) -> None:
    groups = [group_of(number, [1.0, 0.0], ranks=[1, 2]) for number in range(8)]
    groups += [group_of(number, [0.1, 0.0], ranks=[1, 1]) for number in range(8, 12)]
    metrics = by_name(find_benchmark("pick-a-pic").evaluate(groups).metrics)
    assert metrics["accuracy", "none"].num == 8
    assert metrics["accuracy_with_ties", "same_data"].value == 1.0
    assert metrics["accuracy_with_ties", "same_data"].num == 12


def test_imagereward_by_prompt_weighs_prompts_the_same(
    group_of: MakeGroup, by_name: ByName
) -> None:
    groups = [
        group_of(0, [3.0, 2.0, 1.0], ranks=[1, 2, 3]),
        group_of(1, [1.0, 2.0], ranks=[1, 2]),
        group_of(2, [1.0, 2.0], ranks=[1, 1]),
    ]
    metrics = by_name(find_benchmark("imagereward").evaluate(groups).metrics)
    assert metrics["accuracy", "none"].value == pytest.approx(3 / 4)
    assert metrics["accuracy_by_prompt", "none"].value == pytest.approx(1 / 2)
    assert metrics["accuracy_by_prompt", "none"].num == 2


def released_inversion_score(values: list[float], ranks: list[int]) -> float:
    """Return HPSv2's score of one prompt from its definition: 1 - inversions / pairs."""
    order = sorted(range(len(values)), key=lambda place: -values[place])
    placed = [order.index(place) for place in range(len(values))]
    pairs = list(itertools.combinations(range(len(values)), 2))
    wrong = sum((placed[i] - placed[j]) * (ranks[i] - ranks[j]) < 0 for i, j in pairs)
    return 1 - wrong / len(pairs)


def test_hpdv2_as_released_counts_inversions_by_prompt(
    group_of: MakeGroup, by_name: ByName
) -> None:
    rng = np.random.default_rng(3)
    groups, wanted = [], []
    for number in range(25):
        size = int(rng.integers(2, 9))
        values = rng.integers(0, 6, size).astype(float).tolist()
        ranks = rng.integers(1, 5, size).tolist()
        groups.append(group_of(number, values, ranks=ranks))
        wanted.append(released_inversion_score(values, ranks))
    groups.append(group_of(99, [None, 1.0], ranks=[1, 2]))
    found = by_name(find_benchmark("hpdv2").evaluate(groups).metrics)[
        "accuracy_by_prompt", "as_released"
    ]
    assert found.value == pytest.approx(np.mean(wanted), abs=1e-12)
    assert found.num == 25
    assert found.note == "Prompts with a missing score are left out."


def test_editscore_bench_weighs_tasks_the_same_and_keeps_what_was_judged_apart(
    group_of: MakeGroup, by_name: ByName
) -> None:
    rights = {
        "overall/subject-add": [1, 1, 1, 0],
        "overall/extract": [0, 1],
        "consistency/extract": [1],
        "prompt_following/extract": [0, 0],
    }
    groups = [
        group_of(number, [float(right), 0.5], ranks=[1, 2], category=category)
        for number, (category, right) in enumerate(
            (category, right) for category, own in rights.items() for right in own
        )
    ]
    evaluation = find_benchmark("editscore-bench").evaluate(groups)
    metrics = by_name(evaluation.metrics)
    main = evaluation.metrics[0]
    assert (main.name, main.filter) == ("accuracy_by_task", "overall")
    assert main.value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert metrics["accuracy", "overall"].value == pytest.approx(4 / 6)
    assert metrics["accuracy_by_task", "consistency"].value == 1.0
    assert metrics["accuracy_by_task", "prompt_following"].value == 0.0
    assert metrics["accuracy", "overall/subject-add"].value == pytest.approx(3 / 4)
    assert metrics["accuracy", "none"].value == pytest.approx(5 / 9)
    assert evaluation.correct == (1, 1, 1, 0, 0, 1, 1, 0, 0)


def test_editscore_bench_equal_scores_are_wrong(group_of: MakeGroup, by_name: ByName) -> None:
    groups = [group_of(n, [0.5, 0.5], ranks=[1, 2], category="overall/extract") for n in range(3)]
    metrics = by_name(find_benchmark("editscore-bench").evaluate(groups).metrics)
    assert metrics["accuracy_by_task", "overall"].value == 0.0
    assert metrics["equal_scores", "none"].value == 1.0


@pytest.mark.parametrize("name", [*PAIRS, "editscore-bench", "mmrb2", "imagenhub", "model-ranking"])
def test_published_rows_stand_beside_metrics_that_are_computed(
    group_of: MakeGroup, by_name: ByName, name: str
) -> None:
    benchmark: Benchmark = find_benchmark(name)
    categories = ["overall/a", "consistency/a", "t2i/x", "edit/x"]
    groups = [
        group_of(
            number,
            [float(number % 3), 1.0],
            human=[1.0, 0.0],
            ranks=[1, 2],
            generators=["Kolors", "SD2"],
            category=categories[number % 4],
            sources=("s.png",),
        )
        for number in range(12)
    ]
    keys = {f"{each.name},{each.filter}" for each in benchmark.evaluate(groups).metrics}
    published = {key for row in benchmark.published for key in row.values}
    assert {key for key in published if "mean_score" not in key} <= keys
    assert all(row.model and row.source for row in benchmark.published)
    if name != "model-ranking":
        assert all(-1 <= value <= 1 for row in benchmark.published for value in row.values.values())


@st.composite
def rankings(draw: st.DrawFn) -> list[GroupResult]:
    """Return groups of two to four candidates with whole-number scores, ties and gaps."""
    groups = []
    for number in range(draw(st.integers(2, 8))):
        size = draw(st.integers(2, 4))
        scores = draw(st.lists(st.none() | st.integers(0, 4), min_size=size, max_size=size))
        ranks = draw(st.lists(st.integers(1, 3), min_size=size, max_size=size))
        candidates = tuple(
            CandidateResult(
                image=f"{number}-{place}.png",
                value=None if score is None else float(score),
                rank=rank,
            )
            for place, (score, rank) in enumerate(zip(scores, ranks, strict=True))
        )
        prompt = f"prompt {number}"
        groups.append(
            GroupResult(
                id=str(number), prompt=prompt, sources=(), candidates=candidates, cluster=prompt
            )
        )
    return groups


@pytest.mark.parametrize("name", PAIRS)
@settings(deadline=None, max_examples=10)
@given(groups=rankings())
def test_order_of_candidates_changes_no_number_of_ours(
    name: str, groups: list[GroupResult]
) -> None:
    turned = [replace(group, candidates=group.candidates[::-1]) for group in groups]
    benchmark = find_benchmark(name)
    first, second = benchmark.evaluate(groups), benchmark.evaluate(turned)
    for one, other in zip(first.metrics, second.metrics, strict=True):
        if one.filter != "as_released":
            assert one.value == pytest.approx(other.value, abs=1e-12)
    assert first.correct == pytest.approx(second.correct, abs=1e-12)
