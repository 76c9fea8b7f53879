"""Read captioned images in families: near alike images, each with the caption that is true of it.

Layout: `captions/{split}.parquet` with the columns family, image and caption; a family's rows
follow each other, and images are named relative to the folder `captions`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, overload

from visreward.core.errors import DataError, UnknownNameError
from visreward.data.base import Arrow, path_inside, read_parquet
from visreward.data.cells import typed_cells

FOLDER: Final = "captions"
_SPLITS: Final = ("train", "val", "test")
_COLUMNS: Final = ("family", "image", "caption")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedImage:
    """An image file and a caption that is true of it."""

    image: Path
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionFamily:
    """Images that differ in little, so that each caption is wrong for the others.

    Attributes:
        id: Split and family, such as `train/17`.
        members: The captioned images, in the table's order.
    """

    id: str
    members: tuple[CaptionedImage, ...]


class CaptionSplit(Sequence[CaptionFamily]):
    """The families of one split; see `Captions.split`."""

    def __init__(self, file: Path, *, name: str) -> None:
        self.name = name
        self._folder = file.parent
        table = read_parquet(file)
        missing = [column for column in _COLUMNS if column not in table.column_names]
        if missing:
            raise DataError(
                f"The table '{file}' lacks the columns {', '.join(missing)}. "
                f"It has: {', '.join(table.column_names)}. Check that it is a table of captions."
            )
        self._families: list[object] = table.column("family").to_pylist()
        self._images = _texts(table, "image", file=file)
        self._captions = _texts(table, "caption", file=file)
        lengths = [len(list(rows)) for _, rows in itertools.groupby(self._families)]
        if len(lengths) != len(set(self._families)):
            raise DataError(
                f"The table '{file}' has families in several pieces: {len(lengths)} runs of "
                f"rows for {len(set(self._families))} families. Sort it by family."
            )
        self._starts = list(itertools.accumulate(lengths, initial=0))

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> CaptionFamily: ...

    @overload
    def __getitem__(self, index: slice) -> list[CaptionFamily]: ...

    def __getitem__(self, index: int | slice) -> CaptionFamily | list[CaptionFamily]:
        """Return a family, or a list of them for a slice.

        Raises:
            DataError: if an image's name leads out of the folder.
            IndexError: if there is no such family.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"Family {index} of {len(self)} families of '{self.name}'.")
        start, stop = self._starts[number : number + 2]
        members = (
            CaptionedImage(
                image=path_inside(self._folder, self._images[row]), caption=self._captions[row]
            )
            for row in range(start, stop)
        )
        return CaptionFamily(id=f"{self.name}/{self._families[start]}", members=tuple(members))


class Captions:
    """A data set of captioned images on disk."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Find the tables; none is read yet.

        Args:
            path: The folder that holds `captions`, or that folder.

        Raises:
            DataError: if there is no table.
        """
        given = Path(path)
        folder = given / FOLDER if (given / FOLDER).is_dir() else given
        files = {split: folder / f"{split}.parquet" for split in _SPLITS}
        self._files = {split: file for split, file in files.items() if file.is_file()}
        if not self._files:
            raise DataError(
                f"No table of captions was found at '{given}'. Give the folder that holds "
                f"{FOLDER}/train.parquet (or val, test)."
            )

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have a table."""
        return tuple(self._files)

    def split(self, name: str) -> CaptionSplit:
        """Return the families of a split, reading its table. Deterministic; no image is opened.

        Raises:
            UnknownNameError: if there is no such split.
            DataError: if the table cannot be read, lacks a column or a value, or has a family
                in several pieces.
        """
        if name not in self._files:
            raise UnknownNameError(
                f"There is no split {name!r} here. Splits found: {', '.join(self._files)}."
            )
        return CaptionSplit(self._files[name], name=name)


def _texts(table: Arrow, column: str, *, file: Path) -> list[str]:
    """Return a column of text, each cell of which must be there."""
    cells, bad = typed_cells(table.column(column), cell="text")
    texts: list[str | None] = cells.to_pylist()
    kept = [text for text in texts if text is not None]
    if len(kept) < len(texts):
        row = texts.index(None)
        raise DataError(
            f"Row {row} of '{file}' has {bad.get(row, 'nothing')} in column {column}, expected "
            "text. Correct the table, or leave the row out."
        )
    return kept
