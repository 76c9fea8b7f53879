"""What is asked, what is answered, and how a study is set up.

A verdict is one row of whole numbers for each candidate. What the numbers mean follows from the
kind of question: a rank for `pair` and `rank` (1 = best, ties share one), a score from 1 to 4 on
each dimension for `scores`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

from visreward.core.errors import UsageError
from visreward.data.editreward_data import DIMENSIONS

MIN_SCORE: Final = 1
MAX_SCORE: Final = 4
MAX_CANDIDATES: Final = 9
"""So many candidates have a digit key each."""

_MAX_NAME: Final = 60

Rows: TypeAlias = tuple[tuple[int, ...], ...]
"""One row of numbers for each candidate."""


class Kind(StrEnum):
    """What annotators are asked."""

    PAIR = "pair"
    RANK = "rank"
    SCORES = "scores"

    @property
    def columns(self) -> tuple[str, ...]:
        """Return what each number of a candidate's row means."""
        return DIMENSIONS if self is Kind.SCORES else ("rank",)


class Order(StrEnum):
    """Which question comes next."""

    SHUFFLED = "shuffled"
    FIXED = "fixed"
    DISAGREEMENT = "disagreement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One image of a question.

    Attributes:
        image: The file.
        generator: What made it, or None if unknown; never shown to annotators.
    """

    image: Path
    generator: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an annotator says of the candidates of a question.

    Attributes:
        rows: One row for each candidate, in the order of the question; see the module.
    """

    rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One thing to judge.

    Attributes:
        name: Its name in the file of the groups.
        prompt: The text asked for; for editing, the edit instruction.
        sources: The images before an edit; empty for generated images.
        candidates: Two or more; with `scores`, one or more.
        known: The right answer of a gold question, or None.
    """

    name: str
    prompt: str
    sources: tuple[Path, ...]
    candidates: tuple[Candidate, ...]
    known: Verdict | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySettings:
    """How a study is run; fixed when its store is made.

    Attributes:
        kind: What is asked.
        order: Which question comes next.
        answers_each: How many annotators answer each question.
        gold_share: Share of gold questions among those that an annotator sees, 0 to 0.5.
        seed: Of all shuffling.
        models: Whose disagreement orders the questions; empty with another order.
    """

    kind: Kind = Kind.PAIR
    order: Order = Order.SHUFFLED
    answers_each: int = 1
    gold_share: float = 0.1
    seed: int = 0
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.answers_each < 1:
            raise UsageError(f"answers_each is {self.answers_each}. Give 1 or more.")
        if not 0 <= self.gold_share <= 0.5:
            raise UsageError(f"gold_share is {self.gold_share}. Give a share from 0 to 0.5.")
        if self.order is Order.DISAGREEMENT and len(set(self.models)) < 2:
            raise UsageError(
                f"The order is by disagreement, but {len(set(self.models))} models were given. "
                "Give two different ones or more: --model NAME --model NAME"
            )
        if self.models and self.order is not Order.DISAGREEMENT:
            raise UsageError(
                f"Models were given, but the order is '{self.order}'. Add --order disagreement."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQuestion:
    """A question as one annotator sees it.

    Attributes:
        ticket: What an answer has to name; used once.
        question: What is asked.
        places: Which candidate stands at each place of the page.
    """

    ticket: str
    question: Question
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an annotator answered, and what was on the page.

    Attributes:
        annotator: Who.
        question: What was asked.
        question_id: Its number in the store.
        places: Which candidate stood at each place of the page.
        verdict: The answer, or None where the question was skipped.
        problem: Why an image could not be shown, or None.
        seconds: From showing the question to the answer.
        is_superseded: Whether it was taken back.
    """

    annotator: str
    question: Question
    question_id: int
    places: tuple[int, ...]
    verdict: Verdict | None
    problem: str | None
    seconds: float
    is_superseded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an annotator is.

    Attributes:
        num_answered: How many questions, gold ones among them.
        num_skipped: How many were skipped.
        num_left: How many still come, the open one among them.
    """

    num_answered: int
    num_skipped: int
    num_left: int


def annotator_name(text: str) -> str:
    """Return a name as the store keeps it: no space around it, one form of each letter.

    Raises:
        UsageError: if nothing is left, it is longer than 60 characters, or not printable.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        raise UsageError(
            f"The name {name[:_MAX_NAME]!r} cannot be used. Give 1 to {_MAX_NAME} printable "
            "characters."
        )
    return name


def checked_verdict(kind: Kind, num_candidates: int, rows: Rows) -> Verdict:
    """Return a verdict after a check, its ranks counted anew: 1 + how many are better.

    Raises:
        UsageError: if a candidate or a number is missing, or a number is out of range.
    """
    top = MAX_SCORE if kind is Kind.SCORES else num_candidates
    is_whole = len(rows) == num_candidates and all(
        len(row) == len(kind.columns) and all(1 <= number <= top for number in row) for row in rows
    )
    if not is_whole:
        raise UsageError(
            f"The answer {rows!r:.100} is not whole. Give each of {num_candidates} candidates "
            f"{len(kind.columns)} number(s) from 1 to {top}."
        )
    if kind is Kind.SCORES:
        return Verdict(rows=rows)
    ranks = [row[0] for row in rows]
    return Verdict(rows=tuple((1 + sum(each < rank for each in ranks),) for rank in ranks))


def gold_accuracy(kind: Kind, verdict: Verdict, known: Verdict) -> float:
    """Return how right a verdict on a gold question is, 0 to 1.

    pair, rank: share of the pairs of candidates that stand in the known relation (better, worse
    or tied). scores: share of the scores within one point of the known one.
    """
    if kind is Kind.SCORES:
        pairs = [
            abs(given - wanted) <= 1
            for row, right in zip(verdict.rows, known.rows, strict=True)
            for given, wanted in zip(row, right, strict=True)
        ]
    else:
        places = range(len(verdict.rows))
        pairs = [
            relation(verdict, one, other) == relation(known, one, other)
            for one in places
            for other in places
            if one < other
        ]
    return sum(pairs) / len(pairs)


def relation(ranks: Verdict, one: int, other: int) -> int:
    """Return 1 where candidate `one` is ranked before `other`, -1 behind it, 0 for a tie."""
    first, second = ranks.rows[one][0], ranks.rows[other][0]
    return (first < second) - (first > second)
