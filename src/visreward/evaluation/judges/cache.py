"""Answers on disk: one SQLite file, written answer by answer, that survives being killed."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from visreward.core.errors import DataError, StorageError
from visreward.evaluation.judges.completions import Answer

_VERSION: Final = 1
_COLUMNS: Final = "text, finish_reason, refusal, prompt_tokens, completion_tokens, served_by"
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, question TEXT NOT NULL, "
    "text TEXT NOT NULL, finish_reason TEXT NOT NULL, refusal TEXT, prompt_tokens INTEGER, "
    "completion_tokens INTEGER, served_by TEXT NOT NULL)"
)


class AnswerCache:
    """Answers by the key of their question. Each is on disk when `keep` returns.

    Questions are kept with digests for images; the endpoint's key is kept nowhere. Safe to use
    from several threads and processes.
    """

    def __init__(self, path: Path | None) -> None:
        """Open or make the file.

        Args:
            path: The file; None keeps answers as long as the cache itself lives.

        Raises:
            DataError: if the file is something else, or of another version.
            StorageError: if it cannot be opened.
        """
        self.path = path
        self._lock = threading.Lock()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors_named():
            self._file = sqlite3.connect(path or ":memory:", timeout=60, check_same_thread=False)
            self._file.execute("PRAGMA synchronous = FULL")
            version = self._file.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise DataError(
                    f"'{path}' holds answers in version {version}, expected {_VERSION}. "
                    "Give another cache file."
                )
            with self._file:
                self._file.execute(_TABLE)
                self._file.execute(f"PRAGMA user_version = {_VERSION}")

    def get(self, key: str) -> Answer | None:
        """Return the answer to a question, or None where it was not asked."""
        with self._lock, self._errors_named():
            row = self._file.execute(
                f"SELECT {_COLUMNS} FROM answers WHERE key = ?",  # noqa: S608  constant columns
                (key,),
            ).fetchone()
        if row is None:
            return None
        text, finish_reason, refusal, prompt_tokens, completion_tokens, served_by = row
        return Answer(
            text=text,
            finish_reason=finish_reason,
            refusal=refusal,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            served_by=served_by,
        )

    def keep(self, key: str, answer: Answer, *, question: str) -> None:
        """Write an answer; the first answer to a question stays.

        Args:
            key: Of the question.
            answer: Whatever its form.
            question: As `Question.described` gives it, for people who read the file.
        """
        values = (
            key,
            question,
            answer.text,
            answer.finish_reason,
            answer.refusal,
            answer.prompt_tokens,
            answer.completion_tokens,
            answer.served_by,
        )
        with self._lock, self._errors_named(), self._file:
            self._file.execute(
                f"INSERT OR IGNORE INTO answers (key, question, {_COLUMNS}) "  # noqa: S608  as above
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )

    def __len__(self) -> int:
        with self._lock, self._errors_named():
            return int(self._file.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"The cache '{self.path}' cannot be used: {error}. "
                "Check the folder, its rights and the space on the disk."
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"'{self.path}' is no cache of answers, or is damaged: {error}. "
                "Give another cache file, or delete this one."
            ) from error
