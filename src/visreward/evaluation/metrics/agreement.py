"""How far annotators agree: the ceiling that a model's accuracy is to be read against.

Shape letters: U units (pairs or images), A annotators, V distinct answers.

ratings: (U, A) numbers, one column for each annotator, NaN where an annotator did not answer.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import NonFiniteError, ShapeError, UsageError
from visreward.evaluation.metrics.arrays import as_numbers
from visreward.evaluation.metrics.correlation import Correlation, spearman
from visreward.evaluation.metrics.intervals import PERCENTILES_95, Estimate, cluster_interval
from visreward.evaluation.metrics.resampling import check_resamples

Level: TypeAlias = Literal["nominal", "ordinal", "interval"]
"""What answers mean: names, places in an order, or numbers with equal steps."""

MAX_DISTINCT: Final = 200
"""So many distinct answers Krippendorff's alpha takes: the work grows with their square."""


def percent_agreement(ratings: ArrayLike) -> Estimate:
    """Return how often two annotators of one unit give the same answer.

    Each unit counts once, with the share of its pairs of annotators that agree.

    Args:
        ratings: (U, A) see the module.

    Returns:
        The share with the bootstrap interval over units; None with a note where no unit has two
        answers. Deterministic.

    Raises:
        ShapeError: if the ratings are not (U, A) with A at least 2.
        NonFiniteError: if a rating is infinite.
    """
    codes, num_values = _read_ratings(ratings)
    counts = _answer_counts(codes, num_values)
    answers = counts.sum(axis=1)
    kept, note = _paired(answers)
    if not kept.any():
        return Estimate(value=None, note=note)
    counts, answers = counts[kept], answers[kept]
    shares = (counts * (counts - 1)).sum(axis=1) / (answers * (answers - 1))
    return cluster_interval(shares, None).noted(note)


def krippendorff_alpha(
    ratings: ArrayLike, *, level: Level = "nominal", num_resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Return Krippendorff's alpha: 1 - observed disagreement / that of answers by chance.

    1 is full agreement, 0 is that of chance, below 0 is worse. Answers missing are allowed.
    Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section D; the
    interval is the 95 % percentile bootstrap over units.

    Args:
        ratings: (U, A) see the module.
        level: How far two answers are apart: 1 if they differ; the number of answers between
            them, squared; or the square of their difference.
        num_resamples: How many resamples, at least 1.
        seed: Of the resampling.

    Returns:
        Alpha; None with a note where no unit has two answers or all answers are the same. Resamples
        in which all answers are the same are left out of the interval. Deterministic.

    Raises:
        ShapeError: if the ratings are not (U, A) with A at least 2.
        NonFiniteError: if a rating is infinite.
        UsageError: if there are too many distinct answers, or there is no resample.
    """
    check_resamples(num_resamples)
    table = _read_table(ratings)
    codes, num_values = _read_ratings(table)
    counts = _answer_counts(codes, num_values)
    kept, note = _paired(counts.sum(axis=1))
    if not kept.any():
        return Estimate(value=None, note=note)
    if num_values > MAX_DISTINCT:
        raise UsageError(
            f"There are {num_values} distinct ratings, and {MAX_DISTINCT} is the most. Round them, "
            "or use the correlation of annotators."
        )
    counts = counts[kept]
    values = np.unique(table[~np.isnan(table)])
    kinds, numbers = np.unique(counts, axis=0, return_counts=True)
    value = _alpha(kinds, numbers, values, level)
    if value is None:
        return Estimate(value=None, num=len(counts), note="Not defined: all answers are the same.")
    if len(counts) == 1:
        return Estimate(value=value, num=1, note="No interval: one unit.").noted(note)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(counts), numbers / len(counts), size=num_resamples)
    resampled = [_alpha(kinds, row, values, level) for row in drawn]
    low, high = np.percentile([each for each in resampled if each is not None], PERCENTILES_95)
    return Estimate(value=value, low=float(low), high=float(high), num=len(counts)).noted(note)


def leave_one_out_agreement(ratings: ArrayLike) -> Estimate:
    """Return how often an annotator agrees with what most of the others say: human to human.

    Each answer is compared with the commonest answer of the others on the same unit. If several
    are equally common, agreeing with one of them counts as its share of them, as if one were
    drawn. This is what a model that is compared with a majority of annotators can be held
    against.

    Args:
        ratings: (U, A) see the module.

    Returns:
        The share of answers, with the bootstrap interval over units; None with a note where no
        unit has two answers. Deterministic.

    Raises:
        ShapeError: if the ratings are not (U, A) with A at least 2.
        NonFiniteError: if a rating is infinite.
    """
    codes, num_values = _read_ratings(ratings)
    counts = _answer_counts(codes, num_values)
    kept, note = _paired(counts.sum(axis=1))
    if not kept.any():
        return Estimate(value=None, note=note)
    units, annotators = np.nonzero((codes >= 0) & kept[:, None])
    answers = codes[units, annotators]
    others = counts[units].astype(np.float64)
    others[np.arange(len(units)), answers] -= 1
    is_most = others == others.max(axis=1, keepdims=True)
    right = is_most[np.arange(len(units)), answers] / is_most.sum(axis=1)
    return cluster_interval(right, units).noted(note)


def leave_one_out_correlations(ratings: ArrayLike) -> tuple[Correlation, ...]:
    """Return how well each annotator's scores rise with the mean of the others': human to human.

    Spearman's correlation over the units that the annotator and at least one other scored. This is
    what the correlation of a model with the mean of annotators can be held against. Source: Ku et
    al., "VIEScore", ACL 2024, table 2, and its released notebook.

    Args:
        ratings: (U, A) see the module.

    Returns:
        One correlation for each annotator, without a value where it has none. Deterministic.

    Raises:
        ShapeError: if the ratings are not (U, A) with A at least 2.
        NonFiniteError: if a rating is infinite.
    """
    table = _read_table(ratings)
    is_given = ~np.isnan(table)
    found = []
    for place in range(table.shape[1]):
        others = np.delete(table, place, axis=1)
        num_others = np.delete(is_given, place, axis=1).sum(axis=1)
        kept = is_given[:, place] & (num_others > 0)
        means = np.nansum(others[kept], axis=1) / num_others[kept]
        found.append(spearman(table[kept, place], means))
    return tuple(found)


def _alpha(
    kinds: NDArray[np.int64], numbers: NDArray[np.int64], values: NDArray[np.float64], level: Level
) -> float | None:
    """Return alpha of units of some kinds, or None where all answers are the same.

    Args:
        kinds: (C, V) how often each answer was given in a unit of each kind, 2 answers or more.
        numbers: (C,) units of each kind.
        values: (V,) the answers, ascending.
        level: Of the answers.
    """
    weights = numbers / (kinds.sum(axis=1) - 1)
    coincidences = (kinds * weights[:, None]).T @ kinds
    np.fill_diagonal(coincidences, coincidences.diagonal() - weights @ kinds)
    totals = coincidences.sum(axis=1)
    distances = _distances(totals, values, level)
    expected = float(totals @ distances @ totals) / (totals.sum() - 1)
    if expected <= 0:
        return None
    return 1 - float((coincidences * distances).sum()) / float(expected)


def _distances(
    totals: NDArray[np.float64], values: NDArray[np.float64], level: Level
) -> NDArray[np.float64]:
    if level == "nominal":
        return 1 - np.eye(len(values))
    places = np.cumsum(totals) - totals / 2 if level == "ordinal" else values
    return np.square(places[:, None] - places[None, :])


def _read_table(ratings: ArrayLike) -> NDArray[np.float64]:
    table = as_numbers(ratings, name="ratings")
    if table.ndim != 2 or table.shape[1] < 2:
        raise ShapeError(
            f"ratings have shape {table.shape}, expected (U, A) with A at least 2. Pass a row for "
            "each unit and a column for each annotator, NaN where there is no answer."
        )
    if np.isinf(table).any():
        unit = int(np.isinf(table).any(axis=1).argmax())
        raise NonFiniteError(
            f"ratings are infinite, first in unit {unit}: {table[unit].tolist()}. Pass NaN where "
            "there is no answer."
        )
    return table


def _read_ratings(ratings: ArrayLike) -> tuple[NDArray[np.intp], int]:
    """Return answers as codes, (U, A), -1 where there is none, and how many codes there are."""
    table = _read_table(ratings)
    is_given = ~np.isnan(table)
    values, inverse = np.unique(table[is_given], return_inverse=True)
    codes = np.full(table.shape, -1, dtype=np.intp)
    codes[is_given] = inverse
    return codes, len(values)


def _answer_counts(codes: NDArray[np.intp], num_values: int) -> NDArray[np.int64]:
    """Return how often each answer was given in each unit, (U, V)."""
    counts = np.zeros((len(codes), num_values), dtype=np.int64)
    units, annotators = np.nonzero(codes >= 0)
    np.add.at(counts, (units, codes[units, annotators]), 1)
    return counts


def _paired(answers: NDArray[np.int64]) -> tuple[NDArray[np.bool_], str]:
    """Return which units have two answers or more, and what to say of the others."""
    kept = np.asarray(answers > 1)
    missing = int((~kept).sum())
    if missing == len(kept):
        return kept, "Not defined: no unit has two answers."
    return kept, f"{missing} of {len(kept)} units have fewer than two answers." if missing else ""
