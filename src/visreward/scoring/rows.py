"""Input files: one JSON object a line, each a prompt and an image."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from visreward.core.errors import DataError
from visreward.core.types import Sample, SourceImages
from visreward.scoring.records import RowError

_MAX_LINE_BYTES = 1 << 20
_URL = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)


def read_rows(path: Path) -> Iterator[Sample | RowError]:
    """Yield the samples of a JSON-lines file as they stand.

    A line is an object with `prompt` (text), `image` (a path), and, where wanted,
    `source_image` (a path, or a list of several) and `id`; other keys are ignored. Relative paths
    start at the file's folder. Blank lines are skipped.

    Args:
        path: The file, in UTF-8.

    Yields:
        A sample, or the reason why a line holds none.

    Raises:
        DataError: if the file cannot be read, or none of its lines holds a sample.
    """
    first_error: RowError | None = None
    has_sample = False
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(_lines(stream), start=1):
                entry = _entry(line, name=f"{path.name} line {number}", folder=path.parent)
                if isinstance(entry, RowError):
                    first_error = first_error or entry
                has_sample = has_sample or isinstance(entry, Sample)
                if entry is not None:
                    yield entry
    except OSError as error:
        raise DataError(
            f"The input file '{path}' cannot be read: {error.strerror or error}. Check the path."
        ) from error
    if not has_sample:
        reason = f" {first_error.name}: {first_error.reason}" if first_error else " It is empty."
        raise DataError(
            f"No line of '{path}' holds a sample.{reason} "
            'Write one object a line: {"prompt": "...", "image": "..."}'
        )


def count_lines(path: Path) -> int:
    """Return how many lines a file has, for a progress bar; 0 if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return sum(1 for _ in stream)
    except OSError:
        return 0


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield lines; of one that is too long, only so much that this can be seen."""
    while line := stream.readline(_MAX_LINE_BYTES + 1):
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(_MAX_LINE_BYTES)
        yield line


def _entry(line: bytes, *, name: str, folder: Path) -> Sample | RowError | None:
    """Return what one line holds; None for a blank one."""
    if len(line) > _MAX_LINE_BYTES:
        return RowError(name=name, reason="The line is longer than 1 MB. Split the file by lines.")
    values: Any  # whatever the JSON holds
    try:
        text = line.decode("utf-8-sig").strip()
        values = json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        return RowError(
            name=name, reason=f"The line is not JSON: {error}. Write one object a line."
        )
    if not text:
        return None
    reason = _fault(values)
    if reason is not None:
        return RowError(name=name, reason=reason)
    source, row_id = values.get("source_image"), values.get("id")
    return Sample(
        prompt=values["prompt"],
        image=_placed(values["image"], folder),
        source_image=_sources(source, folder),
        id=None if row_id is None else str(row_id),
    )


def _fault(values: object) -> str | None:
    """Say what is wrong with a row, or None."""
    if not isinstance(values, dict):
        return f"The line holds a {type(values).__name__}. Write an object with prompt and image."
    for key in ("prompt", "image"):
        if key not in values:
            seen = ", ".join(sorted(values)) or "none"
            return f"The key '{key}' is missing; the keys are: {seen}. Add it."
    wanted = {
        "prompt": str,
        "image": str,
        "source_image": str | list | None,
        "id": str | int | None,
    }
    for key, kind in wanted.items():
        value = values.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"The key '{key}' holds a {type(value).__name__}. Write text."
    sources = values.get("source_image")
    if isinstance(sources, list) and not (
        sources and all(isinstance(source, str) for source in sources)
    ):
        return "The key 'source_image' holds a list of other things than paths. Write paths."
    return None


def _sources(given: str | list[str] | None, folder: Path) -> SourceImages | None:
    if isinstance(given, list):
        return tuple(_placed(source, folder) for source in given)
    return None if given is None else _placed(given, folder)


def _placed(path: str, folder: Path) -> str:
    # A URL stays as it is, so that the reader of images can say that URLs are off.
    return path if _URL.match(path) or not path else str(folder / path)
