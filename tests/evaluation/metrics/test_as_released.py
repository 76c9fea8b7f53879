"""The released variants against what the released code computed, and their faults beside ours."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visreward.core.errors import NonFiniteError, ShapeError, UsageError
from visreward.evaluation.metrics import as_released, as_released_groups, pairs
from visreward.evaluation.metrics.correlation import fisher_mean, per_group
from visreward.evaluation.metrics.groups import is_exact_order

Json = dict[str, Any]  # JSON values


@pytest.fixture(scope="module")
def released(shared_dir: Path) -> Json:
    path = shared_dir / "parity" / "metrics.json"
    document: Json = json.loads(path.read_text(encoding="utf-8"))
    return document


def ranks_of(ranking: str) -> list[int]:
    """Return the ranks that a ranking string of the benchmark gives candidates A, B, C, D."""
    letters = re.findall(r"\b[A-D]\b", ranking)
    if "=" in ranking:
        return [1] * len(letters)
    if "<" in ranking:
        letters.reverse()
    return [letters.index(letter) + 1 for letter in sorted(letters)]


def columns(part: Json, *names: str) -> list[list[Any]]:  # JSON values
    return [[item[name] for item in part["items"]] for name in names]


def brute_force(margin: list[float], label: list[int]) -> float:
    """Return the best accuracy of any threshold, one pair and one threshold at a time."""
    best = 0.0
    for threshold in [None, *map(abs, margin)]:
        right = 0
        for gap, wanted in zip(margin, label, strict=True):
            is_tie = threshold is not None and abs(gap) <= threshold
            right += wanted == 0 if is_tie else gap * wanted > 0
        best = max(best, right / len(margin))
    return best


def test_pair_accuracies_every_stored_case_is_reproduced(released: Json) -> None:
    assert len(released["pair_accuracy"]) == 39
    for case in released["pair_accuracy"]:
        margin, label, name = case["m"], case["h"], case["name"]
        assert as_released.accuracy_with_ties(margin, label) == case["with_ties"], name
        without = as_released.accuracy_without_ties(margin, label)
        raised = {"error": "ZeroDivisionError"}
        assert (raised if without is None else without) == case["without_ties"], name
        fitted = as_released.fit_tie_threshold(margin, label)
        assert list(fitted) == case["bench_with_ties_acc_and_epsilon"], name
        for threshold, key in ((0.0, "suff_stats_eps0"), (None, "suff_stats_eps_minus1")):
            counts = as_released.count_pairs(margin, label, tie_threshold=threshold)
            found = [
                counts.right,
                counts.wrong,
                counts.human_ties,
                counts.model_ties,
                counts.both_ties,
            ]
            assert found == case[key], name


@pytest.mark.parametrize("name", ["genai_bench", "aurora_bench_pairwise"])
def test_pairwise_benchmarks_are_reproduced(released: Json, name: str) -> None:
    part = released[name]
    human, other_human, score, other = (
        np.array(column)
        for column in columns(part, "human_score_1", "human_score_2", "score_1", "score_2")
    )
    margin, label = score - other, np.sign(human - other_human)
    found = {
        "calc_accuracy_with_ties": as_released.accuracy_with_ties(margin, label),
        "calc_accuracy_without_ties": as_released.accuracy_without_ties(margin, label),
    }
    assert found == part["result"]


def test_aurora_pointwise_is_reproduced(released: Json) -> None:
    scores, human, models = columns(
        released["aurora_bench_pointwise"], "score", "human_score", "model"
    )
    found = {name: each.value for name, each in per_group(scores, human, models).groups.items()}
    found["average"] = as_released.mean_spearman(scores, human, models)
    assert found == pytest.approx(released["aurora_bench_pointwise"]["result"], abs=1e-14)


def test_imagenhub_is_reproduced_and_shrinks_what_fisher_gives(released: Json) -> None:
    part = released["imagenhub"]
    scores, human, models = columns(part, "score", "human_score", "model")
    grouped = per_group(scores, human, models)
    values = [each.value for each in grouped.groups.values() if each.value is not None]
    found = {name: each.value for name, each in grouped.groups.items()}
    found["average"] = as_released.tanh_of_mean(values)
    assert found == pytest.approx(part["result"], abs=1e-14)
    right, plain = grouped.fisher_mean.value, grouped.mean.value
    assert right is not None
    assert plain is not None
    assert right == pytest.approx(math.tanh(np.arctanh(values).mean()), abs=1e-12)
    assert as_released.tanh_of_mean(values) < plain < right


def test_imagenhub_second_version_is_reproduced(released: Json) -> None:
    part = released["imagenhub_v2"]
    scores, human, prompts = columns(part, "score", "human_score", "instruction")
    grouped = per_group(scores, human, prompts)
    found = {
        "avg_per_prompt_spearman": as_released.mean_spearman(scores, human, prompts),
        "overall_zscore_spearman": as_released.spearman_of_standard_scores(scores, human, prompts),
        "evaluated_prompt_count": grouped.mean.num,
        "total_prompt_count": len(grouped.groups),
    }
    assert found == pytest.approx(part["result"], abs=1e-14)
    assert grouped.mean.note.startswith("3 of 9 groups have no correlation.")


def test_edit_reward_bench_every_group_and_column_is_reproduced(released: Json) -> None:
    part = released["edit_reward_bench"]
    groups = [
        (group["scores"], ranks_of(group["ranking"]))
        for size in ("K4", "K2", "K3")
        for group in part["groups"][size]
    ]
    found = as_released_groups.edit_reward_bench(groups)
    assert found.sizes[2].tie_threshold == part["k2_optimal_epsilon"]
    for size, column in found.sizes.items():
        stored, wanted = part["groups"][f"K{size}"], part["result"][f"{size}-Pair"]
        assert column.right.tolist() == [group["strict_correct"] for group in stored]
        ranks = as_released_groups.predicted_ranks([group["scores"] for group in stored])
        assert ranks.tolist() == [group["predicted_ranks"] for group in stored]
        assert column.pairwise == wanted["pairwise_accuracy"]
        assert column.right.mean() == wanted["strict_ranking_accuracy"]
    assert found.pairwise == part["result"]["overall"]["pairwise_accuracy"]
    assert found.overall == part["result"]["overall"]["strict_ranking_accuracy"]


@pytest.mark.parametrize(
    ("margin", "label", "as_published"),
    [
        ([0.1, -0.2, 0.3], [1, -1, 1], 2 / 3),  # "no ties" is never tried: 1 is right
        ([0.5, 0.5, -0.5, -0.5], [0, 1, 0, -1], 3 / 4),  # half of a run as ties: 1/2 is right
        ([0.5, 0.5, 0.5, 0.5], [1, 1, -1, 0], 1 / 4),  # and too low: 1/2 is right
    ],
)
def test_accuracy_with_ties_each_fault_shows_beside_brute_force(
    margin: list[float], label: list[int], as_published: float
) -> None:
    truth = brute_force(margin, label)
    assert as_released.accuracy_with_ties(margin, label) == as_published
    assert as_published != truth
    assert pairs.fit_tie_threshold(margin, label).accuracy == truth


def test_accuracy_with_ties_released_value_depends_on_the_order_of_pairs() -> None:
    margin, label = [0.5, 0.5, 0.5, 0.5], [1, 1, -1, 0]
    there, back = (
        as_released.accuracy_with_ties(margin[::step], label[::step]) for step in (1, -1)
    )
    assert (there, back) == (1 / 4, 3 / 4)
    ours = {pairs.fit_tie_threshold(margin[::step], label[::step]).accuracy for step in (1, -1)}
    assert ours == {1 / 2}


def test_accuracy_with_ties_faults_on_random_data_go_both_ways() -> None:
    rng = np.random.default_rng(0)
    signs = {"continuous": [0, 0], "integers": [0, 0]}
    for _ in range(300):
        label = rng.integers(-1, 2, size=12)
        noisy = label + rng.normal(size=12)
        for kind, margin in (("continuous", noisy), ("integers", np.round(noisy * 2))):
            truth = brute_force(margin.tolist(), label.tolist())
            found = as_released.accuracy_with_ties(margin, label)
            signs[kind][0] += found < truth
            signs[kind][1] += found > truth
            assert pairs.fit_tie_threshold(margin, label).accuracy == pytest.approx(truth)
    assert signs["continuous"][0] > 0
    assert signs["continuous"][1] == 0
    assert min(signs["integers"]) > 0


def test_predicted_ranks_equal_scores_can_be_right_by_luck_only_as_released() -> None:
    scores, ranks = [[1.0, 1.0, 1.0]], [[3, 2, 1]]
    assert as_released_groups.predicted_ranks(scores).tolist() == ranks
    assert is_exact_order(scores, ranks).tolist() == [False]


@pytest.mark.parametrize(
    ("scores", "ranks"),
    [
        ([1.0, 1.0, 0.0, 0.0], [1, 2, 3, 4]),
        ([1.0, 2.0, 0.0, 0.0], [2, 1, 3, 4]),
        ([2.0, 2.0, 1.0, 0.0], [1, 2, 3, 4]),
        ([0.0, 0.0, 1.0, 2.0], [4, 3, 2, 1]),
        ([0.0, 0.0, 0.0, 0.0], [4, 3, 2, 1]),
    ],
)
def test_predicted_ranks_equal_scores_among_four_follow_the_vector_sort(
    scores: list[float], ranks: list[int]
) -> None:
    # Seen from numpy.argsort on a processor with AVX2 and on one with AVX-512.
    assert as_released_groups.predicted_ranks([scores]).tolist() == [ranks]


def test_predicted_ranks_distinct_scores_are_plain_ranks() -> None:
    for size in (2, 3, 4):
        scores = np.array(list(itertools.permutations(range(size))), dtype=np.float64)
        assert (as_released_groups.predicted_ranks(scores) == size - scores).all()
    with pytest.raises(ShapeError, match="2 to 4"):
        as_released_groups.predicted_ranks(np.zeros((1, 5)))


def test_tanh_of_mean_of_the_published_size_shrinks_as_noted() -> None:
    assert as_released.tanh_of_mean([0.42]) == pytest.approx(0.397, abs=5e-4)
    assert fisher_mean([0.42]).value == pytest.approx(0.42)


def test_hpsv3_ranking_accuracy_matches_hand_count() -> None:
    groups = [([3.0, 2.0, 2.0], [1, 2, 3]), ([1.0, 2.0], [1, 1]), ([0.0, 1.0], [1, 2])]
    # Three pairs of the first group, of which equal scores are wrong; none; one, which is wrong.
    assert as_released_groups.hpsv3_ranking_accuracy(groups) == 2 / 4
    assert as_released_groups.hpsv3_ranking_accuracy(groups[1:2]) is None


def test_edit_reward_bench_bad_groups_are_refused() -> None:
    with pytest.raises(UsageError, match="0 groups"):
        as_released_groups.edit_reward_bench([])
    with pytest.raises(NonFiniteError, match="group 0"):
        as_released_groups.edit_reward_bench([([1.0, math.nan], [1, 2])])
    with pytest.raises(ShapeError, match="rank per candidate"):
        as_released_groups.edit_reward_bench([([1.0, 2.0, 0.0], [1, 2])])


def test_edit_reward_bench_tie_among_three_is_wrong_and_labelled_by_place() -> None:
    found = as_released_groups.edit_reward_bench([([3.0, 2.0, 1.0], [1, 1, 2])])
    assert found.sizes[3].right.tolist() == [False]
    assert found.sizes[3].pairwise == 1.0
