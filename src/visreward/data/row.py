"""One row of a foreign file, whose values are checked as they are asked for."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final, TypeGuard

from visreward.core.errors import DataError

_MAX_COUNT: Final = 2**31 - 1


class Row:
    """A row of a file: values by the file's own names.

    A missing value and null are the same. Every error names file and row.
    """

    __slots__ = ("_values", "file", "number")

    def __init__(self, values: object, *, file: Path, number: int) -> None:
        """Take the values of a row.

        Args:
            values: What the file holds there.
            file: Where it was read from.
            number: Which row of the file, from 0.

        Raises:
            DataError: if it is no mapping.
        """
        self.file, self.number = file, number
        if not isinstance(values, Mapping):
            raise self.error(f"is a {type(values).__name__}, expected an object")
        self._values = values

    def error(self, what: str) -> DataError:
        """Return the error that something is wrong with this row.

        Args:
            what: What, as it goes on after `Row 17 of 'file'`.
        """
        return DataError(f"Row {self.number} of '{self.file}' {what}. Correct it, or leave it out.")

    def get(self, key: str) -> object:
        """Return a value as it is, or None."""
        return self._values.get(key)

    def text(self, key: str) -> str:
        """Return text that is not blank.

        Raises:
            DataError: if there is none, or it has no UTF-8 form.
        """
        value = self._values.get(key)
        if not _is_text(value):
            raise self._unexpected(key, "text")
        return value

    def optional_text(self, key: str) -> str | None:
        """Return text, or None where there is no value.

        Raises:
            DataError: if there is something else.
        """
        return None if self._values.get(key) is None else self.text(key)

    def number_at(self, key: str) -> float:
        """Return a finite number.

        Raises:
            DataError: if there is none.
        """
        value = self._values.get(key)
        if not isinstance(value, float | int) or isinstance(value, bool):
            raise self._unexpected(key, "a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._unexpected(key, "a number")
        return number

    def optional_number(self, key: str) -> float | None:
        """Return a finite number, or None where there is no value.

        Raises:
            DataError: if there is something else.
        """
        return None if self._values.get(key) is None else self.number_at(key)

    def share(self, key: str) -> float | None:
        """Return a number from 0 to 1, or None where there is no value.

        Raises:
            DataError: if there is something else.
        """
        value = self.optional_number(key)
        if value is not None and not 0.0 <= value <= 1.0:
            raise self._unexpected(key, "0 to 1, or null")
        return value

    def flag(self, key: str) -> bool:
        """Return true or false; where there is no value, false.

        Raises:
            DataError: if there is something else.
        """
        value = self._values.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self._unexpected(key, "true or false")
        return value

    def counts(self, key: str, *, num: int) -> tuple[int, ...] | None:
        """Return whole numbers from 0 up, or None where there is no value.

        Args:
            key: Of the value.
            num: How many they must be.

        Raises:
            DataError: if there is something else.
        """
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or len(value) != num:
            raise self._unexpected(key, f"{num} counts, or null")
        for count in value:
            is_whole = isinstance(count, int) and not isinstance(count, bool)
            if not is_whole or not 0 <= count <= _MAX_COUNT:
                raise self._unexpected(key, f"{num} counts, or null")
        return tuple(value)

    def image_name(self, key: str) -> str:
        """Return the name of an image, relative to the folder of the images.

        Raises:
            DataError: if there is none, or it leads out of that folder.
        """
        return self._inside(self.text(key), key)

    def image_names(self, key: str) -> tuple[str, ...]:
        """Return the names of one image or of a list of them.

        Raises:
            DataError: if there is none, or one leads out of the folder.
        """
        value = self._values.get(key)
        if isinstance(value, str):
            return (self.image_name(key),)
        if not isinstance(value, list | tuple) or not value:
            raise self._unexpected(key, "a path or several")
        for name in value:
            if not _is_text(name):
                raise self._unexpected(key, "a path or several")
        return tuple(self._inside(name, key) for name in value)

    def image_bytes(self, key: str) -> bytes:
        """Return an encoded image: the value itself, or its field `bytes`.

        Raises:
            DataError: if there is none.
        """
        data = encoded_image(self._values.get(key))
        if data is None:
            raise self.error(f"has no encoded image in '{key}'")
        return data

    def image_digest(self, key: str) -> str:
        """Return a digest of an encoded image, to name images that have no names.

        Raises:
            DataError: if there is none.
        """
        return hashlib.blake2b(self.image_bytes(key), digest_size=16).hexdigest()

    def _inside(self, name: str, key: str) -> str:
        if name[0] == "/" or ".." in name:
            parts = PurePosixPath(name)
            if parts.is_absolute() or ".." in parts.parts:
                raise self.error(
                    f"has {name!r} in '{key}', which does not lead into the folder of the images"
                )
        return name

    def _unexpected(self, key: str, expected: str) -> DataError:
        return self.error(f"has {self._values.get(key)!r:.100} in '{key}', expected {expected}")


def encoded_image(value: object) -> bytes | None:
    """Return the bytes in the cell of an image column, or None where there are none."""
    if isinstance(value, Mapping):
        value = value.get("bytes")
    return value if isinstance(value, bytes) and value else None


def _is_text(value: object) -> TypeGuard[str]:
    if not isinstance(value, str) or not value.strip():
        return False
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # a lone surrogate
            return False
    return True
