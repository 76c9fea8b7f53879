"""Effects by hand and by brute force, and what limits make of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visreward.core.errors import UsageError
from visreward.evaluation.audit.effects import mean_measure, within_correlation
from visreward.evaluation.audit.records import Limit, Measure, Side, Verdict


def test_mean_measure_leaves_missing_values_out_and_counts_the_rest() -> None:
    values = [1.0, float("nan"), 3.0, 5.0, 7.0, 9.0]
    found = mean_measure("x", values, range(6), unit="sd")
    assert found.value == 5.0
    assert found.num == 5
    assert found.low < 5.0 < found.high


def test_mean_measure_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="None of 2 comparisons"):
        mean_measure("x", [float("nan")] * 2, [0, 1], unit="sd")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_mean_measure_all_or_nothing_has_a_width(share: float) -> None:
    few, many = (mean_measure("x", [share] * n, range(n), unit="share") for n in (6, 60))
    assert few.value == many.value == share
    assert few.high - few.low > many.high - many.low > 0


def test_mean_measure_clusters_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=12), 10)
    alone, together = (
        mean_measure("x", values, clusters, unit="sd")
        for clusters in (np.arange(120), np.repeat(np.arange(12), 10))
    )
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_within_correlation_ignores_what_differs_between_groups() -> None:
    groups = np.repeat(np.arange(6), 4)
    values = np.tile([1.0, 2.0, 3.0, 4.0], 6)
    scores = values - 100 * groups
    found = within_correlation("x", scores, values, groups)
    assert found is not None
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    assert within_correlation("x", groups.astype(float), values, groups) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 5), st.integers(2, 6))
def test_within_correlation_is_that_of_ranks_about_their_group_means(
    seed: int, num_groups: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_groups), size)
    scores, values = rng.integers(4, size=(2, len(groups))).astype(float)
    found = within_correlation("x", scores, values, groups)
    ranks = []
    for column in (scores, values):
        centred = []
        for group in range(num_groups):
            members = column[groups == group]
            rank = [
                sum(m < a for m in members) + (sum(m == a for m in members) + 1) / 2
                for a in members
            ]
            centred += [r - (size + 1) / 2 for r in rank]
        ranks.append(np.array(centred))
    norm = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    if norm == 0:
        assert found is None
        return
    assert found is not None
    assert found.value == pytest.approx(ranks[0] @ ranks[1] / norm)


@pytest.mark.parametrize(
    ("side", "interval", "verdict"),
    [
        ("at most", (0.1, 0.2), "pass"),
        ("at most", (0.1, 0.3), "pass"),
        ("at most", (0.2, 0.4), "warn"),
        ("at most", (0.4, 0.5), "fail"),
        ("at least", (0.3, 0.5), "pass"),
        ("at least", (0.2, 0.4), "warn"),
        ("at least", (0.1, 0.2), "fail"),
        ("within", (-0.3, 0.3), "pass"),
        ("within", (-0.4, 0.1), "warn"),
        ("within", (-0.9, -0.4), "fail"),
        ("within", (0.4, 0.9), "fail"),
    ],
)
def test_limit_verdict_is_that_of_the_whole_interval(
    side: Side, interval: tuple[float, float], verdict: Verdict
) -> None:
    low, high = interval
    effect = Measure(name="x", value=(low + high) / 2, low=low, high=high, unit="sd", num=9)
    assert Limit(side=side, value=0.3, reason="").verdict(effect) == verdict
