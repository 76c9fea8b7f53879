"""Scores in order, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from visreward.core.types import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One place of a ranking.

    Attributes:
        rank: 1 is best; equal scores share a rank.
        index: Which of the given images.
        score: Its score.
    """

    rank: int
    index: int
    score: Score


def order(scores: Sequence[Score]) -> list[Ranked]:
    """Sort scores, best first; equal values share the better rank."""
    indices = sorted(range(len(scores)), key=lambda index: -scores[index].value)
    ranked: list[Ranked] = []
    for place, index in enumerate(indices, start=1):
        tied = ranked and ranked[-1].score.value == scores[index].value
        rank = ranked[-1].rank if tied else place
        ranked.append(Ranked(rank=rank, index=index, score=scores[index]))
    return ranked
