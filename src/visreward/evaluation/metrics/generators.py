"""Which generator is better: win rates, Bradley-Terry strengths and Elo from pairs of images.

Shape letters: M pairs, N generators, G clusters.

Bradley-Terry: P(a beats b) = sigmoid(strength_a - strength_b). Strengths have mean 0; Elo is
1000 + 400 / ln(10) strength, so that 400 points are odds of 10 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import ShapeError, UsageError
from visreward.evaluation.metrics.arrays import number_clusters, read_finite, read_pairs
from visreward.evaluation.metrics.bradley_terry import (
    fit_strengths,
    strength_deviations,
    why_no_strengths,
)
from visreward.evaluation.metrics.intervals import NORMAL_QUANTILE_95, Estimate

ELO_MEAN: Final = 1000.0
ELO_SCALE: Final = 400 / math.log(10)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorStrength:
    """One generator among others.

    Attributes:
        name: Of the generator.
        strength: On the scale of log odds; None where strengths do not exist.
        elo: The same in points.
        win_rate: Share of its pairs that it wins, ties as half; not comparable between generators
            that met different opponents.
        num_pairs: How many pairs it is in.
    """

    name: str
    strength: Estimate
    elo: Estimate
    win_rate: float
    num_pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorRanking:
    """Generators, best first.

    Attributes:
        generators: In falling order of strength, or of win rate where strengths do not exist.
        num_pairs: How many pairs it rests on.
        note: Why strengths do not exist, or what a reader must know; "" if nothing.
    """

    generators: tuple[GeneratorStrength, ...]
    num_pairs: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRates:
    """How often each generator beats each other one.

    Attributes:
        generators: N names, in order of first appearance.
        rates: N x N: share of pairs that the row wins against the column, ties as half; None where
            the two never met.
        num_pairs: N x N: how often the two met.
    """

    generators: tuple[str, ...]
    rates: tuple[tuple[float | None, ...], ...]
    num_pairs: tuple[tuple[int, ...], ...]


def win_rates(first: Sequence[str], second: Sequence[str], label: ArrayLike) -> WinRates:
    """Return how often each generator beats each other one.

    Args:
        first: (M,) the generator of the first image of each pair.
        second: (M,) that of the second image.
        label: (M,) 1 where the first is better, -1 where the second is, 0 for a tie.

    Returns:
        The rates; deterministic.

    Raises:
        ShapeError: if the arrays do not have one length.
        UsageError: if a label is not 1, 0 or -1, or a pair is of one generator.
    """
    names, ours, theirs, points = _read(first, second, label)
    wins = _wins(ours, theirs, points, num=len(names))
    met = wins + wins.T
    return WinRates(
        generators=names,
        rates=tuple(
            tuple(won / num if num else None for won, num in zip(row, nums, strict=True))
            for row, nums in zip(wins.tolist(), met.tolist(), strict=True)
        ),
        num_pairs=tuple(tuple(map(int, row)) for row in met.tolist()),
    )


def rank_generators(
    first: Sequence[str],
    second: Sequence[str],
    label: ArrayLike,
    *,
    clusters: Iterable[Hashable] | None = None,
    pseudo_ties: float = 0.0,
) -> GeneratorRanking:
    """Return generators by their Bradley-Terry strength, the most likely one given the pairs.

    A tie counts as half a win for both. Strengths exist if no generators can be split into two
    sides of which one never lost a point to the other (Ford, "Solution of a ranking problem from
    binary comparisons", American Mathematical Monthly 64, 1957); otherwise they are None, and the
    note names the sides. Intervals are 95 % normal ones for the difference to the mean generator,
    from the sandwich covariance over clusters (White, Econometrica 50, 1982; times G / (G - 1)),
    which also holds where a tie varies less than a win; they are too short below about 30 clusters.

    Source: Bradley and Terry, Biometrika 39 (1952); Elo points as Chatbot Arena's, Chiang et al.,
    ICML 2024, section 4.

    Args:
        first: As in `win_rates`.
        second: As in `win_rates`.
        label: As in `win_rates`.
        clusters: (M,) what depends on each other, such as the prompt; None takes pairs as
            independent.
        pseudo_ties: Made-up ties that each generator is given against each other one, so that
            strengths always exist, drawn together; 0 for none.

    Returns:
        The ranking; deterministic, the same for any order of the pairs up to rounding.

    Raises:
        ShapeError: if the arrays do not have one length.
        UsageError: if there is no pair, a label is not 1, 0 or -1, a pair is of one generator, or
            pseudo_ties is negative or not finite.
    """
    names, ours, theirs, points = _read(first, second, label)
    numbers = number_clusters(clusters, num=len(points))
    if not len(points):
        raise UsageError("There are 0 pairs. A ranking needs one pair or more.")
    if not 0 <= pseudo_ties < math.inf:
        raise UsageError(f"pseudo_ties is {pseudo_ties}. Give a finite number of 0 or more.")
    wins = _wins(ours, theirs, points, num=len(names))
    added = wins + pseudo_ties / 2 * (1 - np.eye(len(names)))
    note = why_no_strengths(added, names)
    if note:
        strengths = [Estimate(value=None, num=len(points), note=note)] * len(names)
    else:
        values = fit_strengths(added)
        deviations: list[float | None] = [None] * len(names)
        if numbers.max() > 0:
            deviations = strength_deviations(
                values,
                met=added + added.T,
                ours=ours,
                theirs=theirs,
                points=points,
                numbers=numbers,
            ).tolist()
        else:
            note = "No intervals: all pairs are of one cluster."
        strengths = [
            _estimate(value, deviation, num=len(points))
            for value, deviation in zip(values.tolist(), deviations, strict=True)
        ]
    return _ranking(names, strengths, wins, note)


def _read(
    first: Sequence[str], second: Sequence[str], label: ArrayLike
) -> tuple[tuple[str, ...], NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return names, the generators of both sides as numbers, and points of the first side."""
    labels, _ = read_pairs(label, label)
    labels = read_finite(labels, name="label")
    if not len(first) == len(second) == len(labels):
        raise ShapeError(
            f"There are {len(first)} first and {len(second)} second generators and {len(labels)} "
            "labels. Give one of each for every pair."
        )
    known: dict[str, int] = {}
    places = [known.setdefault(str(name), len(known)) for name in (*first, *second)]
    ours, theirs = np.array(places, dtype=np.intp).reshape(2, -1)
    if (ours == theirs).any():
        place = int((ours == theirs).argmax())
        raise UsageError(
            f"Pair {place} is of one generator, {first[place]!r}. Leave such pairs out."
        )
    return tuple(known), ours, theirs, (labels + 1) / 2


def _wins(
    ours: NDArray[np.intp], theirs: NDArray[np.intp], points: NDArray[np.float64], *, num: int
) -> NDArray[np.float64]:
    wins = np.zeros((num, num))
    np.add.at(wins, (ours, theirs), points)
    np.add.at(wins, (theirs, ours), 1 - points)
    return wins


def _estimate(value: float, deviation: float | None, *, num: int) -> Estimate:
    if deviation is None:
        return Estimate(value=value, num=num)
    reach = NORMAL_QUANTILE_95 * deviation
    return Estimate(value=value, low=value - reach, high=value + reach, num=num)


def _in_points(strength: Estimate) -> Estimate:
    value, low, high = (
        None if each is None else ELO_MEAN + ELO_SCALE * each
        for each in (strength.value, strength.low, strength.high)
    )
    return Estimate(value=value, low=low, high=high, num=strength.num, note=strength.note)


def _ranking(
    names: tuple[str, ...], strengths: list[Estimate], wins: NDArray[np.float64], note: str
) -> GeneratorRanking:
    met = (wins + wins.T).sum(axis=1)
    rates = wins.sum(axis=1) / met
    found = [
        GeneratorStrength(
            name=name,
            strength=strength,
            elo=_in_points(strength),
            win_rate=float(rate),
            num_pairs=int(num),
        )
        for name, strength, rate, num in zip(names, strengths, rates, met, strict=True)
    ]
    found.sort(
        key=lambda each: (
            each.win_rate if each.strength.value is None else each.strength.value,
            each.win_rate,
        ),
        reverse=True,
    )
    return GeneratorRanking(generators=tuple(found), num_pairs=round(met.sum() / 2), note=note)
