"""What a probe is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from visreward.evaluation.audit.examination import Examination
from visreward.evaluation.audit.records import Finding, Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One question to a reward model.

    Attributes:
        name: Lower case with dashes.
        family: What kind of fault it looks for.
        question: In words.
        limit: What its effect is held against.
        measure: Answers it.
        obstacle: Says why it cannot be asked of a model on some data, or "".
    """

    name: str
    family: str
    question: str
    limit: Limit
    measure: Callable[[Examination], Finding]
    obstacle: Callable[[Examination], str] = lambda _: ""


def needs_prompt(examination: Examination) -> str:
    """Return an obstacle where the model takes no prompt."""
    return "" if examination.model.facts.needs_prompt else "The model takes no prompt."


def needs_world(examination: Examination) -> str:
    """Return an obstacle where right answers are not known."""
    if examination.audited.drawing is not None:
        return ""
    return (
        "It needs pictures whose right answers are known. Run it without --images, on the "
        "synthetic world."
    )


def needs_edits(examination: Examination) -> str:
    """Return an obstacle where the model does not score edits of known rightness."""
    if not examination.model.facts.needs_source:
        return "The model scores single images, not edits."
    return needs_world(examination)
