"""How questions, verdicts and settings stand in the store: JSON."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from visreward.demo.annotate.records import (
    Candidate,
    Kind,
    Order,
    Question,
    StudySettings,
    Verdict,
)


def encode_question(question: Question) -> tuple[str, str, str, str, str | None]:
    """Return name, prompt, sources, candidates and known answer as the table holds them."""
    return (
        question.name,
        question.prompt,
        json.dumps([str(source) for source in question.sources]),
        json.dumps(
            [
                {"image": str(each.image), "generator": each.generator}
                for each in question.candidates
            ]
        ),
        encode_verdict(question.known),
    )


def decode_question(row: sqlite3.Row) -> Question:
    """Return the question of a row with the columns of `encode_question`."""
    return Question(
        name=row["name"],
        prompt=row["prompt"],
        sources=tuple(Path(source) for source in json.loads(row["sources"])),
        candidates=tuple(
            Candidate(image=Path(each["image"]), generator=each["generator"])
            for each in json.loads(row["candidates"])
        ),
        known=decode_verdict(row["known"]),
    )


def encode_verdict(verdict: Verdict | None) -> str | None:
    """Return a verdict as JSON, or None."""
    return None if verdict is None else json.dumps(verdict.rows)


def decode_verdict(text: str | None) -> Verdict | None:
    """Return the verdict of `encode_verdict`."""
    if text is None:
        return None
    return Verdict(rows=tuple(tuple(row) for row in json.loads(text)))


def encode_settings(settings: StudySettings) -> str:
    """Return settings as JSON."""
    return json.dumps(asdict(settings))


def decode_settings(text: str) -> StudySettings:
    """Return the settings of `encode_settings`."""
    values = json.loads(text)
    return StudySettings(
        kind=Kind(values["kind"]),
        order=Order(values["order"]),
        answers_each=values["answers_each"],
        gold_share=values["gold_share"],
        seed=values["seed"],
        models=tuple(values["models"]),
    )


def fingerprint(questions: Iterable[Question]) -> str:
    """Return a digest of questions, which tells whether a file of groups is still the same."""
    digest = hashlib.sha256()
    for question in questions:
        digest.update(json.dumps(encode_question(question)).encode())
    return digest.hexdigest()
