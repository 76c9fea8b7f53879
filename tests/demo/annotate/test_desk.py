"""What an annotator sees: nothing that tells what made an image, and errors in plain words."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from visreward.demo.annotate.desk import Desk, View
from visreward.demo.annotate.records import Kind

if TYPE_CHECKING:
    from tests.demo.annotate.conftest import StudyMaker

A_BETTER = [[1], [2]]


def ticket_of(view: View) -> str:
    found = re.search(r'data-ticket="(\w+)"', view.question)
    assert found is not None
    return found[1]


def sent(view: View, rows: object) -> str:
    return json.dumps({"ticket": ticket_of(view), "rows": rows})


@pytest.mark.parametrize("kind", list(Kind))
def test_view_is_blind(make_study: StudyMaker, kind: Kind) -> None:
    with make_study(kind=kind, num_candidates=3, is_edit=True, num_gold=2, gold_share=0.5) as store:
        desk = Desk(store)
        for _ in range(4):
            view = desk.view("ana")
            for word in ("maker", ".png", "groups-", "gold", store.questions()[0].name):
                assert word not in view.question.replace("gold prompt", "").replace(
                    "groups prompt", ""
                )
            assert view.can_answer
            desk.skip("ana", sent(view, []))


def test_desk_answers_undoes_and_comes_to_an_end(make_study: StudyMaker) -> None:
    with make_study(num=1) as store:
        desk = Desk(store)
        view = desk.view("ana")
        assert not view.can_undo
        done = desk.answer("ana", sent(view, A_BETTER))
        assert (done.message, done.can_answer, done.can_skip, done.can_undo) == (
            "Saved.",
            False,
            False,
            True,
        )
        assert "Nothing is left" in done.question
        assert "1 of 1 answered" in done.progress
        again = desk.undo("ana")
        assert (again.message, again.can_undo) == ("Taken back: answer it again.", False)
        assert desk.undo("ana").message == "There is nothing to take back."
        late = desk.answer("ana", sent(view, A_BETTER))
        assert late.message == "That question was answered before; this one is open."
        assert ticket_of(late) == ticket_of(again)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"ticket": 3, "rows": []}', '{"ticket": "x", "more": 1}']
)
def test_desk_unreadable_answer_is_not_saved(make_study: StudyMaker, text: str) -> None:
    with make_study() as store:
        desk = Desk(store)
        desk.view("ana")
        assert desk.answer("ana", text).message.startswith("Not saved")
        assert desk.skip("ana", text).message.startswith("Not skipped")
        assert store.answers() == []


def test_desk_answer_that_is_not_whole_is_not_saved(make_study: StudyMaker) -> None:
    with make_study(kind=Kind.SCORES) as store:
        desk = Desk(store)
        view = desk.view("ana")
        after = desk.answer("ana", sent(view, [[4, 4], [4, 0]]))
        assert after.message == "Not saved: the answer is not whole. Fill all fields."
        assert ticket_of(after) == ticket_of(view)


def test_desk_missing_image_is_said_without_its_name_and_kept_with_it(
    make_study: StudyMaker,
) -> None:
    with make_study(num=1) as store:
        image = store.questions()[0].candidates[0].image
        image.unlink()
        desk = Desk(store)
        view = desk.view("ana")
        assert not view.can_answer
        assert view.can_skip
        assert "cannot be shown" in view.question
        assert "does not exist" in view.question
        assert image.name not in view.question
        desk.skip("ana", sent(view, []))
        (answer,) = store.answers()
        assert answer.problem is not None
        assert image.name in answer.problem


def test_desk_prompt_and_name_are_escaped(make_study: StudyMaker) -> None:
    with make_study(num=1) as store:
        store._connection.execute("UPDATE question SET prompt = '<b>&'")
        view = Desk(store).view("<i>")
        assert "&lt;b&gt;&amp;" in view.question
        assert "&lt;i&gt;" in view.progress


def test_desk_full_disk_is_said_and_the_question_stays(make_study: StudyMaker) -> None:
    with make_study(num=150) as store:
        desk = Desk(store)
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count={pages}")
        after = view = desk.view("ana")
        while after.can_answer and not after.message.startswith("Not saved"):
            view, after = after, desk.answer("ana", sent(after, A_BETTER))
        assert after.message.startswith("Not saved: The study's store cannot be written")
        assert ticket_of(after) == ticket_of(view)
