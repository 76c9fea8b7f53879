"""A study on the disk: questions, who is asked what, answers; nothing that was answered is lost.

Every answer is one transaction. An answer that is taken back stays, marked as superseded. Several
threads, and several processes on one machine, may use one store.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType

from visreward.core.errors import DataError
from visreward.demo.annotate import encoding, selection
from visreward.demo.annotate.records import (
    Answer,
    OpenQuestion,
    Progress,
    Question,
    Rows,
    Verdict,
    checked_verdict,
)
from visreward.demo.annotate.schema import connect, transaction
from visreward.demo.annotate.turns import Turns


class Store:
    """The store of one study.

    Attributes:
        settings: How the study is run.
        fingerprint: Of the questions that it was made from.
    """

    def __init__(self, path: Path) -> None:
        """Open the store of a study.

        Raises:
            DataError: if it is not there, is no study, or is of another version.
        """
        self._connection = connect(path, may_create=False)
        self._lock = threading.RLock()
        row = self._connection.execute("SELECT * FROM study").fetchone()
        if row is None:
            self.close()
            raise DataError(f"'{path}' holds no study yet. Make it again with --input.")
        self.settings = encoding.decode_settings(row["settings"])
        self.fingerprint: str = row["fingerprint"]
        self._turns = Turns(self._connection, self.settings)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def questions(self) -> tuple[Question, ...]:
        """Return all questions, gold ones last."""
        with self._lock:
            rows = self._connection.execute("SELECT * FROM question ORDER BY id").fetchall()
        return tuple(encoding.decode_question(row) for row in rows)

    def open_question(self, annotator: str) -> OpenQuestion | None:
        """Return the question that an annotator has open, or else the next one.

        Args:
            annotator: A name from `annotator_name`.

        Returns:
            None where nothing is left for this annotator.
        """
        with self._lock, transaction(self._connection):
            row = self._open_row(annotator)
            if row is None:
                question = self._turns.next_question(annotator)
                if question is None:
                    return None
                self._open(annotator, question)
                row = self._open_row(annotator)
            assert row is not None
            return OpenQuestion(
                ticket=row["ticket"],
                question=encoding.decode_question(row),
                places=tuple(json.loads(row["places"])),
            )

    def answer(self, annotator: str, *, ticket: str, rows: Rows) -> bool:
        """Keep an answer; when this returns, it is on the disk.

        Args:
            annotator: Who.
            ticket: Of the open question.
            rows: One row for each place of the page.

        Returns:
            Whether the ticket was open. If it was not, nothing is changed: the question was
            answered before, such as by a second click or in another window.

        Raises:
            UsageError: if the answer is not whole.
        """
        with self._lock, transaction(self._connection):
            opened = self._open_row(annotator)
            if opened is None or opened["ticket"] != ticket:
                return False
            places: list[int] = json.loads(opened["places"])
            shown = checked_verdict(self.settings.kind, len(places), rows)
            verdict = Verdict(rows=tuple(shown.rows[places.index(n)] for n in range(len(places))))
            self._keep(opened, verdict=verdict, problem=None)
        return True

    def skip(self, annotator: str, *, ticket: str, problem: str | None = None) -> bool:
        """Leave a question out for this annotator; others still get it.

        Args:
            annotator: Who.
            ticket: Of the open question.
            problem: Why an image could not be shown, or None.

        Returns:
            Whether the ticket was open.
        """
        with self._lock, transaction(self._connection):
            opened = self._open_row(annotator)
            if opened is None or opened["ticket"] != ticket:
                return False
            self._keep(opened, verdict=None, problem=problem)
        return True

    def undo(self, annotator: str) -> bool:
        """Take the last answer or skip back and open its question again; the answer stays.

        Returns:
            Whether there was one.
        """
        with self._lock, transaction(self._connection):
            last = self._connection.execute(
                "SELECT id, question, places FROM answer WHERE annotator = ? "
                "AND superseded_at IS NULL ORDER BY id DESC LIMIT 1",
                (annotator,),
            ).fetchone()
            if last is None:
                return False
            self._connection.execute(
                "UPDATE answer SET superseded_at = ? WHERE id = ?", (time.time(), last["id"])
            )
            self._open(annotator, last["question"], places=last["places"])
        return True

    def progress(self, annotator: str) -> Progress:
        """Return how far an annotator is."""
        with self._lock:
            return self._turns.progress(annotator)

    def answers(self) -> list[Answer]:
        """Return all answers and skips in the order in which they were given."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT answer.*, name, prompt, sources, candidates, known FROM answer "
                "JOIN question ON question.id = answer.question ORDER BY answer.id"
            ).fetchall()
        return [
            Answer(
                annotator=row["annotator"],
                question=encoding.decode_question(row),
                question_id=row["question"],
                places=tuple(json.loads(row["places"])),
                verdict=encoding.decode_verdict(row["verdict"]),
                problem=row["problem"],
                seconds=row["seconds"],
                is_superseded=row["superseded_at"] is not None,
            )
            for row in rows
        ]

    def _open_row(self, annotator: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection.execute(
            "SELECT open_question.*, name, prompt, sources, candidates, known "
            "FROM open_question JOIN question ON question.id = open_question.question "
            "WHERE annotator = ?",
            (annotator,),
        ).fetchone()
        return row

    def _open(self, annotator: str, question: int, *, places: str | None = None) -> None:
        if places is None:
            (candidates,) = self._connection.execute(
                "SELECT candidates FROM question WHERE id = ?", (question,)
            ).fetchone()
            num = len(json.loads(candidates))
            places = json.dumps(
                selection.places_of(
                    self.settings.seed, annotator=annotator, question=question, num=num
                )
            )
        self._connection.execute(
            "INSERT OR REPLACE INTO open_question VALUES (?, ?, ?, ?, ?)",
            (annotator, question, uuid.uuid4().hex, places, time.time()),
        )

    def _keep(self, opened: sqlite3.Row, *, verdict: Verdict | None, problem: str | None) -> None:
        now = time.time()
        self._connection.execute(
            "INSERT INTO answer (annotator, question, ticket, places, verdict, problem, seconds, "
            "answered_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                opened["annotator"],
                opened["question"],
                opened["ticket"],
                opened["places"],
                encoding.encode_verdict(verdict),
                problem,
                max(0.0, now - opened["since"]),
                now,
            ),
        )
        self._connection.execute(
            "DELETE FROM open_question WHERE annotator = ?", (opened["annotator"],)
        )
