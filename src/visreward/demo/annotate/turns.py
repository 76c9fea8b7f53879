"""Whose turn it is: the questions that an annotator may get, the next one first."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from visreward.demo.annotate import selection
from visreward.demo.annotate.records import Order, Progress, StudySettings

HELD_S: Final = 1800.0
"""So long nobody else gets the question that an annotator has open."""

_CHOICES: Final = """
WITH given AS (
    SELECT question, count(verdict) AS num FROM answer
    WHERE superseded_at IS NULL GROUP BY question
), held AS (
    SELECT question, count(*) AS num FROM open_question
    WHERE annotator <> :annotator AND since > :held_since GROUP BY question
)
SELECT question.id FROM question
LEFT JOIN given ON given.question = question.id
LEFT JOIN held ON held.question = question.id
WHERE (known IS NOT NULL) = :is_gold
    AND (:is_gold OR coalesce(given.num, 0) + coalesce(held.num, 0) < :answers_each)
    AND question.id NOT IN (
        SELECT question FROM answer WHERE annotator = :annotator AND superseded_at IS NULL)
ORDER BY CASE WHEN :is_gold THEN 0 ELSE coalesce(given.num, 0) END DESC,
    CASE WHEN :is_gold OR :is_shuffled THEN shuffled(question.id) ELSE place END
"""


class Turns:
    """Answers what comes next from the tables; the caller holds the lock."""

    def __init__(self, connection: sqlite3.Connection, settings: StudySettings) -> None:
        self._connection = connection
        self._settings = settings

    def next_question(self, annotator: str) -> int | None:
        """Return the number of the next question, or None where none is left.

        Questions that others have begun come first, so that each soon has all its answers.
        """
        choices = self._choices(annotator, is_gold=False)
        if not choices:
            return None
        given, skipped = self._counts(annotator)
        is_gold = selection.is_gold_turn(
            self._settings.seed,
            annotator=annotator,
            turn=given + skipped,
            gold_share=self._settings.gold_share,
        )
        gold = self._choices(annotator, is_gold=True) if is_gold else []
        return (gold or choices)[0]

    def progress(self, annotator: str) -> Progress:
        """Return how far an annotator is."""
        given, skipped = self._counts(annotator)
        (num_open,) = self._connection.execute(
            "SELECT count(*) FROM open_question WHERE annotator = ?", (annotator,)
        ).fetchone()
        left = selection.turns_left(
            self._settings.seed,
            annotator=annotator,
            turn=given + skipped,
            gold_share=self._settings.gold_share,
            num_questions=len(self._choices(annotator, is_gold=False)),
            num_gold=len(self._choices(annotator, is_gold=True)),
        )
        return Progress(num_answered=given, num_skipped=skipped, num_left=max(left, num_open))

    def _counts(self, annotator: str) -> tuple[int, int]:
        given, every = self._connection.execute(
            "SELECT count(verdict), count(*) FROM answer "
            "WHERE annotator = ? AND superseded_at IS NULL",
            (annotator,),
        ).fetchone()
        return given, every - given

    def _choices(self, annotator: str, *, is_gold: bool) -> list[int]:
        """Return the questions that an annotator may get, the next one first."""
        seed = self._settings.seed
        self._connection.create_function(
            "shuffled", 1, lambda question: selection.draw(seed, "order", annotator, question) >> 1
        )
        rows = self._connection.execute(
            _CHOICES,
            {
                "annotator": annotator,
                "held_since": time.time() - HELD_S,
                "is_gold": is_gold,
                "is_shuffled": self._settings.order is Order.SHUFFLED,
                "answers_each": self._settings.answers_each,
            },
        )
        return [row[0] for row in rows]
