"""The store of a study: who is asked what, what is kept, what is refused."""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visreward.core.errors import DataError, StorageError, UsageError
from visreward.demo.annotate.creation import create_store
from visreward.demo.annotate.records import (
    Candidate,
    Kind,
    Order,
    Question,
    StudySettings,
    Verdict,
    annotator_name,
)
from visreward.demo.annotate.schema import connect, transaction
from visreward.demo.annotate.store import Store

if TYPE_CHECKING:
    from tests.demo.annotate.conftest import StudyMaker

ANNOTATORS = ("ana", "ben", "cem")


def questions(num: int, num_candidates: int = 2, *, is_gold: bool = False) -> tuple[Question, ...]:
    known = Verdict(rows=tuple((place + 1,) for place in range(num_candidates)))
    return tuple(
        Question(
            name=f"q{number}",
            prompt=f"prompt {number}",
            sources=(),
            candidates=tuple(
                Candidate(image=Path(f"/{number}-{place}.png")) for place in range(num_candidates)
            ),
            known=known if is_gold else None,
        )
        for number in range(num)
    )


def test_answer_is_kept_in_the_order_of_the_question_with_its_places(
    make_study: StudyMaker,
) -> None:
    seen = set()
    with make_study(kind=Kind.RANK, num=12, num_candidates=3) as store:
        while (opened := store.open_question("ana")) is not None:
            assert store.answer("ana", ticket=opened.ticket, rows=((1,), (2,), (3,)))
            answer = store.answers()[-1]
            assert answer.places == opened.places
            assert answer.verdict is not None
            # What stood first on the page has rank 1, wherever it is in the question.
            assert [answer.verdict.rows[place] for place in opened.places] == [(1,), (2,), (3,)]
            seen.add(opened.places)
    assert len(seen) > 2


def test_answer_twice_with_one_ticket_is_kept_once(make_study: StudyMaker) -> None:
    with make_study() as store:
        first = store.open_question("ana")
        assert first is not None
        assert store.answer("ana", ticket=first.ticket, rows=((1,), (2,)))
        second = store.open_question("ana")
        assert not store.answer("ana", ticket=first.ticket, rows=((2,), (1,)))
        assert not store.skip("ana", ticket=first.ticket)
        assert not store.answer("ben", ticket=first.ticket, rows=((2,), (1,)))
        assert store.open_question("ana") == second
        assert len(store.answers()) == 1


@pytest.mark.parametrize("rows", [(), ((1,),), ((1,), (3,)), ((0,), (1,)), ((1, 1), (2, 2))])
def test_answer_that_is_not_whole_is_refused_and_changes_nothing(
    make_study: StudyMaker, rows: tuple[tuple[int, ...], ...]
) -> None:
    with make_study() as store:
        opened = store.open_question("ana")
        assert opened is not None
        with pytest.raises(UsageError, match="not whole"):
            store.answer("ana", ticket=opened.ticket, rows=rows)
        assert store.answers() == []
        assert store.open_question("ana") == opened


def test_undo_opens_the_question_again_and_keeps_what_was_answered(
    make_study: StudyMaker,
) -> None:
    with make_study() as store:
        assert not store.undo("ana")
        names, places = [], []
        for _ in range(2):
            opened = store.open_question("ana")
            assert opened is not None
            names.append(opened.question.name)
            places.append(opened.places)
            store.answer("ana", ticket=opened.ticket, rows=((1,), (2,)))
        assert store.undo("ana")
        again = store.open_question("ana")
        assert again is not None
        assert (again.question.name, again.places) == (names[1], places[1])
        store.answer("ana", ticket=again.ticket, rows=((1,), (1,)))
        assert store.undo("ana")
        assert store.undo("ana")
        first = store.open_question("ana")
        assert first is not None
        assert first.question.name == names[0]
        assert [answer.is_superseded for answer in store.answers()] == [True] * 3
        assert store.progress("ana").num_answered == 0


def test_skip_leaves_the_question_to_others(make_study: StudyMaker) -> None:
    with make_study(num=1) as store:
        opened = store.open_question("ana")
        assert opened is not None
        assert store.open_question("ben") is None  # ana has it open
        store.skip("ana", ticket=opened.ticket, problem="torn")
        assert store.open_question("ana") is None
        assert store.open_question("ben") is not None
        (answer,) = store.answers()
        assert (answer.verdict, answer.problem) == (None, "torn")
        assert store.progress("ana").num_skipped == 1


def test_fixed_order_is_that_of_the_file_and_disagreement_that_of_the_models(
    make_study: StudyMaker,
) -> None:
    def names(store: Store) -> list[str]:
        found = []
        with store:
            while (opened := store.open_question("ana")) is not None:
                found.append(opened.question.name.removeprefix("groups.jsonl:"))
                store.answer("ana", ticket=opened.ticket, rows=((1,), (2,)))
        return found

    assert names(make_study(order=Order.FIXED)) == ["0", "1", "2", "3"]
    by_models = make_study(
        order=Order.DISAGREEMENT, models=("a", "b"), disagreements=[0.1, None, 0.7, 0.4]
    )
    assert names(by_models) == ["2", "3", "0", "1"]
    shuffled = {tuple(names(make_study(seed=seed))) for seed in range(5)}
    assert len(shuffled) > 1


def test_questions_that_others_began_come_first(make_study: StudyMaker) -> None:
    with make_study(num=20, answers_each=2) as store:
        begun = set()
        for _ in range(5):
            opened = store.open_question("ana")
            assert opened is not None
            begun.add(opened.question.name)
            store.answer("ana", ticket=opened.ticket, rows=((1,), (2,)))
        for _ in range(5):
            opened = store.open_question("ben")
            assert opened is not None
            begun.remove(opened.question.name)
            store.answer("ben", ticket=opened.ticket, rows=((1,), (2,)))


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(ANNOTATORS), st.sampled_from(("answer", "answer", "skip", "undo", "stale"))
    ),
    max_size=40,
)


@settings(max_examples=30, deadline=None)
@given(actions=ACTIONS, answers_each=st.integers(1, 3), gold_share=st.sampled_from((0.0, 0.25)))
def test_store_any_actions_keep_its_promises(
    actions: list[tuple[str, str]], answers_each: int, gold_share: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.sqlite"
        study = StudySettings(answers_each=answers_each, gold_share=gold_share)
        create_store(path, study, questions(5), gold=questions(2, is_gold=True))
        given_by: dict[str, list[bool]] = {name: [] for name in ANNOTATORS}
        with Store(path) as store:
            for annotator, action in actions:
                before = len(store.answers())
                opened = store.open_question(annotator)
                if action == "undo":
                    assert store.undo(annotator) == bool(given_by[annotator])
                    given_by[annotator] = given_by[annotator][:-1]
                    assert len(store.answers()) == before
                elif opened is None or action == "stale":
                    assert not store.answer(annotator, ticket="no", rows=((1,), (2,)))
                elif action == "skip":
                    assert store.skip(annotator, ticket=opened.ticket)
                    given_by[annotator].append(False)
                else:
                    assert store.answer(annotator, ticket=opened.ticket, rows=((1,), (2,)))
                    given_by[annotator].append(True)
            _check(store, given_by, answers_each=answers_each)
        with Store(path) as again:
            _check(again, given_by, answers_each=answers_each)


def _check(store: Store, given_by: dict[str, list[bool]], *, answers_each: int) -> None:
    standing = [answer for answer in store.answers() if not answer.is_superseded]
    by_pair = Counter((answer.annotator, answer.question_id) for answer in standing)
    assert max(by_pair.values(), default=0) <= 1
    by_question = Counter(
        answer.question_id
        for answer in standing
        if answer.verdict is not None and answer.question.known is None
    )
    assert max(by_question.values(), default=0) <= answers_each
    for name, given_answers in given_by.items():
        progress = store.progress(name)
        assert progress.num_answered == sum(given_answers)
        assert progress.num_skipped == len(given_answers) - sum(given_answers)


def test_progress_counts_down_to_the_end_whether_a_question_is_gold_or_not(
    make_study: StudyMaker,
) -> None:
    with make_study(num=20, num_gold=3, gold_share=0.2) as store:
        left = store.progress("ana").num_left
        assert left == 23
        num_gold = 0
        while (opened := store.open_question("ana")) is not None:
            assert store.progress("ana").num_left == left
            num_gold += opened.question.name.startswith("gold")
            store.answer("ana", ticket=opened.ticket, rows=((1,), (2,)))
            left -= 1
        assert (left, num_gold) == (0, 3)


def test_threads_share_a_store_without_losing_or_doubling_an_answer(
    make_study: StudyMaker,
) -> None:
    with make_study(num=30, answers_each=2) as store:

        def work(annotator: str) -> int:
            num = 0
            while (opened := store.open_question(annotator)) is not None:
                num += store.answer(annotator, ticket=opened.ticket, rows=((1,), (2,)))
            return num

        with ThreadPoolExecutor(4) as pool:
            counts = list(pool.map(work, ("ana", "ben", "cem", "dua")))
        answers = store.answers()
        assert len(answers) == sum(counts)
        assert set(Counter(answer.question_id for answer in answers).values()) == {2}


def test_two_connections_see_each_others_answers(make_study: StudyMaker) -> None:
    with make_study(num=2) as one:
        path = Path(one._connection.execute("PRAGMA database_list").fetchone()["file"])
        with Store(path) as other:
            opened = one.open_question("ana")
            assert opened is not None
            assert other.answer("ana", ticket=opened.ticket, rows=((1,), (1,)))
            assert not one.answer("ana", ticket=opened.ticket, rows=((1,), (2,)))
            assert one.answers() == other.answers()


def test_store_is_written_through_to_the_disk_and_deletes_no_answer(
    make_study: StudyMaker,
) -> None:
    with make_study() as store:
        opened = store.open_question("ana")
        assert opened is not None
        store.answer("ana", ticket=opened.ticket, rows=((1,), (2,)))
        connection = store._connection
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        with pytest.raises(sqlite3.IntegrityError, match="never deleted"):
            connection.execute("DELETE FROM answer")


def test_store_on_a_full_disk_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    create_store(path, StudySettings(), questions(300))
    with Store(path) as store:
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count={pages}")

        def answer_all() -> None:
            while (opened := store.open_question("ana")) is not None:
                kept.append(store.answer("ana", ticket=opened.ticket, rows=((1,), (2,))))

        kept: list[bool] = []
        with pytest.raises(StorageError, match="full"):
            answer_all()
        assert 0 < len(kept) == len(store.answers()) < 300
        assert store._connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_store_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no study"):
        Store(tmp_path / "none.sqlite")
    text = tmp_path / "text.sqlite"
    text.write_text("no database, but long enough to be looked at as one " * 20)
    with pytest.raises(DataError, match="cannot be used"):
        Store(text)
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
    connection.close()
    with pytest.raises(DataError, match="something else"):
        Store(foreign)
    newer = tmp_path / "newer.sqlite"
    create_store(newer, StudySettings(), questions(1))
    connection = connect(newer, may_create=False)
    connection.execute("PRAGMA user_version=2")
    connection.close()
    with pytest.raises(DataError, match="schema version 2"):
        Store(newer)


def test_create_store_twice_is_refused_and_a_failed_one_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    create_store(path, StudySettings(seed=3), questions(2))
    with pytest.raises(UsageError, match="already"):
        create_store(path, StudySettings(), questions(1))
    with Store(path) as store:
        assert store.settings == StudySettings(seed=3)
        assert store.questions() == questions(2)
    empty = connect(tmp_path / "empty.sqlite", may_create=True)
    with pytest.raises(sqlite3.IntegrityError), transaction(empty):
        empty.executemany("INSERT INTO study VALUES (?, '{}', '')", [(1,), (2,)])
    assert empty.execute("SELECT count(*) FROM study").fetchone()[0] == 0
    empty.close()
    with pytest.raises(DataError, match="no study yet"):
        Store(tmp_path / "empty.sqlite")


@pytest.mark.parametrize("text", ["", "   ", "x" * 61, "a\x00b"])
def test_annotator_name_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        annotator_name(text)


def test_annotator_name_has_one_form() -> None:
    assert annotator_name("  Zoe\u0308   K ") == annotator_name("Zo\u00eb K") == "Zo\u00eb K"
