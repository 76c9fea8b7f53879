"""What happens on a click: one annotator's side of a study, without the page's toolkit."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pydantic import ValidationError

from visreward.core.errors import StorageError, UsageError
from visreward.core.strict import Strict
from visreward.demo.annotate.markup import (
    LETTERS,
    finished_html,
    progress_html,
    question_html,
)
from visreward.demo.annotate.pictures import Picture, read_pictures
from visreward.demo.annotate.records import OpenQuestion, Rows
from visreward.demo.annotate.store import Store

logger = logging.getLogger("visreward.demo")


class Sent(Strict):
    """What the browser sends with an answer or a skip.

    Attributes:
        ticket: Of the question that was on the page.
        rows: The answer, one row for each place; empty for a skip.
    """

    ticket: str
    rows: Rows = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What an annotator sees next.

    Attributes:
        question: HTML.
        progress: HTML.
        message: One sentence of plain text on what has just happened.
        prompt: Of the open question; empty where there is none.
        can_answer: Whether there is a question with all its images.
        can_skip: Whether there is a question.
        can_undo: Whether there is an answer to take back.
    """

    question: str
    progress: str
    message: str
    prompt: str
    can_answer: bool
    can_skip: bool
    can_undo: bool


class Desk:
    """Gives questions out and takes answers in."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.kind = store.settings.kind

    def view(self, annotator: str, message: str = "") -> View:
        """Return the open question of an annotator, or the next one.

        Args:
            annotator: A name from `annotator_name`.
            message: What to say above it.
        """
        opened = self._store.open_question(annotator)
        progress = self._store.progress(annotator)
        num_done = progress.num_answered + progress.num_skipped
        if opened is None:
            question, is_whole = finished_html(progress), False
        else:
            sources, candidates = _pictures(opened)
            question = question_html(self.kind, opened, sources, candidates)
            is_whole = all(each.address is not None for each in (*sources, *candidates))
        return View(
            question=question,
            progress=progress_html(annotator, progress),
            message=message,
            prompt="" if opened is None else opened.question.prompt,
            can_answer=is_whole,
            can_skip=opened is not None,
            can_undo=num_done > 0,
        )

    def answer(self, annotator: str, sent: str) -> View:
        """Keep an answer and return what comes next."""
        try:
            content = Sent.model_validate_json(sent)
            is_kept = self._store.answer(annotator, ticket=content.ticket, rows=content.rows)
        except ValidationError:
            return self.view(annotator, "Not saved: the answer cannot be read. Reload the page.")
        except UsageError:
            return self.view(annotator, "Not saved: the answer is not whole. Fill all fields.")
        except StorageError as error:
            return self.view(annotator, _not_saved(error))
        return self.view(annotator, "Saved." if is_kept else _ANSWERED_BEFORE)

    def skip(self, annotator: str, sent: str) -> View:
        """Leave the open question out and return what comes next."""
        try:
            content = Sent.model_validate_json(sent)
            opened = self._store.open_question(annotator)
            problem = None if opened is None else _problem(opened)
            is_kept = self._store.skip(annotator, ticket=content.ticket, problem=problem)
        except ValidationError:
            return self.view(annotator, "Not skipped: reload the page.")
        except StorageError as error:
            return self.view(annotator, _not_saved(error))
        return self.view(annotator, "Skipped." if is_kept else _ANSWERED_BEFORE)

    def undo(self, annotator: str) -> View:
        """Take the last answer back and return its question."""
        try:
            is_undone = self._store.undo(annotator)
        except StorageError as error:
            return self.view(annotator, _not_saved(error))
        return self.view(
            annotator,
            "Taken back: answer it again." if is_undone else "There is nothing to take back.",
        )


_ANSWERED_BEFORE = "That question was answered before; this one is open."


def _pictures(opened: OpenQuestion) -> tuple[list[Picture], list[Picture]]:
    question = opened.question
    names = ["Source image"]
    if len(question.sources) != 1:
        names = [f"Source image {place + 1}" for place in range(len(question.sources))]
    files = dict(zip(names, question.sources, strict=True))
    for letter, place in zip(LETTERS, opened.places, strict=False):
        files[letter] = question.candidates[place].image
    pictures = read_pictures(files)
    return pictures[: len(question.sources)], pictures[len(question.sources) :]


def _problem(opened: OpenQuestion) -> str | None:
    """Return why an image of a question cannot be shown, or None."""
    sources, candidates = _pictures(opened)
    found = [each.problem for each in (*sources, *candidates) if each.problem]
    return " ".join(found) or None


def _not_saved(error: StorageError) -> str:
    logger.error("%s", error)
    return f"Not saved: {error}"
