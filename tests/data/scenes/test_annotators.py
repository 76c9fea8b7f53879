"""Utilities and votes of simulated annotators."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from visreward.core.errors import UsageError
from visreward.data.scenes.annotators import confidence_of, utility, vote


@pytest.mark.parametrize("gap", [-2.0, -0.5, 0.0, 0.8, 3.0])
def test_vote_share_of_many_annotators_is_the_sigmoid_of_the_gap(gap: float) -> None:
    num = 20_000
    for_a, for_b = vote(1.0 + gap, 1.0, num, np.random.default_rng(5))
    assert for_a + for_b == num
    expected = 1 / (1 + math.exp(-gap))
    tolerance = 4 * math.sqrt(expected * (1 - expected) / num)
    assert for_a / num == pytest.approx(expected, abs=tolerance)


def test_vote_small_panels_are_binomial() -> None:
    rng = np.random.default_rng(7)
    counts = np.bincount([vote(0.8, 0.0, 7, rng)[0] for _ in range(4000)], minlength=8)
    expected = 4000 * stats.binom.pmf(np.arange(8), 7, 1 / (1 + math.exp(-0.8)))
    assert stats.chisquare(counts, expected).pvalue > 0.001


def test_vote_same_state_gives_the_same_votes() -> None:
    assert vote(0.3, 0.1, 9, np.random.default_rng(2)) == vote(
        0.3, 0.1, 9, np.random.default_rng(2)
    )


def test_vote_no_annotator_is_refused() -> None:
    with pytest.raises(UsageError, match="num_annotators is 0"):
        vote(0.0, 0.0, 0, np.random.default_rng(0))


def test_utility_right_beats_wrong_beats_missing_and_flaws_cost_more_when_severe() -> None:
    assert utility("right") > utility("wrong") > utility("missing")
    values = [utility("right", severities=(s,)) for s in range(1, 6)]
    assert utility("right") > values[0]
    assert values == sorted(values, reverse=True)
    assert utility("right", severities=(2, 3)) < min(values[1], values[2])
    assert utility("right", rich=True) > utility("right")


def test_utility_rich_with_a_clear_flaw_is_below_plain_and_clean() -> None:
    assert utility("right", severities=(3,), rich=True) < utility("right")


@pytest.mark.parametrize(("content", "severity"), [("wright", 1), ("right", 6), ("right", 0)])
def test_utility_unknown_content_or_severity_is_refused(content: str, severity: int) -> None:
    with pytest.raises(UsageError, match="Unknown content"):
        utility(content, severities=(severity,))


@pytest.mark.parametrize(("chosen", "rejected"), [(4, 3), (7, 0), (10, 5), (3, 4)])
def test_confidence_is_the_upper_half_of_the_beta_posterior(chosen: int, rejected: int) -> None:
    expected = stats.beta(chosen + 1, rejected + 1).sf(0.5)
    assert confidence_of(chosen, rejected) == pytest.approx(expected, abs=1e-12)
