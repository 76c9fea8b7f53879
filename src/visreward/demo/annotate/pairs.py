"""From the answers of all annotators to one judgement of each pair of images."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from visreward.demo.annotate.records import Answer, Candidate, Kind, Question, relation


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPair:
    """Two images of one prompt and what the annotators say of them together.

    Attributes:
        question: What was asked; its prompt and sources.
        better: The preferred one; the first of the question where none is.
        worse: The other one.
        is_tie: Whether neither is preferred.
        votes: How many annotators put (better, worse) first; those who saw a tie are in neither.
        scores: With `scores`, the mean score on each dimension of (better, worse); otherwise None.
    """

    question: Question
    better: Candidate
    worse: Candidate
    is_tie: bool
    votes: tuple[int, int]
    scores: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def judged_pairs(kind: Kind, answers: Sequence[Answer]) -> list[JudgedPair]:
    """Return every pair of candidates that was judged, in the order of the questions.

    With `pair` and `rank` the better image is the one that more annotators put first; it is a tie
    where both have the same number, or where more saw a tie than preferred either. With `scores` it
    is the one with the higher mean over annotators and dimensions, and an annotator votes for the
    one with the higher sum. Gold questions, skips and what was taken back are left out.

    Args:
        kind: What was asked.
        answers: All answers of the study.
    """
    by_question: dict[int, list[Answer]] = {}
    for answer in answers:
        is_gold = answer.question.known is not None
        if not (is_gold or answer.is_superseded or answer.verdict is None):
            by_question.setdefault(answer.question_id, []).append(answer)
    return [
        _judged(kind, by_question[number], one, other)
        for number in sorted(by_question)
        for one, other in itertools.combinations(
            range(len(by_question[number][0].question.candidates)), 2
        )
    ]


def _judged(kind: Kind, answers: Sequence[Answer], one: int, other: int) -> JudgedPair:
    relations = [_relation(kind, answer, one, other) for answer in answers]
    votes = (relations.count(1), relations.count(-1))
    if kind is Kind.SCORES:
        scores = (_means(answers, one), _means(answers, other))
        # Sums of whole numbers compare exactly, means of thirds do not.
        order = _total(answers, one) - _total(answers, other)
    else:
        scores = None
        order = 0 if relations.count(0) > max(votes) else votes[0] - votes[1]
    question = answers[0].question
    if order < 0:
        one, other, votes = other, one, (votes[1], votes[0])
        scores = scores and (scores[1], scores[0])
    return JudgedPair(
        question=question,
        better=question.candidates[one],
        worse=question.candidates[other],
        is_tie=order == 0,
        votes=votes,
        scores=scores,
    )


def _relation(kind: Kind, answer: Answer, one: int, other: int) -> int:
    assert answer.verdict is not None
    if kind is not Kind.SCORES:
        return relation(answer.verdict, one, other)
    first, second = sum(answer.verdict.rows[one]), sum(answer.verdict.rows[other])
    return (first > second) - (first < second)


def _rows(answers: Sequence[Answer], candidate: int) -> list[tuple[int, ...]]:
    return [answer.verdict.rows[candidate] for answer in answers if answer.verdict is not None]


def _total(answers: Sequence[Answer], candidate: int) -> int:
    return sum(sum(row) for row in _rows(answers, candidate))


def _means(answers: Sequence[Answer], candidate: int) -> tuple[float, ...]:
    rows = _rows(answers, candidate)
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))
