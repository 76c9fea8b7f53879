"""Which question an annotator gets next, and how its candidates are laid out: seeded, no state.

Gold questions come once in every block of turns, at a place that the seed decides for each
annotator, so that nobody can tell them by their places.
"""

from __future__ import annotations

import hashlib
import random


def draw(seed: int, *parts: object) -> int:
    """Return a number from 0 to 2^64 - 1 that depends on the seed and the parts alone."""
    text = "\x1f".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def places_of(seed: int, *, annotator: str, question: int, num: int) -> tuple[int, ...]:
    """Return which candidate is shown at each place, for one annotator and one question."""
    places = list(range(num))
    random.Random(draw(seed, "places", annotator, question)).shuffle(places)  # noqa: S311
    return tuple(places)


def is_gold_turn(seed: int, *, annotator: str, turn: int, gold_share: float) -> bool:
    """Return whether an annotator gets a gold question at a turn, counted from 0.

    One turn in each block of round(1 / gold_share) turns.
    """
    if gold_share <= 0:
        return False
    size = round(1 / gold_share)
    block, place = divmod(turn, size)
    return place == draw(seed, "gold", annotator, block) % size


def turns_left(
    seed: int,
    *,
    annotator: str,
    turn: int,
    gold_share: float,
    num_questions: int,
    num_gold: int,
) -> int:
    """Return how many questions an annotator still gets, gold ones among them.

    Args:
        seed: Of the study.
        annotator: Who.
        turn: How many were answered or skipped.
        gold_share: Of the study.
        num_questions: How many others than gold ones are left for this annotator.
        num_gold: How many gold ones this annotator has not seen.
    """
    total = 0
    while num_questions > 0 and num_gold > 0 and gold_share > 0:
        if is_gold_turn(seed, annotator=annotator, turn=turn + total, gold_share=gold_share):
            num_gold -= 1
        else:
            num_questions -= 1
        total += 1
    return total + num_questions
