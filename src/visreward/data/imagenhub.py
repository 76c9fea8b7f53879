"""Read ImagenHub's ratings of edits: a table for each rater, a column for each editing model.

Tables, as in the release's `eval/human_ratings/Text-Guided_IE`: `*.tsv` with the column uid and one
for each editing model, whose cells hold `[semantic consistency, perceptual quality]`, both from 0
to 1. Images, as in `results/ImagenHub_Text-Guided_IE`: `input/UID` before the edit, `MODEL/UID`
after it, and `dataset_lookup.json`, {"UID": {"instruction": ...}}.

What a rater says of an edit is sqrt(consistency x quality), and people its mean over the raters, as
in VIEScore's and ADIEE's evaluation. Both leave Imagic out, and so is it here.
"""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visreward.core.errors import DataError
from visreward.data.base import Problem, ProblemLog
from visreward.data.preferences import JudgedImage, PreferenceRow
from visreward.data.row import Row

LOOKUP_FILE: Final = "dataset_lookup.json"
LEFT_OUT: Final = "Imagic"

_ID: Final = "uid"


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedEdits:
    """Edits that several people scored, each alone.

    Attributes:
        rows: One edit each, with what each rater says of it.
        problems: Cells that could not be read, and edits that are not among the rows.
    """

    rows: tuple[PreferenceRow, ...]
    problems: tuple[Problem, ...]


def rating_tables(path: Path) -> tuple[Path, ...]:
    """Return the tables of raters in a folder, none where it is something else."""
    return tuple(sorted(path.glob("*.tsv"))) if path.is_dir() else ()


def read_imagenhub(path: Path, *, images: Path | None = None) -> RatedEdits:
    """Return all edits, in the order of the first table. Deterministic; no image is opened.

    Args:
        path: The folder of the tables.
        images: The folder of the images and their instructions; None means that of the tables.

    Raises:
        DataError: if a table or the instructions cannot be read, or no edit is left.
    """
    folder = path if images is None else images
    instructions = _instructions(folder / LOOKUP_FILE)
    log = ProblemLog()
    ratings: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for table in rating_tables(path):
        for uid, editor, score in _cells(table, log):
            ratings[uid, editor][table.stem] = score
    rows = []
    for (uid, editor), given in ratings.items():
        if editor == LEFT_OUT:
            log.add(f"edit of {LEFT_OUT}, which is left out", [uid], is_warning=True)
        elif uid not in instructions:
            log.add("rated edit without an instruction", [f"{uid}, {editor}"])
        else:
            rows.append(_row(uid, editor, given, instruction=instructions[uid], folder=folder))
    if not rows:
        raise DataError(
            f"The tables in '{path}' and '{folder / LOOKUP_FILE}' have no edit in common. Give the "
            "folder of the raters' tables with --data, and that of the images with --images."
        )
    return RatedEdits(rows=tuple(rows), problems=log.problems())


def _row(
    uid: str, editor: str, given: Mapping[str, float], *, instruction: str, folder: Path
) -> PreferenceRow:
    edited = JudgedImage(
        image=folder / editor / uid,
        rank=None,
        overall=math.fsum(given.values()) / len(given),
        generator=editor,
        ratings=dict(given),
    )
    return PreferenceRow(
        id=f"{editor}/{uid}",
        prompt=instruction,
        images=(edited,),
        sources=(folder / "input" / uid,),
    )


def _instructions(file: Path) -> dict[str, str]:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"The instructions in '{file}' cannot be read: {error}. Give the folder that holds "
            f"{LOOKUP_FILE}, input/ and one folder for each editing model with --images."
        ) from error
    if not isinstance(held, dict):
        raise DataError(f"'{file}' holds a {type(held).__name__}, expected an object by uid.")
    return {
        uid: Row(values, file=file, number=number).text("instruction")
        for number, (uid, values) in enumerate(held.items())
    }


def _cells(file: Path, log: ProblemLog) -> Iterator[tuple[str, str, float]]:
    """Yield uid, editing model and score of every cell that says something."""
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            table = csv.DictReader(stream, delimiter="\t")
            if table.fieldnames is None or _ID not in table.fieldnames:
                raise DataError(f"The table '{file}' has no column '{_ID}'. Give a rater's table.")
            lines = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"The table '{file}' cannot be read: {error}. Check the file.") from error
    for number, line in enumerate(lines):
        row = Row(line, file=file, number=number)
        for editor in table.fieldnames:
            if editor == _ID or not (line[editor] or "").strip():
                continue
            try:
                uid = row.image_name(_ID)
                score = _score(row, editor)
            except DataError as error:
                log.add("malformed rating", [str(error)])
            else:
                yield uid, editor, score


def _score(row: Row, editor: str) -> float:
    text = row.text(editor)
    try:
        parts = json.loads(text)
    except ValueError:
        parts = None
    if not isinstance(parts, list) or len(parts) != 2 or not all(map(_is_share, parts)):
        raise row.error(f"has {text!r:.100} in '{editor}', expected two numbers from 0 to 1")
    return math.sqrt(parts[0] * parts[1])


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
