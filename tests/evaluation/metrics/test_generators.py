"""Rankings of generators against closed forms, the slope at the maximum, and drawn pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from visreward.core.errors import ShapeError, UsageError
from visreward.evaluation.metrics.bradley_terry import fit_strengths
from visreward.evaluation.metrics.generators import (
    GeneratorRanking,
    GeneratorStrength,
    rank_generators,
    win_rates,
)

THREE = [("a", "b", 1)] * 6 + [("b", "a", 1)] * 3 + [("b", "c", 1)] * 6 + [("c", "b", 1)] * 3


def rank(pairs: list[tuple[str, str, int]], pseudo_ties: float = 0.0) -> GeneratorRanking:
    first, second, label = zip(*pairs, strict=True)
    return rank_generators(first, second, label, pseudo_ties=pseudo_ties)


def by_name(ranking: GeneratorRanking) -> dict[str, GeneratorStrength]:
    return {each.name: each for each in ranking.generators}


def test_rank_generators_two_have_the_log_odds_between_them() -> None:
    best, worst = rank([("a", "b", 1)] * 7 + [("b", "a", 1)] * 2 + [("a", "b", 0)] * 2).generators
    # A tie is half a win for both: 8 to 3.
    assert (best.name, best.win_rate, best.num_pairs) == ("a", 8 / 11, 11)
    assert best.strength.value == pytest.approx(math.log(8 / 3) / 2)
    assert worst.strength.value == pytest.approx(-math.log(8 / 3) / 2)
    assert best.elo.value is not None
    assert worst.elo.value is not None
    gap = best.elo.value - worst.elo.value
    assert gap == pytest.approx(400 * math.log10(8 / 3))
    assert best.elo.value + worst.elo.value == pytest.approx(2000)


def test_rank_generators_ten_to_one_are_400_points() -> None:
    best, worst = rank([("a", "b", 1)] * 10 + [("a", "b", -1)]).generators
    assert (best.elo.value or 0) - (worst.elo.value or 0) == pytest.approx(400)


def test_rank_generators_a_chain_of_three_adds_up() -> None:
    # a against b and b against c are 2 to 1 each, a and c never met: log 2, 0, -log 2.
    found = by_name(rank(THREE))
    expected = {"a": math.log(2), "b": 0.0, "c": -math.log(2)}
    for name, value in expected.items():
        assert found[name].strength.value == pytest.approx(value, abs=1e-9)


def test_rank_generators_two_have_the_binomial_interval() -> None:
    found = by_name(rank([("a", "b", 1)] * 60 + [("b", "a", 1)] * 40))["a"]
    # The variance of the log odds is 1 / (n p q); half the difference, and G / (G - 1).
    deviation = math.sqrt(1 / (100 * 0.6 * 0.4)) / 2 * math.sqrt(100 / 99)
    assert found.strength.high is not None
    assert found.strength.value is not None
    reach = found.strength.high - found.strength.value
    assert reach == pytest.approx(1.959964 * deviation, rel=1e-5)


def test_fit_strengths_slope_is_zero_and_no_other_optimiser_does_better() -> None:
    rng = np.random.default_rng(0)
    wins = rng.integers(0, 9, size=(6, 6)).astype(np.float64) + 0.5
    np.fill_diagonal(wins, 0)
    found = fit_strengths(wins)
    chance = 1 / (1 + np.exp(found[None, :] - found[:, None]))
    slope = (wins - (wins + wins.T) * chance).sum(axis=1)
    assert np.abs(slope).max() < 1e-6
    assert found.mean() == pytest.approx(0, abs=1e-12)

    def loss(values: NDArray[np.float64]) -> float:
        return float((wins * np.logaddexp(0, values[None, :] - values[:, None])).sum())

    other = minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-6}).x
    assert found == pytest.approx(other - other.mean(), abs=1e-4)
    assert loss(found) <= loss(other) + 1e-9


def test_fit_strengths_far_from_even_converges() -> None:
    wins = np.array([[0, 1e6, 1e6], [1, 0, 1e6], [1, 1, 0]], dtype=np.float64)
    found = fit_strengths(wins)
    chance = 1 / (1 + np.exp(found[None, :] - found[:, None]))
    assert np.abs((wins - (wins + wins.T) * chance).sum(axis=1)).max() < 1e-2


def test_rank_generators_intervals_over_clusters_cover_the_truth() -> None:
    truth = np.array([0.8, 0.2, -0.1, -0.9])
    names = np.array(["a", "b", "c", "d"])
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(150):
        # All pairs of one prompt share a shift of each generator, so they depend on each other.
        shift = rng.normal(scale=1.5, size=(80, 4))
        clusters = np.repeat(np.arange(80), 6)
        ours, theirs = np.tile(np.triu_indices(4, k=1), 80)
        gap = (truth[ours] + shift[clusters, ours]) - (truth[theirs] + shift[clusters, theirs])
        label = np.where(rng.random(480) < 1 / (1 + np.exp(-gap)), 1, -1)
        found = rank_generators(
            names[ours].tolist(), names[theirs].tolist(), label, clusters=clusters
        )
        # What the strengths estimate: those of the average prompt, which shifts draw together.
        marginal = MARGINAL_FACTOR * truth
        for name, value in zip(names, marginal, strict=True):
            strength = by_name(found)[name].strength
            assert strength.low is not None
            assert strength.high is not None
            hits += strength.low <= value - marginal.mean() <= strength.high
    assert hits / 600 == pytest.approx(0.95, abs=0.035)


# E over N(0, 2 * 1.5^2) of sigmoid(x + shift) is close to sigmoid(factor x): factor
# 1 / sqrt(1 + variance / 1.702^2), the probit approximation.
MARGINAL_FACTOR = 1 / math.sqrt(1 + 2 * 1.5**2 / 1.702**2)


@pytest.mark.parametrize(
    ("pairs", "note"),
    [
        ([("a", "b", 1)] * 5, "a won every point against the other generators"),
        (
            [("a", "b", 1), ("b", "a", 1), ("c", "a", -1), ("b", "c", 1)],
            "a, b won every point against the other generators",
        ),
        ([("a", "b", 0), ("c", "d", 0)], "a, b never met the other generators"),
    ],
)
def test_rank_generators_without_finite_strengths_says_why(
    pairs: list[tuple[str, str, int]], note: str
) -> None:
    found = rank(pairs)
    assert note in found.note
    assert "pseudo_ties=1" in found.note
    for each in found.generators:
        assert (each.strength.value, each.elo.value, each.elo.low) == (None, None, None)
        assert note in each.strength.note
    rates = [each.win_rate for each in found.generators]
    assert rates == sorted(rates, reverse=True)


def test_rank_generators_pseudo_ties_make_separable_strengths_finite() -> None:
    found = rank([("a", "b", 1)] * 10, pseudo_ties=1.0)
    best = found.generators[0]
    # Half a win of 11 for the loser: 10.5 to 0.5.
    assert best.strength.value == pytest.approx(math.log(21) / 2)
    assert (best.win_rate, found.note) == (1.0, "")
    assert best.strength.low is not None
    assert best.strength.low < 1 < (best.strength.high or 0)


def test_rank_generators_order_of_pairs_and_of_images_does_not_matter() -> None:
    turned = [(second, first, -label) for first, second, label in reversed(THREE)]
    one, other = by_name(rank(THREE)), by_name(rank(turned))
    for name in "abc":
        assert one[name].strength.value == pytest.approx(other[name].strength.value, abs=1e-9)
        assert one[name].strength.low == pytest.approx(other[name].strength.low, abs=1e-9)


def test_rank_generators_one_cluster_has_strengths_without_intervals() -> None:
    found = rank_generators(["a", "a"], ["b", "b"], [1, -1], clusters=["p", "p"])
    assert found.generators[0].strength.value == pytest.approx(0)
    assert found.generators[0].strength.low is None
    assert "one cluster" in found.note


def test_win_rates_match_hand_count() -> None:
    found = win_rates(["a", "b", "a", "c"], ["b", "a", "b", "a"], [1, 1, 0, -1])
    assert found.generators == ("a", "b", "c")
    assert found.rates == ((None, 0.5, 1.0), (0.5, None, None), (0.0, None, None))
    assert found.num_pairs == ((0, 3, 1), (3, 0, 0), (1, 0, 0))


def test_generators_bad_input_is_named() -> None:
    with pytest.raises(ShapeError, match="2 first and 1 second"):
        win_rates(["a", "b"], ["b"], [1])
    with pytest.raises(UsageError, match="Pair 1 is of one generator, 'c'"):
        win_rates(["a", "c"], ["b", "c"], [1, 1])
    with pytest.raises(UsageError, match="0 pairs"):
        rank_generators([], [], [])
    with pytest.raises(UsageError, match="label is 3"):
        win_rates(["a"], ["b"], [3])
    with pytest.raises(UsageError, match="pseudo_ties is -1"):
        rank_generators(["a"], ["b"], [1], pseudo_ties=-1)
