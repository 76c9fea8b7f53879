"""How much each part of a step counts, so that any division of a batch gives the same loss.

A loss that is a mean over pairs is not the mean of its means over parts: they may have unequal
numbers of pairs. Each part's mean is therefore weighted by its share of the pairs of all parts of
all processes, times the number of parts, because these are averaged afterwards.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from accelerate.utils import gather_object

from visreward.training.data.batches import Batch
from visreward.training.data.pairs import ordered_pairs, tied_pairs
from visreward.training.data.questions import (
    Question,
    num_dimensions,
    other_prompts,
    rival_prompts,
)
from visreward.training.objectives.base import Objective
from visreward.training.options.objective_config import PairwiseConfig


def with_shares(parts: Sequence[Batch], objective: Objective, num_processes: int) -> list[Batch]:
    """Return the parts of a step with their shares; every process has to call this.

    Args:
        parts: The parts of this process; the others have as many.
        objective: What counts.
        num_processes: How many processes there are.
    """
    num_parts = len(parts) * num_processes
    if num_parts == 1:
        return list(parts)
    counts = [objective.counts(part) for part in parts]
    total: Counter[str] = Counter()
    for each in gather_object(counts):
        total.update(each)
    return [
        replace(
            part,
            shares={
                name: number * num_parts / total[name] if total[name] else 1.0
                for name, number in count.items()
            },
        )
        for part, count in zip(parts, counts, strict=True)
    ]


def count_comparisons(questions: Sequence[Question], config: PairwiseConfig) -> dict[str, int]:
    """Return over how many comparisons each term of the pairwise loss is a mean, by its name."""
    overall = [question.known.overall for question in questions]
    found = {"accuracy": len(ordered_pairs(overall)), "overall": _count(overall, config)}
    for number in range(num_dimensions(questions)):
        ratings = [question.ratings(number) for question in questions]
        found[f"dimension {number}"] = _count(ratings, config)
    found["other prompt"] = len(other_prompts(questions)) + len(rival_prompts(questions))
    found["language"] = len(questions)
    return found


def _count(ratings: Sequence[Sequence[float]], config: PairwiseConfig) -> int:
    has_ties = config.ties == "both-directions"
    if config.loss == "pointwise":
        return sum(not math.isnan(rating) for row in ratings for rating in row)
    if config.loss == "listwise":
        return sum(len(row if has_ties else set(row)) > 1 for row in ratings)
    ordered, tied = len(ordered_pairs(ratings)), len(tied_pairs(ratings))
    if config.loss == "bradley-terry-ties":
        return ordered + tied
    return ordered + 2 * tied if has_ties else ordered
