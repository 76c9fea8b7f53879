"""Make the store of a study from files of groups, or see that it is the same study still."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from visreward.core.errors import UsageError
from visreward.demo.annotate.creation import create_store
from visreward.demo.annotate.encoding import fingerprint
from visreward.demo.annotate.questions import read_questions
from visreward.demo.annotate.records import Order, Question, StudySettings
from visreward.demo.annotate.store import Store


def make_study(
    store: Path, groups: Path, settings: StudySettings, *, gold: Path | None, device: str
) -> None:
    """Read the questions, let models score them where wanted, and make the store.

    Args:
        store: The SQLite file to make.
        groups: The file of groups.
        settings: How the study is run.
        gold: Groups with known answers, or None.
        device: Where models compute.

    Raises:
        DataError: if a file is malformed.
        UsageError: if a model scores none of the candidates.
    """
    from visreward.cli.console import notes_console

    console = notes_console()
    questions, known = _read(groups, settings, gold=gold)
    found = None
    if settings.order is Order.DISAGREEMENT:
        found = _disagreements(questions, settings, device=device)
        num_unknown = found.count(None)
        if num_unknown:
            console.print(f"{num_unknown} questions lack a score of some model and come last.")
    create_store(store, settings, questions, gold=known, disagreements=found)
    console.print(f"Made {store}: {len(questions)} questions, {len(known)} gold ones.")


def require_same(store: Path, groups: Path, settings: StudySettings, *, gold: Path | None) -> None:
    """Refuse files and settings that are not those that a store was made from.

    Raises:
        UsageError: if they differ.
    """
    with Store(store) as study:
        kept, mark = study.settings, study.fingerprint
    differing = [
        f"{field.name.replace('_', ' ')} {_words(getattr(kept, field.name))} instead of "
        f"{_words(getattr(settings, field.name))}"
        for field in fields(StudySettings)
        if getattr(kept, field.name) != getattr(settings, field.name)
    ]
    if not differing:
        questions, known = _read(groups, settings, gold=gold)
        if fingerprint((*questions, *known)) != mark:
            differing = ["other questions"]
    if differing:
        raise UsageError(
            f"'{store}' was made with {', '.join(differing)}. Give --store alone to go on with "
            "it, or another --store."
        )


def _words(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _read(
    groups: Path, settings: StudySettings, *, gold: Path | None
) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    questions = read_questions(groups, kind=settings.kind)
    if gold is None:
        return questions, ()
    return questions, read_questions(gold, kind=settings.kind, is_gold=True)


def _disagreements(
    questions: tuple[Question, ...], settings: StudySettings, *, device: str
) -> list[float | None]:
    from visreward.cli.console import notes_console, progress_bar
    from visreward.demo.annotate.disagreement import disagreements
    from visreward.models.loading import load_model
    from visreward.scoring.engine import ScoringEngine

    engines = [ScoringEngine(load_model(name, device=device)) for name in settings.models]
    total = len(engines) * sum(len(each.candidates) for each in questions)
    with progress_bar("Scoring", total=total, console=notes_console()) as advance:
        return disagreements(questions, engines, progress=advance)
