"""The comparisons of a batch, with their images counted through all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from visreward.training.data.batches import Comparison, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One comparison of a batch.

    Attributes:
        row: Which row it belongs to.
        start: Number of its first image; images are counted through all comparisons.
        known: What is known.
    """

    row: int
    start: int
    known: Comparison

    @property
    def best(self) -> int:
        """Return the number of its best image."""
        return self.start + self.known.best

    @property
    def stop(self) -> int:
        """Return the number behind its last image."""
        return self.start + len(self.known.overall)

    def ratings(self, dimension: int) -> list[float]:
        """Return the ratings of its images on one dimension, NaN where there are none."""
        if not self.known.dimensions:
            return [math.nan] * len(self.known.overall)
        return [each[dimension] for each in self.known.dimensions]


def questions_of(rows: Sequence[Row]) -> list[Question]:
    """Return the comparisons of all rows, in order."""
    found: list[Question] = []
    start = 0
    for number, row in enumerate(rows):
        for known in row.comparisons():
            found.append(Question(row=number, start=start, known=known))
            start += len(known.overall)
    return found


def num_dimensions(questions: Sequence[Question]) -> int:
    """Return K, or 0 where all images are rated as a whole only."""
    rated = [question.known.dimensions for question in questions]
    return max(len(each[0]) if each else 0 for each in rated)


def rival_prompts(questions: Sequence[Question]) -> list[tuple[int, int]]:
    """Return pairs of one image under two prompts of its row: its own, and one it fits less."""
    return [
        (question.best, rival.start + question.known.best)
        for question, rival in permutations(questions, 2)
        if question.row == rival.row
        and question.known.overall[question.known.best] > rival.known.overall[question.known.best]
    ]


def other_prompts(questions: Sequence[Question]) -> list[tuple[int, str]]:
    """Return the best image of each comparison, and the first prompt of the next row.

    Left out where the row has that prompt itself.
    """
    prompts: dict[int, list[str]] = {}
    for question in questions:
        prompts.setdefault(question.row, []).append(question.known.prompt)
    others = {row: prompts[(row + 1) % len(prompts)][0] for row in prompts}
    return [
        (question.best, others[question.row])
        for question in questions
        if others[question.row] not in prompts[question.row]
    ]
