"""Intervals of shares, against published numbers and what resampling must do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from visreward.core.errors import UsageError
from visreward.evaluation.metrics.intervals import grouped_share, wilson_interval


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
