"""Intervals of shares, against published numbers and what resampling must do."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from visreward.core.errors import NonFiniteError, ShapeError, UsageError
from visreward.evaluation.metrics.intervals import (
    cluster_interval,
    grouped_share,
    paired_difference,
    wilson_interval,
)


def test_cluster_interval_standard_error_is_that_of_a_mean_of_clusters() -> None:
    values = np.random.default_rng(2).normal(size=(400, 3))
    found = cluster_interval(values.ravel(), np.repeat(np.arange(400), 3))
    wanted = values.mean(axis=1).std(ddof=1) / 20
    assert found.stderr == pytest.approx(wanted, rel=0.05)
    assert cluster_interval([True, True], None).stderr is None


def test_wilson_interval_known_case_matches_published_numbers() -> None:
    # 81 of 263: Newcombe, Statistics in Medicine 17 (1998), Table I, method 3.
    interval = wilson_interval(81 / 263, num_trials=263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


def test_wilson_interval_no_success_matches_published_numbers() -> None:
    # 0 of 20, the same table: 0.0000 to 0.1611.
    interval = wilson_interval(0.0, num_trials=20)
    assert interval.low == 0.0
    assert round(interval.high, 4) == 0.1611


@pytest.mark.parametrize(("share", "num_trials"), [(-0.1, 5), (1.1, 5), (math.nan, 5), (0.5, 0)])
def test_wilson_interval_impossible_input_raises(share: float, num_trials: int) -> None:
    with pytest.raises(UsageError):
        wilson_interval(share, num_trials=num_trials)


def test_grouped_share_counts_answers_and_not_groups() -> None:
    share = grouped_share([3, 1, 0], [4, 1, 0])
    assert share.value == pytest.approx(4 / 5)
    assert share.low <= share.value <= share.high


def test_grouped_share_of_lone_answers_is_near_the_wilson_interval() -> None:
    right = np.arange(400) % 4 > 0
    share, expected = grouped_share(right, np.ones(400)), wilson_interval(0.75, num_trials=400)
    assert share.low == pytest.approx(expected.low, abs=0.01)
    assert share.high == pytest.approx(expected.high, abs=0.01)


def test_grouped_share_groups_that_agree_within_have_a_wider_interval() -> None:
    right = np.repeat([6, 0], 50)
    grouped = grouped_share(right, np.full(100, 6))
    alone = grouped_share(np.repeat([1, 0], 300), np.ones(600))
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_grouped_share_without_answers_is_refused() -> None:
    with pytest.raises(UsageError, match="0 answers"):
        grouped_share([0, 0], [0, 0])


def simulate(
    rng: np.random.Generator, *, num_clusters: int, size: int, spread: float
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return answers, right with chance 0.7 on average, that depend on each other in clusters."""
    chance = rng.beta(0.7 * spread, 0.3 * spread, size=num_clusters)
    sizes = rng.integers(1, 2 * size, size=num_clusters)
    clusters = np.repeat(np.arange(num_clusters), sizes)
    return rng.random(len(clusters)) < chance[clusters], clusters


def test_cluster_interval_covers_the_truth_where_an_interval_of_pairs_does_not() -> None:
    rng = np.random.default_rng(0)
    hits = alone = 0
    for seed in range(250):
        right, clusters = simulate(rng, num_clusters=120, size=6, spread=1.0)
        found = cluster_interval(right, clusters, num_resamples=1000, seed=seed)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.7 <= found.high
        plain = wilson_interval(float(right.mean()), num_trials=len(right))
        alone += plain.low <= 0.7 <= plain.high
    assert hits / 250 == pytest.approx(0.95, abs=0.04)
    assert alone / 250 < 0.8


def test_cluster_interval_of_a_continuous_mean_covers_the_truth() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(300):
        shift = rng.normal(size=80)
        clusters = np.repeat(np.arange(80), 4)
        values = 2 + shift[clusters] + rng.normal(size=320)
        found = cluster_interval(values, clusters, num_resamples=600, seed=seed)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 2 <= found.high
    assert hits / 300 == pytest.approx(0.95, abs=0.035)


def test_cluster_interval_few_kinds_and_many_kinds_draw_from_one_law() -> None:
    # The same clusters, once drawn by kind and once, with numbers a hair apart, one by one.
    right = np.arange(2000) % 4 > 0
    by_kind = cluster_interval(right, None)
    one_by_one = cluster_interval(right + 1e-9 * np.arange(2000), None)
    assert by_kind.low == pytest.approx(one_by_one.low, abs=1e-3)
    assert by_kind.high == pytest.approx(one_by_one.high, abs=1e-3)
    deviation = math.sqrt(0.75 * 0.25 / 2000)
    assert by_kind.high == pytest.approx(0.75 + 1.96 * deviation, abs=1e-3)


def test_cluster_interval_weights_and_names_of_clusters() -> None:
    values, names = [1.0, 0.0, 1.0, 1.0], ["p", "q", "q", ("r", 1)]
    found = cluster_interval(values, names, weights=[1.0, 2.0, 0.0, 1.0])
    assert found.value == 2 / 4
    repeated = cluster_interval([1, 0, 0, 1], ["p", "q", "q", "r"])
    assert (found.low, found.high) == (repeated.low, repeated.high)
    numbered = cluster_interval(values, np.array([5, 9, 9, 2]))
    assert numbered.value == cluster_interval(values, names).value


def test_cluster_interval_is_deterministic_and_moves_with_the_seed() -> None:
    values = np.random.default_rng(2).normal(size=50)
    assert cluster_interval(values, None) == cluster_interval(values, None)
    assert cluster_interval(values, None) != cluster_interval(values, None, seed=1)


def test_cluster_interval_all_right_is_wilson_over_clusters() -> None:
    found = cluster_interval(np.ones(60, dtype=bool), np.repeat(np.arange(20), 3))
    expected = wilson_interval(1.0, num_trials=20)
    assert (found.value, found.low, found.high) == (1.0, expected.low, expected.high)


@pytest.mark.parametrize(
    ("values", "clusters", "value", "reason"),
    [
        ([], [], None, "no values"),
        ([1.0, 3.0], ["a", "a"], 2.0, "one cluster"),
        ([0.1, 0.1, 0.1], ["a", "b", "c"], 0.1, "same mean"),
    ],
)
def test_cluster_interval_without_spread_has_no_interval_and_says_so(
    values: list[float], clusters: list[str], value: float | None, reason: str
) -> None:
    found = cluster_interval(values, clusters)
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == (None, None)
    assert reason in found.note


def test_cluster_interval_bad_input_is_named() -> None:
    with pytest.raises(NonFiniteError, match="values is NaN in 1 of 2 places, first in place 1"):
        cluster_interval([1.0, math.nan], None)
    with pytest.raises(ShapeError, match="weights"):
        cluster_interval([1.0, 2.0], None, weights=[1.0])
    with pytest.raises(UsageError, match="weight is -1"):
        cluster_interval([1.0, 2.0], None, weights=[1.0, -1.0])
    with pytest.raises(UsageError, match="num_resamples is 0"):
        cluster_interval([1.0, 2.0], None, num_resamples=0)
    assert cluster_interval([1.0], None, weights=[0.0]).value is None


@pytest.mark.parametrize(("only_first", "only_second"), [(14, 4), (9, 8), (40, 12)])
def test_paired_difference_of_lone_answers_is_mcnemar(only_first: int, only_second: int) -> None:
    first = np.array([1] * only_first + [0] * only_second + [1] * 50 + [0] * 30)
    second = np.array([0] * only_first + [1] * only_second + [1] * 50 + [0] * 30)
    found = paired_difference(first, second, None, num_resamples=20_000)
    exact = stats.binomtest(only_first, only_first + only_second).pvalue
    assert found.value == pytest.approx((only_first - only_second) / len(first))
    assert found.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000) + 1e-4)


def test_paired_difference_of_numbers_is_the_test_of_all_swaps() -> None:
    gaps = np.array([0.3, -0.1, 0.7, 0.2, 0.05, -0.4, 0.9, 0.6])
    swaps = np.array(list(itertools.product([-1, 1], repeat=8))) @ gaps
    exact = float((np.abs(swaps) >= abs(gaps.sum()) - 1e-12).mean())
    found = paired_difference(gaps, np.zeros(8), None, num_resamples=20_000)
    assert found.p_value == pytest.approx(exact, abs=0.006)


def test_paired_difference_rejects_equal_models_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    rejected = 0
    for seed in range(400):
        clusters = np.repeat(np.arange(25), 4)
        shift = rng.normal(size=(2, 25))
        first, second = shift[:, clusters] + rng.normal(size=(2, 100))
        p_value = paired_difference(first, second, clusters, num_resamples=300, seed=seed).p_value
        assert p_value is not None
        rejected += p_value <= 0.05
    assert rejected / 400 == pytest.approx(0.05, abs=0.03)


def test_paired_difference_many_numbers_and_repeated_ones_agree() -> None:
    rng = np.random.default_rng(4)
    gaps = rng.integers(-1, 2, size=4001) + 0.02
    found = paired_difference(gaps, np.zeros(4001), None)
    # Numbers a hair apart are signed one by one and not by kind.
    apart = paired_difference(gaps + 1e-9 * rng.normal(size=4001), np.zeros(4001), None)
    assert found.p_value == pytest.approx(apart.p_value, abs=0.02)
    deviation = gaps.std() / math.sqrt(4001)
    normal = math.erfc(abs(float(gaps.mean())) / deviation / math.sqrt(2))
    assert found.p_value == pytest.approx(normal, abs=0.02)


def test_paired_difference_swapped_models_change_the_sign_only() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.integers(0, 2, size=(2, 200))
    one, other = paired_difference(first, second, None), paired_difference(second, first, None)
    assert one.value is not None
    assert one.low is not None
    assert one.value == -(other.value or 0)
    assert one.p_value == other.p_value
    assert one.low == pytest.approx(-(other.high or 0), abs=0.01)


def test_paired_difference_equal_answers_and_no_answers() -> None:
    found = paired_difference([1, 0, 1], [1, 0, 1], None)
    assert (found.value, found.p_value, found.low) == (0.0, 1.0, None)
    empty = paired_difference([], [], None)
    assert (empty.value, empty.p_value) == (None, None)
    assert "no values" in empty.note
    with pytest.raises(ShapeError, match="second has shape"):
        paired_difference([1, 0], [1], None)
