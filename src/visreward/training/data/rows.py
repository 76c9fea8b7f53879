"""Some rows of a data set, made when they are asked for.

Shape letters: T rows.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
from numpy.typing import NDArray

from visreward.training.data.batches import ImageFile, Row
from visreward.training.data.order import Mixture
from visreward.training.data.row_sources import JoinedRows, MadeRows, RowSource, Wanted


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows(Sequence[Row]):
    """Some rows of a source.

    Attributes:
        source: All rows of the files.
        numbers: (T,) which of them.
        left_out: Why others are not here, in words.
        weights: Of the parts of a mixture, whose source is a `JoinedRows`; else empty.
    """

    source: RowSource
    numbers: NDArray[np.int64]
    left_out: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    @classmethod
    def of(cls, source: RowSource) -> Rows:
        """Return all rows of a source."""
        return cls(source=source, numbers=np.arange(len(source)))

    @classmethod
    def made(cls, rows: Sequence[Row]) -> Rows:
        """Return rows that are there already."""
        return rows if isinstance(rows, Rows) else cls.of(MadeRows(rows, _itself))

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Rows: ...

    def __getitem__(self, index: int | slice) -> Row | Rows:
        """Return a row, or some of the rows for a slice."""
        if isinstance(index, slice):
            return replace(self, numbers=self.numbers[index])
        return self.source[int(self.numbers[index])]

    def num_files(self) -> NDArray[np.int64]:
        """Return (T,) how many images each row has, sources included."""
        return self.source.num_files()[self.numbers]

    def known(self, wanted: Wanted) -> NDArray[np.bool_]:
        """Return (T,) whether that is known of each row."""
        return self.source.known(wanted)[self.numbers]

    def blocks(self) -> NDArray[np.int64] | None:
        """Return (T,) which rows are read together, or None where each is read alone."""
        blocks = self.source.blocks()
        return None if blocks is None else blocks[self.numbers]

    def mixture(self) -> Mixture | None:
        """Return which part each row belongs to, and the weights of the parts."""
        if not self.weights:
            return None
        assert isinstance(self.source, JoinedRows)
        part_of = np.searchsorted(self.source.starts, self.numbers, side="right") - 1
        return Mixture(part_of=part_of, weights=self.weights)


class RowFiles(Sequence[ImageFile]):
    """All images of some rows, row by row.

    Attributes:
        rows: The rows.
        starts: (T + 1,) number of each row's first image.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.starts: list[int] = [0, *np.cumsum(rows.num_files()).tolist()]

    def __len__(self) -> int:
        return self.starts[-1]

    def __iter__(self) -> Iterator[ImageFile]:
        """Yield all images in order."""
        return (file for row in self.rows for file in row.files)

    @overload
    def __getitem__(self, index: int) -> ImageFile: ...

    @overload
    def __getitem__(self, index: slice) -> list[ImageFile]: ...

    def __getitem__(self, index: int | slice) -> ImageFile | list[ImageFile]:
        """Return an image, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(f"Image {index} of {len(self)}.")
        row = bisect.bisect_right(self.starts, index) - 1
        return self.rows[row].files[index - self.starts[row]]


def _itself(row: Row) -> Row:
    return row
