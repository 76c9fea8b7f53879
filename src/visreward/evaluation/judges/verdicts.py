"""Pairs of candidates, and what ranks say of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from visreward.evaluation.benchmarks.records import Outcome

if TYPE_CHECKING:
    from visreward.evaluation.judges.config import Ties


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
