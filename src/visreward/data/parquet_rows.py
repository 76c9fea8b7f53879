"""Read rows of Parquet files batch by batch, and the images in them when they are asked for."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

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
            each row says what it lacks. Others are not read.
        has_images: Whether encoded images are among them, so that few rows are read at once.

    Raises:
        DataError: if it cannot be read, or has none of the columns.
    """
    table = open_parquet(file)
    there = [name for name in columns if name in table.schema_arrow.names]
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


def _damaged(file: Path, error: Exception) -> DataError:
    return DataError(f"The table '{file}' is damaged: {error}. Fetch it again.")


class ParquetStore:
    """Images that are in columns of the tables themselves.

    A column holds encoded images, or structs with the field `bytes`. One row group of one column
    is kept in memory for each place, so rows are best asked for in their order.
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
        self._tables: dict[Path, Arrow] = {}
        self._groups: dict[str, tuple[tuple[Path, int], Arrow]] = {}

    def image(self, name: str, *, row: int, place: int) -> ImageBytes:
        """Return the image in a place of a row.

        Raises:
            DataError: if there is none.
        """
        return self._read(name, row=row, column=self._images[place])

    def source(self, name: str, *, row: int, place: int) -> ImageBytes:
        """Return an image before the edit.

        Raises:
            DataError: if there is none.
        """
        return self._read(name, row=row, column=self._sources[place])

    def _read(self, name: str, *, row: int, column: str) -> ImageBytes:
        part = self._parts[bisect.bisect_right(self._starts, row) - 1]
        data = encoded_image(self._cell(part.file, row - part.start, column))
        if data is None:
            raise DataError(
                f"Row {row - part.start} of '{part.file}' has no encoded image in '{column}'. "
                "Correct it, or leave it out."
            )
        return ImageBytes(name=name, data=data)

    def _cell(self, file: Path, row: int, column: str) -> object:
        if file not in self._tables:
            self._tables = {file: open_parquet(file)}
        table = self._tables[file]
        if column not in table.schema_arrow.names:
            return None
        group, start = 0, 0
        while row >= start + table.metadata.row_group(group).num_rows:
            start += table.metadata.row_group(group).num_rows
            group += 1
        kept = self._groups.get(column)
        if kept is None or kept[0] != (file, group):
            arrow = load_optional("pyarrow", extra="train")
            try:
                cells = table.read_row_group(group, columns=[column]).column(column)
            except (OSError, arrow.ArrowInvalid) as error:
                raise _damaged(file, error) from error
            kept = self._groups[column] = ((file, group), cells)
        return kept[1][row - start].as_py()
