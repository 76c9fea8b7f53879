"""The SQLite file of a study: its tables, and opening it so that a crash loses nothing.

WAL with synchronous=FULL: a transaction whose commit has returned is on the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from visreward.core.errors import DataError, StorageError

SCHEMA_VERSION: Final = 1
_APPLICATION: Final = 0x76724131  # "vrA1": tells our files from other SQLite files
_BUSY_S: Final = 10.0

_TABLES: Final = """
CREATE TABLE study (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    settings TEXT NOT NULL,
    fingerprint TEXT NOT NULL
) STRICT;
CREATE TABLE question (
    id INTEGER PRIMARY KEY,
    place INTEGER NOT NULL,
    name TEXT NOT NULL,
    prompt TEXT NOT NULL,
    sources TEXT NOT NULL,
    candidates TEXT NOT NULL,
    known TEXT,
    disagreement REAL
) STRICT;
CREATE TABLE open_question (
    annotator TEXT PRIMARY KEY,
    question INTEGER NOT NULL REFERENCES question,
    ticket TEXT NOT NULL UNIQUE,
    places TEXT NOT NULL,
    since REAL NOT NULL
) STRICT;
CREATE TABLE answer (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    annotator TEXT NOT NULL,
    question INTEGER NOT NULL REFERENCES question,
    ticket TEXT NOT NULL UNIQUE,
    places TEXT NOT NULL,
    verdict TEXT,
    problem TEXT,
    seconds REAL NOT NULL,
    answered_at REAL NOT NULL,
    superseded_at REAL
) STRICT;
CREATE UNIQUE INDEX standing_answer ON answer (annotator, question) WHERE superseded_at IS NULL;
CREATE INDEX answers_of_question ON answer (question) WHERE superseded_at IS NULL;
CREATE TRIGGER answers_stay BEFORE DELETE ON answer
BEGIN SELECT RAISE(ABORT, 'an answer is superseded, never deleted'); END;
"""


def connect(path: Path, *, may_create: bool) -> sqlite3.Connection:
    """Open the file of a study, after making it where that is wanted.

    Args:
        path: The file.
        may_create: Whether it is made, or filled where it is empty.

    Raises:
        DataError: if it is not there, is no study, or is of another version.
        StorageError: if it cannot be written.
    """
    if not may_create and not path.is_file():
        raise DataError(
            f"There is no study in '{path}'. Give the file of one, or make it: visreward annotate "
            "--input GROUPS.jsonl --store FILE"
        )
    try:
        connection = sqlite3.connect(
            path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
    except sqlite3.OperationalError as error:
        raise StorageError(
            f"'{path}' cannot be opened: {error}. Check folder and rights."
        ) from error
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA foreign_keys=ON")
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        connection.execute("PRAGMA synchronous=FULL")
        with transaction(connection):
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if version == 0 and tables == 0:
                _make_tables(connection)
                version = SCHEMA_VERSION
            application = connection.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise DataError(
            f"'{path}' cannot be used as the store of a study: {error}. Give another file."
        ) from error
    if mode != "wal":
        raise StorageError(
            f"'{path}' has the journal mode {mode!r}, not WAL. Put it on a local disk."
        )
    if application != _APPLICATION:
        raise DataError(f"'{path}' is an SQLite file of something else. Give another --store.")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"'{path}' has schema version {version}, this visreward reads {SCHEMA_VERSION}. "
            "Use the version of visreward that wrote it."
        )


def _make_tables(connection: sqlite3.Connection) -> None:
    for statement in _statements(_TABLES):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={_APPLICATION}")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script; `executescript` would commit before each."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block as one transaction that writes: all of it is kept, or none.

    Raises:
        StorageError: if the disk is full, or another process holds the file for too long.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    except sqlite3.OperationalError as error:
        raise StorageError(
            f"The study's store cannot be written: {error}. Make room, then do it again."
        ) from error
