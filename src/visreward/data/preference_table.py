"""A split of preference rows in memory: Arrow columns, from which rows are made when asked for.

A row of Python objects takes about 2 kB, the same row in columns the bytes of its text.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from visreward.core.errors import DataError, UsageError
from visreward.data.base import Arrow, load_optional
from visreward.data.preferences import ImageBytes, JudgedImage, PreferenceRow

_Cells: TypeAlias = Mapping[str, Any]  # a row by column; what a cell may be depends on its column


@dataclass(slots=True, kw_only=True)
class PreferenceCells:
    """What a reader found in one row. Lists have an entry per image.

    Attributes:
        prompt: As in `PreferenceRow`.
        images: Names of the images.
        ranks: 1 = best, or None where nobody said.
        sources: Names of the images before an edit.
        votes: How many annotators chose each image, or None.
        dimensions: Scores of the first image on each dimension, then of the second and so on;
            or None.
        overall: Scores as a whole, or None.
        generators: What made each image, or None.
        confidence: As in `PreferenceRow`.
        category: As in `PreferenceRow`, or None.
    """

    prompt: str
    images: tuple[str, ...]
    ranks: tuple[int, ...] | None
    sources: tuple[str, ...] = ()
    votes: tuple[int, ...] | None = None
    dimensions: tuple[float | None, ...] | None = None
    overall: tuple[float | None, ...] | None = None
    generators: tuple[str | None, ...] | None = None
    confidence: float | None = None
    category: str | None = None


class ImageStore(Protocol):
    """Where the images of a split are."""

    def image(self, name: str, *, row: int, place: int) -> Path | ImageBytes:
        """Return the image in a place of a row."""
        ...

    def source(self, name: str, *, row: int, place: int) -> Path | ImageBytes:
        """Return an image before the edit."""
        ...

    def later(
        self, name: str, *, row: int, place: int, is_source: bool = False
    ) -> Path | LaterImage:
        """Return a file, or an image that is read when it is asked for."""
        ...


class LaterImage(Protocol):
    """An encoded image that is read when it is asked for; `str` of it says where it is."""

    @property
    def file(self) -> Path:
        """What holds it."""
        ...

    def read(self) -> ImageBytes:
        """Return it.

        Raises:
            DataError: if there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class FolderStore:
    """Images that are files, named relative to a folder."""

    folder: Path

    def image(self, name: str, *, row: int, place: int) -> Path:  # noqa: ARG002
        """Return the path of an image; names were checked when they were read."""
        return self.folder / name

    source = image

    def later(
        self,
        name: str,
        *,
        row: int,  # noqa: ARG002
        place: int,  # noqa: ARG002
        is_source: bool = False,  # noqa: ARG002
    ) -> Path:
        """Return the path of an image."""
        return self.folder / name


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a split, and its first row's number in the split."""

    file: Path
    start: int


class PreferenceTable(Sequence[PreferenceRow]):
    """The rows of one split.

    Attributes:
        name: Of the split.
        rows: A pyarrow.Table with the fields of `PreferenceCells`, and `row`, the number in the
            split. The cells of bad rows are null, and `category` is left out where no row has one.
        bad_rows: Why a row cannot be used, by its number in the split.
        dimensions: Names of the dimensions that images have scores on.
        store: Where the images are.
    """

    def __init__(
        self,
        rows: Arrow,
        *,
        name: str,
        parts: Sequence[Part],
        store: ImageStore,
        dimensions: tuple[str, ...],
        bad_rows: Mapping[int, str],
    ) -> None:
        self.rows, self.name, self.store = rows, name, store
        self.dimensions, self.bad_rows = dimensions, bad_rows
        self._parts = tuple(parts)
        self._starts = [part.start for part in parts]

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @overload
    def __getitem__(self, index: int) -> PreferenceRow: ...

    @overload
    def __getitem__(self, index: slice) -> list[PreferenceRow]: ...

    def __getitem__(self, index: int | slice) -> PreferenceRow | list[PreferenceRow]:
        """Return a row, or a list of them for a slice.

        Raises:
            DataError: if the row is malformed.
            IndexError: if there is no such row.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"Row {index} of {len(self)} rows of the split '{self.name}'.")
        return self._row(self.rows.slice(number, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[PreferenceRow]:
        """Yield all rows in order.

        Raises:
            DataError: at a row that is malformed.
        """
        for cells in self.cells():
            yield self._row(cells)

    def cells(self) -> Iterator[_Cells]:
        """Yield the cells of all rows in order, by column, without opening images.

        Those of bad rows are None.
        """
        for batch in self.rows.to_batches(max_chunksize=1000):
            yield from batch.to_pylist()

    def require_whole_rows(self) -> None:
        """Stop if any row is malformed.

        Raises:
            DataError: naming the first such row and how many there are.
        """
        if self.bad_rows:
            first = self.bad_rows[min(self.bad_rows)]
            raise DataError(f"{first} Malformed rows in all: {len(self.bad_rows)}.")

    def place(self, row: int) -> str:
        """Return file and row of a row of the split, such as `train.json:17`."""
        part = self._parts[bisect.bisect_right(self._starts, row) - 1]
        return f"{part.file.name}:{row - part.start}"

    def is_confident(
        self, threshold: float, *, unknown: Literal["keep", "drop"]
    ) -> NDArray[np.bool_]:
        """Return (len,) whether a row's preference is right with at least that probability.

        Malformed rows count as confident, so that they are still found.

        Args:
            threshold: In [0, 1]; the HPSv3 release trains with 0.95.
            unknown: Whether rows without a confidence are kept (true here) or dropped.

        Raises:
            UsageError: if the threshold is not in [0, 1].
        """
        if not 0.0 <= threshold <= 1.0:
            raise UsageError(
                f"The confidence threshold is {threshold}, a probability is from 0 to 1. "
                "Give one, such as 0.95."
            )
        compute = load_optional("pyarrow.compute", extra="train")
        reaches = compute.greater_equal(self.rows.column("confidence"), threshold)
        is_malformed = self.rows.column("prompt").is_null()
        found = compute.or_(compute.fill_null(reaches, unknown == "keep"), is_malformed)
        return np.asarray(found.to_numpy(), bool)

    def _row(self, cells: _Cells) -> PreferenceRow:
        row = cells["row"]
        if row in self.bad_rows:
            raise DataError(self.bad_rows[row])
        names = cells["images"]
        size = len(self.dimensions)
        unknown = [None] * len(names)
        ranks, votes = cells["ranks"] or unknown, cells["votes"] or unknown
        overall, generators = cells["overall"] or unknown, cells["generators"] or unknown
        scores = cells["dimensions"] or [None] * (size * len(names))
        images = tuple(
            JudgedImage(
                image=self.store.image(name, row=row, place=place),
                rank=ranks[place],
                votes=votes[place],
                dimensions=tuple(scores[place * size : (place + 1) * size]),
                overall=overall[place],
                generator=generators[place],
            )
            for place, name in enumerate(names)
        )
        return PreferenceRow(
            id=self.place(row),
            prompt=cells["prompt"],
            images=images,
            sources=tuple(
                self.store.source(name, row=row, place=place)
                for place, name in enumerate(cells["sources"])
            ),
            confidence=cells["confidence"],
            category=cells.get("category") or "",
        )
