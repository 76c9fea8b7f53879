"""Gold accuracy, agreement and habits of annotators, counted by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from visreward.demo.annotate.quality import study_report
from visreward.demo.annotate.records import (
    Answer,
    Candidate,
    Kind,
    Question,
    Rows,
    Verdict,
    checked_verdict,
    gold_accuracy,
)
from visreward.evaluation.metrics.agreement import krippendorff_alpha

FIRST, SECOND, TIE = ((1,), (2,)), ((2,), (1,)), ((1,), (1,))


def answer(
    annotator: str,
    number: int,
    rows: Rows | None,
    *,
    known: Rows | None = None,
    is_superseded: bool = False,
    num: int = 2,
    problem: str | None = None,
) -> Answer:
    return Answer(
        annotator=annotator,
        question=Question(
            name=str(number),
            prompt="p",
            sources=(),
            candidates=tuple(Candidate(image=Path(f"{number}-{n}.png")) for n in range(num)),
            known=None if known is None else Verdict(rows=known),
        ),
        question_id=number,
        places=tuple(range(num)),
        verdict=None if rows is None else Verdict(rows=rows),
        problem=problem,
        seconds=2.0,
        is_superseded=is_superseded,
    )


@pytest.mark.parametrize(
    ("kind", "given", "known", "accuracy"),
    [
        (Kind.PAIR, FIRST, FIRST, 1.0),
        (Kind.PAIR, TIE, FIRST, 0.0),
        (Kind.RANK, ((1,), (2,), (3,)), ((1,), (3,), (2,)), 2 / 3),
        (Kind.SCORES, ((4, 1), (2, 2)), ((3, 1), (4, 4)), 0.5),
    ],
)
def test_gold_accuracy_matches_hand_count(
    kind: Kind, given: Rows, known: Rows, accuracy: float
) -> None:
    found = gold_accuracy(kind, Verdict(rows=given), Verdict(rows=known))
    assert found == pytest.approx(accuracy)


def test_checked_verdict_counts_ranks_anew() -> None:
    assert checked_verdict(Kind.RANK, 4, ((2,), (2,), (4,), (3,))).rows == ((1,), (1,), (4,), (3,))


def test_study_report_counts_each_annotator_alone() -> None:
    report = study_report(
        Kind.PAIR,
        [
            answer("ben", 0, FIRST),
            answer("ben", 1, None, problem="torn"),
            answer("ben", 2, FIRST, is_superseded=True),
            answer("ben", 2, SECOND),
            answer("ben", 3, TIE),
            answer("ben", 9, FIRST, known=FIRST),
            answer("ben", 8, FIRST, known=SECOND),
            answer("ana", 8, SECOND, known=SECOND),
        ],
    )
    ana, ben = report.annotators
    assert (ana.name, ana.num_answered, ana.gold, ana.num_gold) == ("ana", 0, 1.0, 1)
    assert (ben.num_answered, ben.num_skipped, ben.num_undone) == (3, 1, 1)
    assert (ben.gold, ben.num_gold, ben.seconds) == (0.5, 2, 2.0)
    assert ben.first_share == pytest.approx(3 / 4)  # first, second, first, first; no tie
    assert report.problems == ("torn",)
    assert {line.estimate.value for line in report.agreement} == {None}  # nobody shares one


def test_study_report_pair_agreement_is_nominal_alpha_of_the_answers() -> None:
    codes: dict[Rows | None, float] = {FIRST: 1.0, SECOND: -1.0, TIE: 0.0, None: math.nan}
    given: list[tuple[Rows | None, Rows | None]] = [
        (FIRST, FIRST),
        (SECOND, SECOND),
        (TIE, FIRST),
        (SECOND, TIE),
        (FIRST, None),
    ]
    answers = [
        answer(name, number, rows)
        for number, row in enumerate(given)
        for name, rows in zip(("ana", "ben"), row, strict=True)
    ]
    report = study_report(Kind.PAIR, answers)
    table = np.array([[codes[rows] for rows in row] for row in given])
    alpha = report.agreement[0]
    assert alpha.measure == "Krippendorff's alpha, nominal"
    assert alpha.estimate == krippendorff_alpha(table, level="nominal")
    # Eight answers in pairs: 3 first, 3 second, 2 ties; 1 - (2 * 2 / 8) / (1 - 14 / 56).
    assert alpha.estimate.value == pytest.approx(1 - (4 / 8) / (1 - 14 / 56))
    assert report.agreement[1].estimate.value == pytest.approx(0.5)


def test_study_report_scores_have_alpha_on_each_dimension_and_level() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(1, 5, size=(6, 2, 2, 2))  # question, annotator, candidate, dimension
    answers = [
        answer(name, number, tuple(tuple(int(s) for s in row) for row in scores[number, place]))
        for number in range(6)
        for place, name in enumerate(("ana", "ben"))
    ]
    report = study_report(Kind.SCORES, answers)
    for dimension, about in enumerate(("instruction_following", "visual_quality")):
        table = scores[:, :, :, dimension].transpose(0, 2, 1).reshape(12, 2)
        for level in ("ordinal", "interval"):
            found = next(
                line.estimate
                for line in report.agreement
                if (line.about, line.measure) == (about, f"Krippendorff's alpha, {level}")
            )
            assert found == krippendorff_alpha(table, level=level)


def test_study_report_ranks_have_ordinal_alpha_of_candidates() -> None:
    one, other = ((1,), (2,), (3,)), ((1,), (3,), (2,))
    answers = [
        answer(name, number, rows, num=3)
        for number in range(2)
        for name, rows in (("ana", one), ("ben", other))
    ]
    found = study_report(Kind.RANK, answers).agreement[0]
    table = np.array([[1, 1], [2, 3], [3, 2]] * 2)
    assert (found.about, found.measure) == ("rank", "Krippendorff's alpha, ordinal")
    assert found.estimate == krippendorff_alpha(table, level="ordinal")
