"""Make the store of a new study."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from visreward.core.errors import UsageError
from visreward.demo.annotate import encoding
from visreward.demo.annotate.records import Question, StudySettings
from visreward.demo.annotate.schema import connect, transaction


def create_store(
    path: Path,
    settings: StudySettings,
    questions: Sequence[Question],
    *,
    gold: Sequence[Question] = (),
    disagreements: Sequence[float | None] | None = None,
) -> None:
    """Make the store of a new study.

    Args:
        path: The file; absent or empty.
        settings: How the study is run.
        questions: What is asked.
        gold: What is asked with a known answer.
        disagreements: How far models disagree on each question, or None where they were not
            asked; the largest comes first, None last.

    Raises:
        UsageError: if there is a study in the file already.
    """
    numbers = list(range(len(questions)))
    if disagreements is not None:
        # Equal ones come in an order of their own, so that it says nothing about the file's.
        random.Random(settings.seed).shuffle(numbers)  # noqa: S311
        known = [-1.0 if found is None else found for found in disagreements]
        numbers.sort(key=known.__getitem__, reverse=True)
    place_of = {number: place for place, number in enumerate(numbers)}
    connection = connect(path, may_create=True)
    try:
        with transaction(connection):
            if connection.execute("SELECT 1 FROM study").fetchone():
                raise UsageError(f"'{path}' holds a study already. Give another --store.")
            for number, question in enumerate((*questions, *gold)):
                connection.execute(
                    "INSERT INTO question VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        number,
                        place_of.get(number, number),
                        *encoding.encode_question(question),
                        disagreements[number] if disagreements and number in place_of else None,
                    ),
                )
            connection.execute(
                "INSERT INTO study VALUES (1, ?, ?)",
                (
                    encoding.encode_settings(settings),
                    encoding.fingerprint((*questions, *gold)),
                ),
            )
    finally:
        connection.close()
