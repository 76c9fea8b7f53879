"""Rank correlations against scipy and closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from visreward.core.errors import NonFiniteError, ShapeError, UsageError
from visreward.evaluation.metrics.correlation import (
    CorrelationMethod,
    fisher_mean,
    kendall,
    per_group,
    spearman,
)


def draw(seed: int, *, num: int, levels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    x = rng.integers(levels, size=num).astype(np.float64)
    return x, rng.integers(levels, size=num) + 0.3 * x


@pytest.mark.parametrize("num", [3, 4, 7, 8, 20, 101, 400])
@pytest.mark.parametrize("levels", [3, 12, 10_000])
def test_correlations_with_and_without_ties_equal_scipy(num: int, levels: int) -> None:
    x, y = draw(num, num=num, levels=levels)
    ours, theirs = spearman(x, y), stats.spearmanr(x, y)
    assert ours.value == pytest.approx(theirs.statistic, abs=1e-12)
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=1e-12)
    tau, reference = kendall(x, y), stats.kendalltau(x, y, method="asymptotic")
    assert tau.value == pytest.approx(reference.statistic, abs=1e-12)
    assert tau.p_value == pytest.approx(reference.pvalue, rel=1e-9, abs=1e-12)
    assert (ours.num, tau.num) == (num, num)


def test_kendall_equals_a_count_of_all_pairs() -> None:
    x, y = draw(5, num=60, levels=6)
    concordant = ties_x = ties_y = 0
    for one, other in itertools.combinations(range(60), 2):
        step = (x[one] - x[other]) * (y[one] - y[other])
        concordant += int(np.sign(step))
        ties_x += x[one] == x[other]
        ties_y += y[one] == y[other]
    pairs = 60 * 59 / 2
    expected = concordant / math.sqrt((pairs - ties_x) * (pairs - ties_y))
    assert kendall(x, y).value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("coefficient", [spearman, kendall])
def test_correlation_of_full_agreement_is_one_without_an_interval(coefficient: object) -> None:
    assert callable(coefficient)
    for sign in (1, -1):
        found = coefficient([1.0, 2.0, 5.0, 7.0, 9.0], [sign * each for each in range(5)])
        assert found.value == sign
        assert (found.low, found.high) == (None, None)
        assert "agree or disagree in full" in found.note


@pytest.mark.parametrize("coefficient", [spearman, kendall])
@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], "all numbers on the first side are 1"),
        ([1.0, 2.0, 3.0], [4.5, 4.5, 4.5], "all numbers on the second side are 4.5"),
        ([1.0, math.nan, 3.0], [1.0, 2.0, 3.0], "1 of 3 items have no number"),
        ([1.0], [1.0], "1 items"),
        ([], [], "0 items"),
    ],
)
def test_correlation_not_defined_is_none_with_a_note(
    coefficient: object, x: list[float], y: list[float], reason: str
) -> None:
    assert callable(coefficient)
    found = coefficient(x, y)
    assert (found.value, found.low, found.high, found.p_value) == (None, None, None, None)
    assert reason in found.note


@pytest.mark.parametrize(
    ("method", "truth"),
    [
        # For a normal pair of correlation 0.6: 6 / pi asin(0.3) and 2 / pi asin(0.6).
        ("spearman", 6 / math.pi * math.asin(0.3)),
        ("kendall", 2 / math.pi * math.asin(0.6)),
    ],
)
def test_correlation_intervals_cover_the_truth(method: CorrelationMethod, truth: float) -> None:
    coefficient = spearman if method == "spearman" else kendall
    rng = np.random.default_rng(8)
    hits = 0
    for _ in range(600):
        x, noise = rng.normal(size=(2, 50))
        found = coefficient(x, 0.6 * x + 0.8 * noise)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
    assert hits / 600 == pytest.approx(0.95, abs=0.025)


def test_fisher_mean_is_tanh_of_the_mean_of_arctanh() -> None:
    values, weights = [0.1, 0.5, 0.9], [1.0, 2.0, 3.0]
    heights = np.arctanh(values)
    assert fisher_mean(values).value == pytest.approx(math.tanh(heights.mean()))
    expected = math.tanh(float(np.average(heights, weights=weights)))
    assert fisher_mean(values, weights).value == pytest.approx(expected)
    assert fisher_mean([0.42]).value == pytest.approx(0.42, abs=1e-15)
    assert fisher_mean([-0.3, 0.3]).value == pytest.approx(0.0, abs=1e-15)


def test_fisher_mean_interval_is_that_of_a_mean_of_z() -> None:
    values = [0.1, 0.2, 0.5, 0.7]
    heights = np.arctanh(values)
    reach = 1.959964 * heights.std(ddof=1) / 2
    found = fisher_mean(values)
    assert found.low == pytest.approx(math.tanh(heights.mean() - reach), abs=1e-6)
    assert found.high == pytest.approx(math.tanh(heights.mean() + reach), abs=1e-6)
    assert fisher_mean([0.5]).low is None


def test_fisher_mean_perfect_correlation_is_none_with_a_note() -> None:
    found = fisher_mean([0.3, 1.0, -1.0])
    assert found.value is None
    assert "2 of 3 correlations are exactly 1 or -1" in found.note
    assert fisher_mean([]).value is None


def test_per_group_equals_each_group_alone_and_notes_the_undefined() -> None:
    x, y = draw(11, num=60, levels=50)
    groups = np.repeat(["a", "b", "c"], 20)
    x[groups == "b"] = 7.0
    found = per_group(x, y, groups.tolist())
    assert list(found.groups) == ["a", "b", "c"]
    alone = {name: spearman(x[groups == name], y[groups == name]) for name in "abc"}
    assert found.groups == alone
    values = [each.value for each in alone.values() if each.value is not None]
    assert alone["b"].value is None
    assert found.mean.value == pytest.approx(np.mean(values))
    assert found.mean.num == 2
    assert found.mean.note.startswith("1 of 3 groups have no correlation.")
    expected = math.tanh(np.arctanh(values).mean())
    assert found.fisher_mean.value == pytest.approx(expected)


def test_per_group_kendall_is_kendall() -> None:
    x, y = draw(12, num=30, levels=50)
    assert per_group(x, y, ["m"] * 30, method="kendall").groups["m"] == kendall(x, y)


def test_per_group_all_constant_has_no_mean() -> None:
    found = per_group([1.0, 1.0, 2.0, 2.0], [1.0, 2.0, 1.0, 2.0], ["a", "a", "b", "b"])
    assert (found.mean.value, found.fisher_mean.value) == (None, None)
    assert found.mean.note.startswith("2 of 2 groups")


def test_correlation_bad_input_is_named() -> None:
    with pytest.raises(ShapeError, match=r"y has shape \(2,\), expected \(3,\)"):
        spearman([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(ShapeError, match="groups has shape"):
        per_group([1.0, 2.0], [1.0, 2.0], ["a"])
    with pytest.raises(NonFiniteError, match="x is infinite"):
        kendall([1.0, math.inf], [1.0, 2.0])
    with pytest.raises(UsageError, match=r"1\.2"):
        fisher_mean([0.5, 1.2])
    with pytest.raises(UsageError, match="weight is -1"):
        fisher_mean([0.5, 0.2], [1.0, -1.0])
