"""How far a model and people agree: on pairs, on groups, on candidates scored alone.

Shape letters: G groups, M pairs of candidates that people compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visreward.evaluation.benchmarks.pairs import PairTable, finite_value, pair_table
from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult
from visreward.evaluation.benchmarks.results import BenchResult

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A model, what it reached, and its answers.

    Attributes:
        result: What it reached.
        groups: Its G answers.
        pairs: The same, two candidates at a time.
    """

    result: BenchResult
    groups: Sequence[GroupResult]
    pairs: PairTable

    @property
    def name(self) -> str:
        """Return what to call the model."""
        return self.result.model


def measured(result: BenchResult, groups: Sequence[GroupResult]) -> Measured:
    """Return a model with its answers as pairs too."""
    return Measured(result=result, groups=groups, pairs=pair_table(groups))


def pair_deviations(model: Measured) -> Floats:
    """Return (M,) the standard deviation of each margin, 0 where the model gives none."""
    pairs = model.pairs
    return np.array(
        [
            math.hypot(_sigma(candidates[first]), _sigma(candidates[second]))
            for candidates, first, second in zip(
                (model.groups[place].candidates for place in pairs.groups.tolist()),
                pairs.firsts.tolist(),
                pairs.seconds.tolist(),
                strict=True,
            )
        ],
        dtype=np.float64,
    )


def certainty_of(pairs: PairTable) -> Floats:
    """Return (M,) margins in units of their root mean square, above 0 where people agree.

    A tie of people's counts as less agreed the further apart the scores are. NaN where the model
    says nothing.
    """
    known = pairs.margins[np.isfinite(pairs.margins)]
    scale = math.sqrt(float(np.mean(known**2))) if len(known) else 0.0
    scaled = pairs.margins / (scale or 1.0)
    return np.where(pairs.labels == 0, -np.abs(scaled), scaled * pairs.labels)


def agreement_of(model: Measured) -> Floats:
    """Return (G,) how far a model agrees with people on each group, above 0 where it does.

    The certainty of the pair that is worst in the group, of those that people do not call a tie
    where there are any. Where people scored candidates alone, it is minus the gap between the
    candidate's place among all human scores and its place among all scores of the model, both in
    [0, 1]. NaN where there is nothing to compare.
    """
    found = np.full(len(model.groups), np.inf)
    pairs = model.pairs.where(np.isfinite(model.pairs.margins))
    has_order = np.zeros(len(found), dtype=np.bool_)
    has_order[pairs.groups[pairs.labels != 0]] = True
    counted = (pairs.labels != 0) | ~has_order[pairs.groups]
    np.minimum.at(found, pairs.groups[counted], certainty_of(pairs)[counted])
    found[np.isinf(found)] = np.nan
    alone, human, value = scored_alone(model.groups)
    if len(alone) > 1:
        found[alone] = -np.abs(_places(human) - _places(value))
    return found


def scored_alone(groups: Sequence[GroupResult]) -> tuple[Ints, Floats, Floats]:
    """Return the groups of one candidate that people and the model scored, and both scores."""
    rows = [
        (number, group.candidates[0].human, finite_value(group.candidates[0]))
        for number, group in enumerate(groups)
        if len(group.candidates) == 1 and group.candidates[0].human is not None
    ]
    columns = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    number, human, value = columns[:, np.isfinite(columns[2])]
    return number.astype(np.int64), human, value


def _sigma(candidate: CandidateResult) -> float:
    sigma = candidate.sigma
    return sigma if sigma is not None and math.isfinite(sigma) else 0.0


def _places(values: Floats) -> Floats:
    """Return (N,) the place of each value among all, from 0 to 1; equal values share theirs."""
    ordered = np.sort(values)
    middle = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    places: Floats = (middle - 1) / (2 * max(1, len(values) - 1))
    return places
