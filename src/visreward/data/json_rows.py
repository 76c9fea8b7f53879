"""Read a JSON list one value at a time, so that a file larger than memory can be gone through."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from visreward.core.errors import DataError

CHUNK_CHARS: Final = 1 << 20
MAX_VALUE_CHARS: Final = 1 << 24  # a longer value is taken for a file that is torn

_AFTER_VALUE: Final = frozenset(" \t\n\r,]")
_SPACE: Final = re.compile(r"[ \t\n\r]*")


def iterate_json_list(file: Path) -> Iterator[object]:
    """Yield the values of the list that a JSON file holds, in their order.

    Two chunks of the file are in memory at most, and more where one value is longer. What comes
    before a syntax error is yielded before the error is raised. Deterministic.

    Args:
        file: UTF-8, with or without a byte order mark.

    Raises:
        DataError: if the file cannot be read, is not JSON, or holds something else than a list;
            it names the row.
    """
    try:
        with file.open(encoding="utf-8-sig") as stream:
            yield from _Scanner(file, stream).values()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{file}' cannot be read as JSON: {error}. Write it again.") from error


def iterate_json_member(file: Path, key: str) -> Iterator[object]:
    """Yield the values of a list that is a member of the object that a JSON file holds.

    The whole file is read at once. Deterministic.

    Args:
        file: UTF-8, with or without a byte order mark.
        key: Of the list.

    Raises:
        DataError: if the file cannot be read, is not JSON, or holds no such list.
    """
    try:
        held = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"'{file}' cannot be read as JSON: {error}. Write it again.") from error
    rows = held.get(key) if isinstance(held, dict) else None
    if not isinstance(rows, list):
        raise DataError(
            f"'{file}' holds a {type(held).__name__} without a list {key!r}. Give a file that "
            f'holds {{"{key}": [{{...}}, {{...}}]}}.'
        )
    yield from rows


class _Scanner:
    """A window on the text of a file that moves on value by value."""

    def __init__(self, file: Path, stream: TextIO) -> None:
        self._file, self._stream = file, stream
        self._text, self._at = "", 0
        self._is_at_end = False
        self._decode = json.JSONDecoder().raw_decode

    def values(self) -> Iterator[object]:
        if self._next_char() != "[":
            raise DataError(
                f"'{self._file}' begins with {self._text[self._at : self._at + 20]!r}, expected a "
                "list of rows. Give a file that holds [{...}, {...}]."
            )
        self._at += 1
        number = 0
        is_list_over = self._next_char() == "]"
        while not is_list_over:
            yield self._value(number)
            number += 1
            mark = self._next_char()
            if mark not in {",", "]"}:
                raise self._torn(number - 1, f"{mark!r} follows it, expected ',' or ']'")
            is_list_over = mark == "]"
            self._at += not is_list_over
        self._at += 1
        if self._next_char():
            raise self._torn(number, f"{self._next_char()!r} follows the list")

    def _next_char(self) -> str:
        """Return the next character that is no space, without passing it; empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                return ""

    def _read_more(self) -> bool:
        """Read on and forget what was passed; return whether there was anything."""
        if self._is_at_end:
            return False
        rest = self._text[self._at :]
        more = self._stream.read(max(CHUNK_CHARS, len(rest)))
        self._is_at_end = not more
        self._text, self._at = rest + more, 0
        return bool(more)

    def _value(self, number: int) -> object:
        self._next_char()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._grow():
                    raise self._torn(number, error.msg) from error
            except (ValueError, RecursionError) as error:  # thousands of digits or brackets
                raise self._torn(number, str(error)) from error
            else:
                # "1" at the end of the window, or "1." or "1e", may be the start of a number
                is_whole = self._text[end : end + 1] in _AFTER_VALUE or not self._grow()
                if is_whole:
                    self._at = end
                    return value

    def _grow(self) -> bool:
        """Read on behind a value that the window may cut; return whether that helps."""
        return len(self._text) - self._at <= MAX_VALUE_CHARS and self._read_more()

    def _torn(self, number: int, what: str) -> DataError:
        return DataError(
            f"'{self._file}' cannot be read as JSON from row {number} on: {what}. "
            "Correct that row, or write the file again."
        )
