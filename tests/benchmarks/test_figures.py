"""Figures of scored pairs against closed forms and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.figures import (
    ScoredPairs,
    calibration_error,
    doubt_figures,
    order_figures,
    share_above,
)
from experiments.runs import Outcome
from experiments.summary import mean_of, summed_up, table
from visreward.evaluation.metrics.reliability import expected_calibration_error


def scored(gap: list[float], overall: list[float], deviation: float = 0.0) -> ScoredPairs:
    gaps, ratings = np.array([gap, gap]).T, np.array([overall, [0.0] * len(gap)]).T
    return ScoredPairs(
        gap=np.array(gap),
        deviation=np.full(len(gap), deviation),
        overall=np.array(overall),
        gaps=gaps,
        ratings=ratings,
    )


def test_order_figures_equal_scores_count_as_wrong_and_ties_are_left_out() -> None:
    figures = order_figures(scored([1, -2, 0, 0.1], [1, -1, 1, 0]))

    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["following"] == pytest.approx(2 / 3)
    assert math.isnan(figures["quality"])
    assert figures["ties_apart"] == pytest.approx(2 / 3)  # 1 and 2 are above 0.1, 0 is not


def test_doubt_figures_model_without_sigma_doubt_is_that_of_a_sigmoid() -> None:
    figures = doubt_figures(scored([2, -2, 2, 2], [1, -1, 1, -1]), noise=0.0)

    sure = 1 / (1 + math.exp(-2))
    assert figures["error"] == pytest.approx(0.25)
    assert figures["doubt"] == pytest.approx(1 - sure)
    assert figures["log_loss"] == pytest.approx(-(3 * math.log(sure) + math.log(1 - sure)) / 4)
    assert "deviation" not in figures


def test_doubt_figures_model_that_knows_the_noise_is_calibrated_on_noisy_labels() -> None:
    noise = 0.3
    figures = doubt_figures(scored([math.log(0.7 / 0.3)] * 20, [1] * 20), noise=noise)

    assert figures["noisy_calibration_error"] == pytest.approx(0, abs=1e-12)
    assert figures["calibration_error"] == pytest.approx(noise)


def test_doubt_figures_larger_sigma_on_wrong_pairs_is_seen() -> None:
    pairs = scored([1, 1, 1, 1], [1, 1, -1, -1])
    pairs = ScoredPairs(**{**vars(pairs), "deviation": np.array([0.1, 0.2, 3.0, 4.0])})

    figures = doubt_figures(pairs, noise=0.0)

    assert figures["sigma_finds_errors"] == 1
    assert figures["doubt_finds_errors"] == 1
    assert figures["deviation"] == pytest.approx((0.1 * 0.2 * 3 * 4) ** 0.25)


def test_calibration_error_equal_chances_share_a_bin_whatever_their_order() -> None:
    chance, right = np.full(20, 0.7), np.array([1.0] * 14 + [0.0] * 6)

    assert calibration_error(chance, right) == pytest.approx(0, abs=1e-12)
    assert calibration_error(chance, right[::-1].copy()) == pytest.approx(0, abs=1e-12)


def test_calibration_error_is_that_of_the_metrics() -> None:
    rng = np.random.default_rng(1)
    chance, right = rng.uniform(0.5, 1, 200), rng.integers(0, 2, 200).astype(float)
    wanted = expected_calibration_error(chance, right, binning="equal-count")

    assert calibration_error(chance, right) == wanted.value


@given(
    one=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    other=st.lists(st.integers(0, 4), min_size=1, max_size=12),
)
def test_share_above_is_what_all_pairs_say(one: list[int], other: list[int]) -> None:
    wanted = np.mean([(a > b) + (a == b) / 2 for a in one for b in other])

    assert share_above(np.array(one, float), np.array(other, float)) == pytest.approx(wanted)


def test_mean_of_three_seeds_interval_is_students() -> None:
    mean = mean_of([1.0, 2.0, 3.0])

    assert mean.value == pytest.approx(2)
    assert mean.high - mean.value == pytest.approx(4.302652729911275 / math.sqrt(3))


def test_summed_up_differences_are_taken_seed_by_seed() -> None:
    outcomes = [
        Outcome(arm=arm, seed=seed, noise=0.0, figures={"accuracy": value}, curve={1: value})
        for arm, values in {"a": (0.5, 0.7), "b": (0.6, 0.8)}.items()
        for seed, value in enumerate(values)
    ]

    rows = summed_up(outcomes)

    assert rows[0]["from_first"] == {}
    assert rows[1]["from_first"]["accuracy"]["value"] == pytest.approx(0.1)
    assert rows[1]["from_first"]["accuracy"]["deviation"] == pytest.approx(0, abs=1e-12)
    lines = table("ablation", rows)
    assert lines[2].startswith("| a | 60.0 (")
    assert "+10.0 (+10.0 to +10.0)" in lines[3]
