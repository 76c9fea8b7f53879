"""Does a model read the prompt: its meaning, and not its wording?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from visreward.core.types import Sample
from visreward.evaluation.audit.changes import Change, Changes, change_finding
from visreward.evaluation.audit.contrasts import Contrast, contrast_finding
from visreward.evaluation.audit.examination import OVERALL, Examination
from visreward.evaluation.audit.items import AuditItem
from visreward.evaluation.audit.probe import Probe, needs_prompt
from visreward.evaluation.audit.records import Finding, Limit

FAMILY: Final = "prompts"

FOLLOWING: Final = ("instruction_following", "ict")
"""Names of dimensions that say how far a picture shows what was asked for."""

NONSENSE: Final = (
    "bla bla bla bla",
    "zxqv plorb wnnt grikle",
    "asdf jkl qwer uiop zxcv",
    "the of and to which but nor",
)

_MEANING: Final = Limit(
    side="at least",
    value=0.8,
    reason="Chance is one half. Below four in five, the prompt decides less than it should where "
    "pictures of different prompts compete.",
)
_WORDING: Final = Limit(
    side="at most",
    value=0.25,
    reason="The meaning is the same. A quarter of a standard deviation turns 8 % of all "
    "comparisons.",
)


def following_name(examination: Examination) -> str:
    """Return the dimension that says how far the prompt is followed, or the score itself."""
    return next((name for name in FOLLOWING if name in examination.names), OVERALL)


def _worded(sample: Sample, *, wording: Callable[[str], str]) -> Sample:
    return replace(sample, prompt=wording(sample.prompt.strip().rstrip(".")))


def _capital(prompt: str) -> str:
    return prompt[:1].upper() + prompt[1:] + "."


def _measure_paraphrase(examination: Examination) -> Finding:
    is_edit = examination.model.facts.needs_source
    wordings: dict[str, Callable[[str], str]] = {
        "as a sentence": _capital,
        "with a please": lambda prompt: f"please {prompt}" if is_edit else f"{prompt}, please",
        "with a polite frame": lambda prompt: (
            f"I would like you to {prompt}" if is_edit else f"I would like to see {prompt}"
        ),
    }
    mild: dict[str, Change] = {
        name: partial(_worded, wording=wording) for name, wording in wordings.items()
    }
    changes = Changes(effect="the same in other words", mild=mild, strong={})
    return change_finding(examination, changes)


def _measure_nonsense(examination: Examination) -> Finding:
    return _under_other_prompts(
        examination,
        lambda place, _: NONSENSE[place % len(NONSENSE)],
        label="nonsense",
        what="its own prompt beats nonsense",
    )


def _measure_other_prompt(examination: Examination) -> Finding:
    prompts = {item.group: item.sample.prompt for item in examination.items}
    groups = list(prompts)

    def other(_: int, item: AuditItem) -> str:
        start = groups.index(item.group)
        rest = (*groups[start + 1 :], *groups[:start])
        return next(prompts[each] for each in rest if prompts[each] != item.sample.prompt)

    is_edit = examination.model.facts.needs_source
    label = "another edit's instruction" if is_edit else "another picture's prompt"
    return _under_other_prompts(examination, other, label=label, what=f"its own beats {label}")


def _under_other_prompts(
    examination: Examination, other: Callable[[int, AuditItem], str], *, label: str, what: str
) -> Finding:
    """Return how often a right picture scores higher under its own prompt."""
    contrasts = []
    for place, item in enumerate(examination.right_items):
        prompt = other(place, item)
        contrasts.append(
            Contrast(
                item=item,
                better=item.sample,
                worse=replace(item.sample, prompt=prompt),
                labels=("its own prompt", f"{label}: “{prompt}”"),
            )
        )
    name = following_name(examination)
    return contrast_finding(examination, contrasts, name=name, what=what)


def _one_prompt(examination: Examination) -> str:
    if len({item.sample.prompt for item in examination.items}) > 1:
        return needs_prompt(examination)
    return needs_prompt(examination) or "All pictures have the same prompt."


def _only_edits(examination: Examination) -> str:
    if not examination.model.facts.needs_source:
        return "The model scores single images, not edits; other-prompt asks the same of them."
    return _one_prompt(examination)


def _only_images(examination: Examination) -> str:
    if examination.model.facts.needs_source:
        return "The model scores edits; wrong-instruction asks the same of them."
    return _one_prompt(examination)


PROBES: Final = (
    Probe(
        name="paraphrase",
        family=FAMILY,
        question="Does other wording of the same prompt move the score?",
        limit=_WORDING,
        measure=_measure_paraphrase,
        obstacle=needs_prompt,
    ),
    Probe(
        name="nonsense-prompt",
        family=FAMILY,
        question="Does a right picture score higher under its own prompt than under nonsense?",
        limit=_MEANING,
        measure=_measure_nonsense,
        obstacle=needs_prompt,
    ),
    Probe(
        name="other-prompt",
        family=FAMILY,
        question="Does a right picture score higher under its own prompt than under another's?",
        limit=_MEANING,
        measure=_measure_other_prompt,
        obstacle=_only_images,
    ),
    Probe(
        name="wrong-instruction",
        family=FAMILY,
        question="Does a right edit score higher under its own instruction than under another's?",
        limit=_MEANING,
        measure=_measure_other_prompt,
        obstacle=_only_edits,
    ),
)
