"""Reliability of probabilities, on outcomes drawn from them and on hand-made bins."""

from __future__ import annotations

import math

import numpy as np
import pytest

from visreward.core.errors import NonFiniteError, ShapeError, UsageError
from visreward.evaluation.metrics.intervals import wilson_interval
from visreward.evaluation.metrics.reliability import (
    Binning,
    expected_calibration_error,
    reliability_bins,
)

BINNINGS: tuple[Binning, ...] = ("equal-width", "equal-count")


def test_reliability_bins_match_hand_count() -> None:
    bins = reliability_bins([0.61, 0.39, 0.65, 0.95], [1, 1, 1, 1], num_bins=5)
    assert [each.num for each in bins] == [3, 1]
    assert [each.low for each in bins] == pytest.approx([0.6, 0.9])
    assert [each.high for each in bins] == pytest.approx([0.7, 1.0])
    # 0.39 for the first is 0.61 for the second, whom people did not prefer.
    assert bins[0].confidence == pytest.approx((0.61 + 0.61 + 0.65) / 3)
    assert bins[0].right == wilson_interval(2 / 3, num_trials=3)


def test_expected_calibration_error_matches_hand_count() -> None:
    found = expected_calibration_error([0.61, 0.39, 0.65, 0.95], [1, 1, 1, 1], num_bins=5)
    expected = (abs(0.61 + 0.61 + 0.65 - 2) + abs(0.95 - 1)) / 4
    assert found.value == pytest.approx(expected)
    assert found.overconfidence == pytest.approx((0.61 + 0.61 + 0.65 + 0.95 - 3) / 4)


@pytest.mark.parametrize("binning", BINNINGS)
def test_expected_calibration_error_of_right_probabilities_is_what_chance_gives(
    binning: Binning,
) -> None:
    rng = np.random.default_rng(0)
    p_values = []
    for seed in range(100):
        chances = rng.beta(0.8, 0.8, size=400)
        found = expected_calibration_error(
            chances, rng.random(400) < chances, binning=binning, num_resamples=200, seed=seed
        )
        assert found.expected is not None
        assert found.expected > 0.01
        p_values.append(found.p_value)
    below = np.mean([each is not None and each <= 0.2 for each in p_values])
    assert below == pytest.approx(0.2, abs=0.12)


def test_expected_calibration_error_of_too_sure_probabilities_is_found() -> None:
    rng = np.random.default_rng(1)
    margins = rng.normal(size=4000) * 2
    outcomes = rng.random(4000) < 1 / (1 + np.exp(-margins))
    found = expected_calibration_error(1 / (1 + np.exp(-3 * margins)), outcomes)
    assert found.value is not None
    assert found.expected is not None
    assert found.value > 3 * found.expected
    assert found.p_value == pytest.approx(1 / 1001)
    assert found.overconfidence is not None
    assert found.overconfidence > 0.05


def test_reliability_order_of_the_images_of_a_pair_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    chances = np.round(rng.random(500), 2)
    outcomes = rng.integers(0, 3, size=500) / 2
    turned = rng.random(500) < 0.5
    chances_turned = np.where(turned, 1 - chances, chances)
    outcomes_turned = np.where(turned, 1 - outcomes, outcomes)
    one = expected_calibration_error(chances, outcomes, binning="equal-count", num_resamples=1)
    other = expected_calibration_error(
        chances_turned, outcomes_turned, binning="equal-count", num_resamples=1
    )
    assert one.value == pytest.approx(other.value, abs=0.01)
    assert one.overconfidence == pytest.approx(other.overconfidence)


def test_reliability_bins_equal_count_hold_equal_counts() -> None:
    chances = 0.5 + np.random.default_rng(3).random(1000) / 2
    bins = reliability_bins(chances, np.ones(1000), binning="equal-count")
    assert [each.num for each in bins] == [100] * 10


def test_reliability_of_even_chances_is_half_right_whatever_people_say() -> None:
    for outcomes in ([1, 1, 1], [0, 0, 0], [0.5, 0.5, 0.5]):
        for binning in BINNINGS:
            (only,) = reliability_bins([0.5] * 3, outcomes, binning=binning)
            assert (only.confidence, only.right.value) == (0.5, 0.5)


def test_reliability_without_pairs_is_none_with_a_note() -> None:
    found = expected_calibration_error([], [])
    assert (found.value, found.note) == (None, "Not defined: there are no pairs.")
    assert reliability_bins([], []) == ()


def test_reliability_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match=r"probabilities is 1.5 in place 1"):
        reliability_bins([0.5, 1.5], [1, 0])
    with pytest.raises(UsageError, match=r"outcomes is -1.0 in place 0"):
        expected_calibration_error([0.5, 0.5], [-1, 0])
    with pytest.raises(NonFiniteError, match="probabilities is NaN"):
        reliability_bins([math.nan], [1])
    with pytest.raises(ShapeError, match="outcomes"):
        reliability_bins([0.5], [1, 0])
    with pytest.raises(UsageError, match="num_bins is 0"):
        reliability_bins([0.5], [1], num_bins=0)
