"""Read rows of Parquet files batch by batch, and the images in them when they are asked for."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visreward.core.errors import DataError
from visreward.data.base import ROWS_PER_GROUP, Arrow, load_optional, unreadable_parquet
from visreward.data.preference_table import Part
from visreward.data.preferences import ImageBytes
from visreward.data.row import encoded_image

_ROWS_WITH_IMAGES: Final = 64  # some 200 MB where a row has three images of 1 MB


def open_parquet(file: Path) -> Arrow:
    """Return a pyarrow ParquetFile.

    Raises:
        DataError: if the file cannot be read or is not Parquet.
        MissingExtraError: if pyarrow is not installed.
    """
    arrow = load_optional("pyarrow", extra="train")
    parquet = load_optional("pyarrow.parquet", extra="train")
    try:
        return parquet.ParquetFile(file)
    except (OSError, arrow.ArrowInvalid) as error:
        raise unreadable_parquet(file, error) from error


def iterate_parquet(file: Path, *, columns: Sequence[str], has_images: bool) -> Iterator[object]:
    """Yield the rows of a table as mappings from column to value.

    Args:
        file: The table.
        columns: Which columns; columns that are not there are left out of the rows, so that
            each row says what it lacks. Others are not read. `images[].path` reads one field of
            the structs that the column `images` lists, such as to count images and not load them.
        has_images: Whether encoded images are among them, so that few rows are read at once.

    Raises:
        DataError: if it cannot be read, or has none of the columns.
    """
    table = open_parquet(file)
    there = [leaf for name in columns for leaf in _leaves(table, name)]
    if not there:
        raise DataError(
            f"The table '{file}' has the columns {', '.join(table.schema_arrow.names)}, expected "
            f"{', '.join(columns)}. Check that it is a table of this format."
        )
    arrow = load_optional("pyarrow", extra="train")
    try:
        size = _ROWS_WITH_IMAGES if has_images else ROWS_PER_GROUP
        for batch in table.iter_batches(batch_size=size, columns=there):
            yield from batch.to_pylist()
    except (OSError, arrow.ArrowInvalid) as error:
        raise _damaged(file, error) from error


def _leaves(table: Arrow, name: str) -> list[str]:
    """Return what a column is called in the file, which names the levels of lists; or nothing."""
    column, is_listed, part = name.partition("[].")
    if column not in table.schema_arrow.names:
        return []
    if not is_listed:
        return [name]
    paths = [table.schema.column(number).path for number in range(len(table.schema))]
    return [path for path in paths if path.startswith(f"{column}.") and path.endswith(f".{part}")]


def _damaged(file: Path, error: Exception) -> DataError:
    return DataError(f"The table '{file}' is damaged: {error}. Fetch it again.")


class ParquetStore:
    """Images that are in columns of the tables themselves.

    A column holds encoded images, or structs with the field `bytes`. One row group of one column
    is kept in memory for each place, so rows are best asked for in their order. A worker process
    opens the tables again.
    """

    def __init__(
        self, parts: Sequence[Part], *, images: Sequence[str], sources: Sequence[str]
    ) -> None:
        """Take the tables; none is opened yet.

        Args:
            parts: The tables, in the order of the split.
            images: The column of each place.
            sources: The same for the images before an edit.
        """
        self._parts, self._images, self._sources = tuple(parts), images, sources
        self._starts = [part.start for part in parts]
        self._close()

    def _close(self) -> None:
        self._process = os.getpid()
        self._open: _OpenTable | None = None
        self._groups: dict[str, tuple[tuple[Path, int], Arrow]] = {}

    def __getstate__(self) -> dict[str, object]:
        """Return what a worker process needs: no open table."""
        return {**self.__dict__, "_open": None, "_groups": {}}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Take over what another process knows."""
        self.__dict__.update(state)
        self._close()

    def image(self, name: str, *, row: int, place: int) -> ImageBytes:
        """Return the image in a place of a row.

        Raises:
            DataError: if there is none.
        """
        return self.later(name, row=row, place=place).read()

    def source(self, name: str, *, row: int, place: int) -> ImageBytes:
        """Return an image before the edit.

        Raises:
            DataError: if there is none.
        """
        return self.later(name, row=row, place=place, is_source=True).read()

    def later(self, name: str, *, row: int, place: int, is_source: bool = False) -> StoredImage:
        """Return an image that is read when it is asked for."""
        part = self._parts[bisect.bisect_right(self._starts, row) - 1]
        return StoredImage(
            name=name,
            file=part.file,
            row=row - part.start,
            column=(self._sources if is_source else self._images)[place],
            store=self,
        )

    def blocks(self) -> NDArray[np.int64]:
        """Return for every row of the split the number of its row group, which is read whole."""
        sizes = [size for part in self._parts for size in _group_sizes(open_parquet(part.file))]
        return np.repeat(np.arange(len(sizes)), sizes)

    def cell(self, file: Path, *, row: int, column: str) -> bytes | None:
        """Return the encoded image in a row of a table, or None where there is none."""
        if self._process != os.getpid():
            self._close()
        if self._open is None or self._open.file != file:
            self._open = _OpenTable(file)
        column, _, place = column.partition("[")
        if column not in self._open.table.schema_arrow.names:
            return None
        group = bisect.bisect_right(self._open.starts, row) - 1
        kept = self._groups.get(column)
        if kept is None or kept[0] != (file, group):
            arrow = load_optional("pyarrow", extra="train")
            self._groups.pop(column, None)  # not two of them in memory
            try:
                cells = self._open.table.read_row_group(
                    group,
                    columns=[column],
                    use_threads=False,  # a forked worker has none, and would wait for them
                ).column(column)
            except (OSError, arrow.ArrowInvalid) as error:
                raise _damaged(file, error) from error
            kept = self._groups[column] = ((file, group), cells)
        value = kept[1][row - self._open.starts[group]].as_py()
        if place:  # of a list of images
            value = (value or [])[int(place[:-1]) :][:1]
            return encoded_image(value[0]) if value else None
        return encoded_image(value)


class _OpenTable:
    """A table, and where its row groups begin."""

    def __init__(self, file: Path) -> None:
        self.file, self.table = file, open_parquet(file)
        self.starts = [0, *itertools.accumulate(_group_sizes(self.table))][:-1]


def _group_sizes(table: Arrow) -> list[int]:
    metadata = table.metadata
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An encoded image in a table, which is read when it is asked for.

    Attributes:
        name: What the table calls it.
        file: The table.
        row: Of the table.
        column: Of the table.
        store: Reads it.
    """

    name: str
    file: Path
    row: int
    column: str
    store: ParquetStore = field(compare=False, repr=False)

    def read(self) -> ImageBytes:
        """Return the encoded image.

        Raises:
            DataError: if there is none.
        """
        data = self.store.cell(self.file, row=self.row, column=self.column)
        if data is None:
            raise DataError(
                f"Row {self.row} of '{self.file}' has no encoded image in '{self.column}'. "
                "Correct it, or leave it out."
            )
        return ImageBytes(name=self.name, data=data)

    def digest(self) -> str:
        """Return a digest of the encoded image, the same for the same bytes.

        Raises:
            DataError: if there is none.
        """
        return hashlib.blake2b(self.read().data, digest_size=16).hexdigest()

    def __str__(self) -> str:
        """Return where it is."""
        return f"{self.file}:{self.row}:{self.column}"
