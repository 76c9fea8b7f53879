"""Questions from a file of groups, one JSON object a line.

    {"id": "7", "prompt": "make the cup red", "source_image": "cup.png",
     "candidates": [{"image": "a.png", "generator": "one"}, {"image": "b.png"}]}

`id`, `source_image` (one path or several) and `generator` may be left out. Paths start at the
file's folder. In a file of gold questions each candidate also has its known `rank` (1 = best, equal
for a tie) or, where scores are asked for, `instruction_following` and `visual_quality` (1 to 4).
Other keys are not read, so a group file of a benchmark serves as either.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from visreward.core.errors import DataError, UsageError
from visreward.data.row import Row
from visreward.demo.annotate.records import (
    MAX_CANDIDATES,
    Candidate,
    Kind,
    Question,
    Verdict,
    checked_verdict,
)


def read_questions(path: Path, *, kind: Kind, is_gold: bool = False) -> tuple[Question, ...]:
    """Return the questions of a file, in its order. Deterministic; no image is opened.

    With `pair` every two candidates of a group are a question, otherwise every group is one.

    Args:
        path: The file, in UTF-8.
        kind: What is asked.
        is_gold: Whether the right answers are known.

    Raises:
        DataError: if the file cannot be read, a line is malformed, an image file is not there, or
            two candidates of one prompt come up twice.
    """
    questions: list[Question] = []
    for row in _rows(path):
        whole = _question(row, kind=kind, is_gold=is_gold)
        if kind is Kind.PAIR and len(whole.candidates) > 2:
            questions += _pairs_of(whole)
        else:
            questions.append(whole)
    if not questions:
        raise DataError(
            f"'{path}' holds no group. Write one object a line with prompt, candidates."
        )
    _require_files(questions)
    _require_once(questions, kind=kind)
    return tuple(questions)


def _rows(path: Path) -> Iterator[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The groups in '{path}' cannot be read: {error}. Check it.") from error
    for number, line in enumerate(text.split("\n")):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"Row {number} of '{path}' is not JSON: {error}. Write one object a line."
            ) from error
        yield Row(values, file=path, number=number)


def _question(row: Row, *, kind: Kind, is_gold: bool) -> Question:
    given = row.get("id")
    if isinstance(given, bool) or not isinstance(given, str | int | None):
        raise row.error(f"has {given!r:.100} in 'id', expected text")
    cells = row.get("candidates")
    least = 1 if kind is Kind.SCORES else 2
    most = MAX_CANDIDATES
    if not isinstance(cells, list) or not least <= len(cells) <= most:
        raise row.error(f"has {cells!r:.100} in 'candidates', expected a list of {least} to {most}")
    found = [Row(values, file=row.file, number=row.number) for values in cells]
    images = [_path(row.file, cell.text("image")) for cell in found]
    if len(set(images)) < len(images):
        raise row.error("has the same image twice among its candidates")
    return Question(
        name=f"{row.file.name}:{row.number}" if given is None else str(given),
        prompt=row.text("prompt"),
        sources=_sources(row),
        candidates=tuple(
            Candidate(image=image, generator=cell.optional_text("generator"))
            for image, cell in zip(images, found, strict=True)
        ),
        known=_known(row, found, kind=kind) if is_gold else None,
    )


def _sources(row: Row) -> tuple[Path, ...]:
    given = row.get("source_image")
    if given is None:
        return ()
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise row.error(f"has {given!r:.100} in 'source_image', expected a path or several")
    return tuple(_path(row.file, name) for name in names)


def _known(row: Row, cells: list[Row], *, kind: Kind) -> Verdict:
    rows = []
    for cell in cells:
        numbers = [cell.number_at(column) for column in kind.columns]
        if any(number != int(number) for number in numbers):
            raise row.error(f"has {numbers} in {', '.join(kind.columns)}, expected whole numbers")
        rows.append(tuple(int(number) for number in numbers))
    if kind is not Kind.SCORES:  # ranks of a larger group may leave gaps
        ranks = sorted({numbers[0] for numbers in rows})
        rows = [(1 + ranks.index(numbers[0]),) for numbers in rows]
    try:
        return checked_verdict(kind, len(cells), tuple(rows))
    except UsageError as error:
        raise DataError(f"Row {row.number} of '{row.file}': {error}") from error


def _path(file: Path, name: str) -> Path:
    return Path(os.path.abspath(file.parent / name))  # noqa: PTH100 - links stay as they are


def _pairs_of(group: Question) -> Iterator[Question]:
    for one, other in itertools.combinations(range(len(group.candidates)), 2):
        known = group.known
        yield Question(
            name=f"{group.name}/{one}-{other}",
            prompt=group.prompt,
            sources=group.sources,
            candidates=(group.candidates[one], group.candidates[other]),
            known=known and checked_verdict(Kind.PAIR, 2, _two_ranks(known, one, other)),
        )


def _two_ranks(known: Verdict, one: int, other: int) -> tuple[tuple[int], tuple[int]]:
    first, second = known.rows[one][0], known.rows[other][0]
    return ((1 + (first > second),), (1 + (second > first),))


def _require_files(questions: Iterable[Question]) -> None:
    paths = dict.fromkeys(
        path
        for question in questions
        for path in (*question.sources, *(each.image for each in question.candidates))
    )
    missing = [path for path in paths if not path.is_file()]
    if missing:
        shown = ", ".join(f"'{path}'" for path in missing[:3])
        raise DataError(
            f"{len(missing)} of {len(paths)} image files are not there, such as {shown}. "
            "Correct the paths, which start at the folder of the groups."
        )


def _require_once(questions: Iterable[Question], *, kind: Kind) -> None:
    """Refuse what would be exported twice: a pair, or with scores an image, of one prompt."""
    size = 1 if kind is Kind.SCORES else 2
    seen: dict[tuple[object, ...], str] = {}
    for question in questions:
        images = sorted(str(each.image) for each in question.candidates)
        for some in itertools.combinations(images, size):
            key = (question.prompt, question.sources, some)
            if key in seen:
                raise DataError(
                    f"'{question.name}' asks again what '{seen[key]}' asks, about {some}. Put all "
                    "candidates of a prompt into one group, or leave one out."
                )
            seen[key] = question.name
