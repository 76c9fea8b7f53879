"""What several answers about the same two candidates come to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from visreward.evaluation.benchmarks.records import Outcome, PairVerdict

if TYPE_CHECKING:
    from visreward.evaluation.judges.config import Ties

_VALUES: Final[dict[Outcome, int]] = {"first": 1, "tie": 0, "second": -1}


def mean_verdict(verdict: PairVerdict) -> float | None:
    """Return the mean over the orders asked, first = 1, tie = 0, second = -1.

    In [-1, 1]; a judge that always says the same side whatever is shown there comes to 0. None
    where an order has no outcome: half of a question is no answer to it.
    """
    values = [None if outcome is None else _VALUES[outcome] for outcome in verdict.outcomes]
    read = [value for value in values if value is not None]
    return sum(read) / len(read) if read and len(read) == len(values) else None


def averaged_outcome(verdict: PairVerdict) -> Outcome | None:
    """Return which candidate is better by `mean_verdict`; a mean of 0 is a tie."""
    mean = mean_verdict(verdict)
    if mean is None:
        return None
    return "tie" if mean == 0 else "first" if mean > 0 else "second"


def pairs_of(num: int) -> Iterator[tuple[int, int]]:
    """Return the places of every two of `num` candidates, the earlier one first."""
    return itertools.combinations(range(num), 2)


def outcome_of_ranks(ranks: Sequence[int], *, first: int, second: int) -> Outcome:
    """Return which of two places is better by its rank, 1 = best."""
    if ranks[first] == ranks[second]:
        return "tie"
    return "first" if ranks[first] < ranks[second] else "second"


def has_ties(ties: Ties, *, num_candidates: int) -> bool:
    """Return whether a tie is among the answers in a group of so many candidates."""
    return ties == "always" or (ties == "groups_of_two" and num_candidates == 2)
