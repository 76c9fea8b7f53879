"""Exports against votes counted by brute force, and through the readers of training data."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visreward.core.errors import DataError, UsageError
from visreward.data.formats import PREFERENCE_FORMATS
from visreward.data.preference_check import check_preferences
from visreward.data.preference_files import PreferenceData
from visreward.data.rated_edits import EditRewardData
from visreward.data.scenes.annotators import confidence_of
from visreward.demo.annotate.export import Layout, export
from visreward.demo.annotate.pairs import judged_pairs
from visreward.demo.annotate.records import (
    Answer,
    Candidate,
    Kind,
    Question,
    Rows,
    Verdict,
)
from visreward.demo.annotate.store import Store

if TYPE_CHECKING:
    from tests.demo.annotate.conftest import StudyMaker

FIRST, SECOND, TIE = ((1,), (2,)), ((2,), (1,)), ((1,), (1,))


def answer_all(store: Store, annotator: str, rows_of: dict[str, Rows]) -> None:
    """Answer everything, by the name of the question and in the order of its candidates."""
    while (opened := store.open_question(annotator)) is not None:
        rows = rows_of[opened.question.name]
        shown = tuple(rows[place] for place in opened.places)
        assert store.answer(annotator, ticket=opened.ticket, rows=shown)


def test_export_hpdv3_counts_votes_and_leaves_ties_and_gold_out(
    make_study: StudyMaker, tmp_path: Path
) -> None:
    verdicts = {
        "groups.jsonl:0": (FIRST, FIRST, SECOND),
        "groups.jsonl:1": (SECOND, SECOND, SECOND),
        "groups.jsonl:2": (FIRST, SECOND, TIE),
        "groups.jsonl:3": (FIRST, TIE, TIE),
        "gold.jsonl:0": (FIRST, FIRST, FIRST),
    }
    with make_study(num_gold=1, gold_share=0.5, answers_each=3) as store:
        for place, name in enumerate(("ana", "ben", "cem")):
            answer_all(store, name, {key: rows[place] for key, rows in verdicts.items()})
        answers = store.answers()
    assert any(answer.question.known for answer in answers)
    written = export(Kind.PAIR, answers, layout=Layout.HPDV3, output=tmp_path / "train.json")
    assert (written.num_rows, written.num_ties, written.num_left_out) == (2, 0, 2)
    rows = json.loads((tmp_path / "train.json").read_text())
    assert rows == [
        {
            "prompt": "groups prompt 0",
            "choice_dist": [2, 1],
            "confidence": confidence_of(2, 1),
            "path1": "groups-0-0.png",
            "path2": "groups-0-1.png",
            "model1": "maker-0",
            "model2": "maker-1",
        },
        {
            "prompt": "groups prompt 1",
            "choice_dist": [3, 0],
            "confidence": confidence_of(3, 0),
            "path1": "groups-1-1.png",
            "path2": "groups-1-0.png",
            "model1": "maker-1",
            "model2": "maker-0",
        },
    ]
    report = check_preferences(
        PREFERENCE_FORMATS["hpdv3"], tmp_path / "train.json", open_images=True
    )
    assert (report.ok, report.problems) == (True, ())
    row = PreferenceData(PREFERENCE_FORMATS["hpdv3"], tmp_path / "train.json").split("train")[0]
    assert [(image.rank, image.votes) for image in row.images] == [(1, 2), (2, 1)]


def test_export_editreward_ties_and_scores_are_what_its_readers_read(
    make_study: StudyMaker, tmp_path: Path
) -> None:
    scores = {
        "ana": ((4, 4), (2, 3), (1, 1)),
        "ben": ((2, 3), (3, 4), (1, 2)),  # the first two tie over both: 4+4+2+3, 2+3+3+4 = 13, 12
    }
    with make_study(
        kind=Kind.SCORES, num=2, num_candidates=3, is_edit=True, answers_each=2
    ) as store:
        for name, rows in scores.items():
            answer_all(store, name, {f"groups.jsonl:{number}": rows for number in range(2)})
        answers = store.answers()
    output = tmp_path / "train.json"
    written = export(Kind.SCORES, answers, layout=Layout.EDITREWARD, output=output)
    assert (written.num_rows, written.num_ties) == (6, 0)
    assert check_preferences(PREFERENCE_FORMATS["editreward"], output).ok
    edits = EditRewardData(output).split("train")
    assert len(edits) == 2
    found = {image.image.name: image.dimensions for image in edits[0].images}
    assert found == {
        "groups-0-0.png": (3.0, 3.5),
        "groups-0-1.png": (2.5, 3.5),
        "groups-0-2.png": (1.0, 1.5),
    }
    row = json.loads(output.read_text())[0]
    assert row["choice_dist"] == [1, 1]
    assert row["model1_overall_score"] == 3.25
    assert row["path_src"] == "groups-0-0.png"


def test_export_editreward_tie_has_tie_case(make_study: StudyMaker, tmp_path: Path) -> None:
    with make_study(num=1, is_edit=True) as store:
        answer_all(store, "ana", {"groups.jsonl:0": TIE})
        answers = store.answers()
    output = tmp_path / "train.json"
    written = export(Kind.PAIR, answers, layout=Layout.EDITREWARD, output=output)
    assert (written.num_rows, written.num_ties, written.num_left_out) == (1, 1, 0)
    assert check_preferences(PREFERENCE_FORMATS["editreward"], output).ok
    (row,) = PreferenceData(PREFERENCE_FORMATS["editreward"], output).split("train")
    assert row.is_tie
    assert row.confidence is None


def test_export_images_outside_the_folder_are_named_or_copied(
    make_study: StudyMaker, tmp_path: Path
) -> None:
    with make_study() as store:
        answer_all(store, "ana", {f"groups.jsonl:{n}": FIRST for n in range(4)})
        answers = store.answers()
    output = tmp_path / "deep" / "train.json"
    with pytest.raises(UsageError, match="--copy-images"):
        export(Kind.PAIR, answers, layout=Layout.HPDV3, output=output)
    assert not output.exists()
    export(Kind.PAIR, answers, layout=Layout.HPDV3, output=output, copy_images=True)
    assert check_preferences(PREFERENCE_FORMATS["hpdv3"], output, open_images=True).ok
    assert len(list((tmp_path / "deep" / "train_images").iterdir())) == 8


def test_export_to_a_layout_that_does_not_fit_is_refused(
    make_study: StudyMaker, tmp_path: Path
) -> None:
    output = tmp_path / "train.json"
    for is_edit, layout in ((True, Layout.HPDV3), (False, Layout.EDITREWARD)):
        with make_study(is_edit=is_edit) as store:
            with pytest.raises(DataError, match="No question has an answer"):
                export(Kind.PAIR, store.answers(), layout=layout, output=output)
            answer_all(store, "ana", {f"groups.jsonl:{n}": FIRST for n in range(4)})
            with pytest.raises(DataError, match="does not fit"):
                export(Kind.PAIR, store.answers(), layout=layout, output=output)


ROWS = st.lists(st.tuples(st.integers(1, 3)), min_size=3, max_size=3).map(tuple)


@settings(max_examples=60, deadline=None)
@given(given_rows=st.lists(ROWS, min_size=1, max_size=5))
def test_judged_pairs_of_ranks_equal_counting_votes(given_rows: list[Rows]) -> None:
    question = Question(
        name="q",
        prompt="p",
        sources=(),
        candidates=tuple(Candidate(image=Path(name)) for name in "abc"),
    )
    answers = [
        Answer(
            annotator=str(number),
            question=question,
            question_id=0,
            places=(0, 1, 2),
            verdict=Verdict(rows=rows),
            problem=None,
            seconds=1.0,
            is_superseded=False,
        )
        for number, rows in enumerate(given_rows)
    ]
    pairs = judged_pairs(Kind.RANK, answers)
    assert len(pairs) == 3
    for pair in pairs:
        better, worse = (question.candidates.index(each) for each in (pair.better, pair.worse))
        counts = Counter(
            "better"
            if rows[better] < rows[worse]
            else "worse"
            if rows[worse] < rows[better]
            else "tie"
            for rows in given_rows
        )
        assert pair.votes == (counts["better"], counts["worse"])
        is_tie = counts["better"] == counts["worse"] or counts["tie"] > max(pair.votes)
        assert pair.is_tie == is_tie
        assert pair.is_tie or counts["better"] > counts["worse"]
