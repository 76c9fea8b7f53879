"""How far annotators agree, and how right each is on gold questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from visreward.demo.annotate.records import Answer, Kind, gold_accuracy, relation
from visreward.evaluation.metrics.agreement import (
    Level,
    krippendorff_alpha,
    leave_one_out_agreement,
    percent_agreement,
)
from visreward.evaluation.metrics.intervals import Estimate

Ratings = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorReport:
    """What one annotator did.

    Attributes:
        name: Who.
        num_answered: Answers that stand, gold questions left out.
        num_skipped: How many were skipped.
        num_undone: How many were taken back.
        gold: Mean accuracy on gold questions, 0 to 1, or None without one.
        num_gold: How many gold questions were answered.
        first_share: How often the image that was shown first was called the better of two, of the
            pairs that were not ties; None without one. Far from 0.5 is a habit, not a taste.
        seconds: Median time of an answer, or None without one.
    """

    name: str
    num_answered: int
    num_skipped: int
    num_undone: int
    gold: float | None
    num_gold: int
    first_share: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementLine:
    """One measure of agreement on one thing that was asked.

    Attributes:
        about: `pair`, `rank` or a dimension.
        measure: Such as `Krippendorff's alpha, nominal`.
        estimate: Its value.
    """

    about: str
    measure: str
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyReport:
    """What is known about the quality of the answers.

    Attributes:
        annotators: One entry each, by name.
        agreement: Empty with fewer than two annotators.
        problems: Images that could not be shown, each reason once.
    """

    annotators: tuple[AnnotatorReport, ...]
    agreement: tuple[AgreementLine, ...]
    problems: tuple[str, ...]


def study_report(kind: Kind, answers: Sequence[Answer]) -> StudyReport:
    """Return how far the annotators of a study agree, and how right they are. Deterministic.

    Units are questions for `pair`, whose answers are names (first better, tie, second better), and
    candidates for `rank` and `scores`. The candidates of a question are not independent, so the
    intervals of the latter are somewhat too narrow. Gold questions are left out.

    Args:
        kind: What was asked.
        answers: All answers of the study.
    """
    names = sorted({answer.annotator for answer in answers})
    standing = [answer for answer in answers if not answer.is_superseded]
    asked = [answer for answer in standing if answer.question.known is None]
    return StudyReport(
        annotators=tuple(
            _annotator(kind, name, [each for each in answers if each.annotator == name])
            for name in names
        ),
        agreement=tuple(_agreement(kind, asked, names)) if len(names) > 1 else (),
        problems=tuple(dict.fromkeys(each.problem for each in standing if each.problem)),
    )


def _annotator(kind: Kind, name: str, answers: Sequence[Answer]) -> AnnotatorReport:
    standing = [answer for answer in answers if not answer.is_superseded]
    given = [answer for answer in standing if answer.verdict is not None]
    gold = [
        gold_accuracy(kind, answer.verdict, answer.question.known)
        for answer in given
        if answer.verdict is not None and answer.question.known is not None
    ]
    firsts = [is_first for answer in given for is_first in _first_wins(kind, answer)]
    return AnnotatorReport(
        name=name,
        num_answered=len(given) - len(gold),
        num_skipped=len(standing) - len(given),
        num_undone=len(answers) - len(standing),
        gold=sum(gold) / len(gold) if gold else None,
        num_gold=len(gold),
        first_share=sum(firsts) / len(firsts) if firsts else None,
        seconds=median(answer.seconds for answer in given) if given else None,
    )


def _first_wins(kind: Kind, answer: Answer) -> list[bool]:
    """Return, for every two candidates that are no tie, whether the one shown first is better."""
    if kind is Kind.SCORES or answer.verdict is None:
        return []
    shown = answer.places
    relations = [
        relation(answer.verdict, shown[one], shown[other])
        for one in range(len(shown))
        for other in range(one + 1, len(shown))
    ]
    return [each > 0 for each in relations if each]


def _agreement(kind: Kind, asked: Sequence[Answer], names: Sequence[str]) -> list[AgreementLine]:
    lines: list[AgreementLine] = []
    for column, about in enumerate(kind.columns):
        table = _ratings(kind, asked, names, column)
        if not len(table):
            continue
        levels: tuple[Level, ...] = ("nominal",) if kind is Kind.PAIR else ("ordinal",)
        if kind is Kind.SCORES:
            levels = ("ordinal", "interval")
        found = [
            (f"Krippendorff's alpha, {level}", krippendorff_alpha(table, level=level))
            for level in levels
        ]
        found += [
            ("same answer, two annotators", percent_agreement(table)),
            ("same answer as most others", leave_one_out_agreement(table)),
        ]
        what = "pair" if kind is Kind.PAIR else about
        lines += [AgreementLine(about=what, measure=name, estimate=value) for name, value in found]
    return lines


def _ratings(kind: Kind, asked: Sequence[Answer], names: Sequence[str], column: int) -> Ratings:
    """Return (units, annotators), NaN where there is no answer."""
    cells: dict[tuple[int, int], dict[str, float]] = {}
    for answer in asked:
        verdict = answer.verdict
        if verdict is None:
            continue
        if kind is Kind.PAIR:
            values = [float(relation(verdict, 0, 1))]
        else:
            values = [float(row[column]) for row in verdict.rows]
        for unit, value in enumerate(values):
            cells.setdefault((answer.question_id, unit), {})[answer.annotator] = value
    return np.array([[row.get(name, math.nan) for name in names] for row in cells.values()])
