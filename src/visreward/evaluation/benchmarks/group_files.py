"""Groups of a benchmark as JSON lines, a form that every benchmark reads and can be written in.

One object a line:

    {"id": "7", "prompt": "make the cup red", "source_image": "cup.png",
     "candidates": [{"image": "a.png", "rank": 1, "human": 3.5, "generator": "one"},
                    {"image": "b.png", "rank": 2}],
     "category": "colour", "cluster": "cup"}

`id`, `source_image` (one path or several), `category`, `cluster`, and a candidate's `generator` may
be left out, and so may `ratings`, {"anna": 3, "bo": 4}: what each rater scored, and where `human`
is left out, that is their mean. Of `rank` (1 = best, equal for a tie) and `human` (a score, higher
is better), each candidate has at least one; all candidates of a group have a rank, or none. A group
of one candidate needs `human`. Paths start at the file's folder. Other keys are not read.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from visreward.core.errors import DataError
from visreward.core.whole_files import whole_file
from visreward.data.base import ProblemLog
from visreward.data.preferences import ImageBytes, JudgedImage, PreferenceRow
from visreward.data.row import Row
from visreward.evaluation.benchmarks.base import BenchData
from visreward.evaluation.benchmarks.lazy_groups import LazyGroups
from visreward.evaluation.benchmarks.records import BenchGroup

SUFFIX: Final = ".jsonl"

_SUFFIXES: Final = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp", b"GIF8": ".gif"}


def is_group_file(path: Path) -> bool:
    """Return whether a path names a JSONL of groups, to a benchmark that also reads other forms."""
    return path.suffix == SUFFIX and path.is_file()


def read_groups(path: Path, *, images: Path | None = None) -> BenchData:
    """Return the groups of a JSONL file. Deterministic; no image is opened.

    Lines are gone through once, so that malformed ones are known; where the others begin is kept,
    and a line is read again when its group is asked for.

    Args:
        path: The file, in UTF-8.
        images: The folder that images are named relative to, or None for that of the file.

    Raises:
        DataError: if the file cannot be read or holds no group at all.
    """
    problems = ProblemLog()
    offsets = array("q")
    numbers = array("q")
    folder = path.parent if images is None else images
    at = 0
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream):
                if line.strip():
                    try:
                        _group(line, file=path, number=number, folder=folder)
                    except DataError as error:
                        problems.add("malformed row", [str(error)])
                    else:
                        offsets.append(at)
                        numbers.append(number)
                at += len(line)
    except OSError as error:
        raise DataError(
            f"The groups in '{path}' cannot be read: {error.strerror or error}. Check the path."
        ) from error
    found = problems.problems()
    if not offsets:
        reason = found[0].examples[0] if found else "It is empty."
        raise DataError(f"No line of '{path}' holds a group. {reason}")
    groups = _FileGroups(path, offsets=offsets, numbers=numbers, folder=folder)
    return BenchData(groups=groups, problems=found)


class _FileGroups(LazyGroups):
    def __init__(
        self, path: Path, *, offsets: array[int], numbers: array[int], folder: Path
    ) -> None:
        self._path, self._offsets, self._numbers, self._folder = path, offsets, numbers, folder

    def __len__(self) -> int:
        return len(self._offsets)

    def group(self, number: int) -> BenchGroup:
        with self._path.open("rb") as stream:
            stream.seek(self._offsets[number])
            line = stream.readline()
        return _group(line, file=self._path, number=self._numbers[number], folder=self._folder)


def _group(line: bytes, *, file: Path, number: int, folder: Path) -> BenchGroup:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"Row {number} of '{file}' is not JSON: {error}. Write one object a line."
        ) from error
    row = Row(values, file=file, number=number)
    prompt = row.text("prompt")
    sources = () if row.get("source_image") is None else _paths(row, "source_image", folder)
    given = row.get("id")
    if isinstance(given, bool) or not isinstance(given, str | int | None):
        raise row.error(f"has {given!r:.100} in 'id', expected text")
    return BenchGroup(
        row=PreferenceRow(
            id=f"{file.name}:{number}" if given is None else str(given),
            prompt=prompt,
            images=_candidates(row, folder),
            sources=sources,
        ),
        category=row.optional_text("category") or "",
        cluster=row.optional_text("cluster") or prompt,
    )


def _paths(row: Row, key: str, folder: Path) -> tuple[Path, ...]:
    value = row.get(key)
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names:
        raise row.error(f"has {value!r:.100} in '{key}', expected a path or several")
    if not all(isinstance(name, str) and name for name in names):
        raise row.error(f"has {value!r:.100} in '{key}', expected a path or several")
    return tuple(folder / name for name in names)


def _candidates(row: Row, folder: Path) -> tuple[JudgedImage, ...]:
    given = row.get("candidates")
    if not isinstance(given, list) or not given:
        raise row.error(f"has {given!r:.100} in 'candidates', expected a list of objects")
    found = tuple(
        _candidate(Row(values, file=row.file, number=row.number), folder) for values in given
    )
    num_ranks = sum(image.rank is not None for image in found)
    if num_ranks not in (0, len(found)):
        raise row.error(f"ranks {num_ranks} of {len(found)} candidates; rank all of them, or none")
    if not num_ranks and any(image.overall is None for image in found):
        raise row.error("has a candidate with neither 'rank' nor 'human'")
    if len(found) == 1 and found[0].overall is None:
        raise row.error("has 1 candidate and no 'human' score of it, so nothing to compare")
    return found


def _candidate(row: Row, folder: Path) -> JudgedImage:
    rank = row.get("rank")
    if rank is not None and (isinstance(rank, bool) or not isinstance(rank, int) or rank < 1):
        raise row.error(f"has {rank!r:.100} in 'rank', expected a whole number from 1 (best) up")
    ratings = _ratings(row)
    overall = row.optional_number("human")
    if overall is None and ratings:
        overall = math.fsum(ratings.values()) / len(ratings)
    return JudgedImage(
        image=folder / row.text("image"),
        rank=rank,
        overall=overall,
        generator=row.optional_text("generator"),
        ratings=ratings,
    )


def _ratings(row: Row) -> dict[str, float]:
    given = row.get("ratings")
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not given:
        raise row.error(f"has {given!r:.100} in 'ratings', expected a score by rater")
    inner = Row(given, file=row.file, number=row.number)
    return {rater: inner.number_at(rater) for rater in given}


def write_groups(groups: Iterable[BenchGroup], path: Path) -> int:
    """Write groups as JSON lines; images that tables hold become files beside it.

    Those files are in the folder `{name}_images`, named by a digest of their content, so each is
    there once. Paths are written relative to the file where they are below its folder.

    Args:
        groups: Any groups.
        path: The file to write; it appears whole or not at all.

    Returns:
        How many groups were written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    num_groups = 0
    with whole_file(path) as part, part.open("w", encoding="utf-8") as stream:
        for group in groups:
            num_groups += 1
            stream.write(json.dumps(_record(group, path), ensure_ascii=False) + "\n")
    return num_groups


def _record(group: BenchGroup, path: Path) -> dict[str, Any]:  # JSON values
    row = group.row
    record: dict[str, Any] = {"id": row.id, "prompt": row.prompt}
    if row.sources:
        record["source_image"] = [_placed(source, path) for source in row.sources]
    record["candidates"] = [
        {
            key: value
            for key, value in {
                "image": _placed(image.image, path),
                "rank": image.rank,
                "human": image.overall,
                "generator": image.generator,
                "ratings": dict(image.ratings) or None,
            }.items()
            if value is not None
        }
        for image in row.images
    ]
    marks = {"category": group.category, "cluster": group.cluster}
    return record | {key: text for key, text in marks.items() if text}


def _placed(image: Path | ImageBytes, path: Path) -> str:
    """Return how a group file names an image, after writing one that has no file."""
    if isinstance(image, ImageBytes):
        folder = path.with_name(f"{path.stem}_images")
        folder.mkdir(exist_ok=True)
        name = hashlib.blake2b(image.data, digest_size=16).hexdigest()
        suffix = next((end for start, end in _SUFFIXES.items() if image.data.startswith(start)), "")
        file = folder / f"{name}{suffix}"
        if not file.exists():
            with whole_file(file) as part:
                part.write_bytes(image.data)
        return f"{folder.name}/{file.name}"
    whole, folder = Path(os.path.abspath(image)), Path(os.path.abspath(path.parent))  # noqa: PTH100
    return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)
