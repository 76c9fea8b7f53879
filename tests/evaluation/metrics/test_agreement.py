"""Agreement of annotators against examples computed by hand and published ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from visreward.core.errors import NonFiniteError, ShapeError, UsageError
from visreward.data.base import load_optional
from visreward.evaluation.metrics.agreement import (
    Level,
    krippendorff_alpha,
    leave_one_out_agreement,
    leave_one_out_correlations,
    percent_agreement,
)

stats = load_optional("scipy.stats", extra="train")

NAN = math.nan

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers.
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_krippendorff_alpha_matches_the_published_example(level: Level, published: float) -> None:
    found = krippendorff_alpha(PUBLISHED, level=level)
    assert found.value == pytest.approx(published, abs=5e-4)
    assert found.num == 11
    assert found.note == "1 of 12 units have fewer than two answers."
    assert found.low is not None
    assert found.high is not None
    assert found.low < published < found.high


def test_krippendorff_alpha_of_two_binary_annotators_matches_hand_count() -> None:
    # Section A of the same: ten units, 14 zeros and 6 ones, four units differ:
    # 1 - 19 * 4 / (14 * 6) = 0.095.
    one = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    other = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    found = krippendorff_alpha(np.array([one, other]).T)
    assert found.value == pytest.approx(1 - 19 * 4 / (14 * 6), abs=1e-12)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_krippendorff_alpha_equals_its_definition_pair_by_pair(level: Level) -> None:
    rng = np.random.default_rng(0)
    table = rng.integers(1, 5, size=(30, 4)).astype(np.float64)
    table[rng.random(table.shape) < 0.3] = NAN
    units = [row[~np.isnan(row)] for row in table]
    units = [row for row in units if len(row) > 1]
    pooled = np.concatenate(units)

    def distance(one: float, other: float) -> float:
        if level == "nominal":
            return float(one != other)
        if level == "interval":
            return (one - other) ** 2
        low, high = sorted((one, other))
        between = ((pooled >= low) & (pooled <= high)).sum()
        ends = ((pooled == low).sum() + (pooled == high).sum()) / 2
        return float(between - ends) ** 2 if one != other else 0.0

    observed = sum(
        distance(one, other) / (len(row) - 1)
        for row in units
        for one, other in itertools.permutations(row, 2)
    ) / len(pooled)
    expected = np.mean([distance(*pair) for pair in itertools.permutations(pooled, 2)])
    found = krippendorff_alpha(table, level=level, num_resamples=10)
    assert found.value == pytest.approx(1 - observed / expected, abs=1e-12)


def test_krippendorff_alpha_of_chance_is_near_zero_and_its_interval_covers_it() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(100):
        found = krippendorff_alpha(rng.integers(0, 3, (120, 3)), num_resamples=200, seed=seed)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    assert hits >= 86


def test_krippendorff_alpha_not_defined_is_none_with_a_note() -> None:
    same = krippendorff_alpha([[1, 1], [1, 1]])
    assert (same.value, same.note) == (None, "Not defined: all answers are the same.")
    lone = krippendorff_alpha([[1, NAN], [NAN, 2]])
    assert (lone.value, lone.note) == (None, "Not defined: no unit has two answers.")
    one_unit = krippendorff_alpha([[1, 2]])
    assert (one_unit.low, one_unit.note) == (None, "No interval: one unit.")


def test_percent_agreement_matches_hand_count() -> None:
    # 1 of 3 pairs agree; all of 1; the lone answer counts nothing.
    found = percent_agreement(np.array([[1, 1, 0], [2, NAN, 2], [3, NAN, NAN]]))
    assert found.value == pytest.approx((1 / 3 + 1) / 2)
    assert found.note.startswith("1 of 3 units have fewer than two answers.")
    assert percent_agreement([[1, NAN]]).value is None


def test_leave_one_out_agreement_matches_hand_count() -> None:
    # 1: others say 1 and 0, half; 1: the same; 0: others say 1, wrong. All right in the second.
    found = leave_one_out_agreement(np.array([[1, 1, 0], [2, 2, 2]]))
    assert found.value == pytest.approx((0.5 + 0.5 + 0 + 3) / 6)
    assert found.num == 6
    assert leave_one_out_agreement(np.array([[1, NAN]])).value is None


def test_leave_one_out_agreement_of_two_is_percent_agreement() -> None:
    table = np.random.default_rng(2).integers(-1, 2, size=(50, 2))
    assert leave_one_out_agreement(table).value == pytest.approx(percent_agreement(table).value)


def test_agreement_bad_input_is_named() -> None:
    for shape in ((3,), (3, 1)):
        with pytest.raises(ShapeError, match=r"expected \(U, A\)"):
            percent_agreement(np.zeros(shape))
    with pytest.raises(NonFiniteError, match="first in unit 1"):
        leave_one_out_agreement(np.array([[1, 1], [1, math.inf]]))
    with pytest.raises(UsageError, match="distinct ratings"):
        krippendorff_alpha(np.arange(600).reshape(300, 2))
    with pytest.raises(UsageError, match="num_resamples"):
        krippendorff_alpha([[1, 2]], num_resamples=0)


def test_leave_one_out_correlations_equal_scipys_on_units_that_others_scored_too() -> None:
    rng = np.random.default_rng(5)
    ratings = rng.integers(0, 5, (60, 3)).astype(float)
    ratings[rng.random(ratings.shape) < 0.2] = math.nan
    found = leave_one_out_correlations(ratings)
    for place, each in enumerate(found):
        own, means = [], []
        for row in ratings.tolist():
            others = [each for n, each in enumerate(row) if n != place and not math.isnan(each)]
            if others and not math.isnan(row[place]):
                own.append(row[place])
                means.append(sum(others) / len(others))
        assert each.num == len(own) < 60
        assert each.value == pytest.approx(stats.spearmanr(own, means).statistic, abs=1e-12)


def test_leave_one_out_correlations_of_a_constant_or_lone_annotator_do_not_exist() -> None:
    constant, varied = leave_one_out_correlations([[1, 1], [1, 2], [1, 3]])
    assert (constant.value, varied.value) == (None, None)
    lone, nobody = leave_one_out_correlations([[1, math.nan], [2, math.nan]])
    assert (lone.value, nobody.value) == (None, None)
    assert lone.note
