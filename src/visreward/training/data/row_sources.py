"""Rows of a data set that are made when they are asked for, whatever their format.

Shape letters: T rows.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from visreward.core.errors import DataError
from visreward.data.base import Arrow, load_optional
from visreward.data.parquet_rows import ParquetStore, StoredImage
from visreward.data.preference_table import PreferenceTable
from visreward.data.rated_edits import PairVotes
from visreward.training.data.batches import Row

T = TypeVar("T")

Wanted: TypeAlias = Literal["any", "labels", "order", "ratings"]
"""What must be known of a row: nothing, which image is better or that none is, that one is
better, or how good each is."""


class RowSource(Protocol):
    """T rows in the order of their files."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Row:
        """Return a row."""
        ...

    def num_files(self) -> NDArray[np.int64]:
        """Return (T,) how many images each row has, sources included."""
        ...

    def known(self, wanted: Wanted) -> NDArray[np.bool_]:
        """Return (T,) whether that is known of each row; never of a malformed one."""
        ...

    def blocks(self) -> NDArray[np.int64] | None:
        """Return (T,) which rows are read together, or None where each is read alone."""
        ...

    def groups(self) -> Iterator[str]:
        """Yield of each row what must not be in two splits: its source image, or its prompt."""
        ...


@dataclass(frozen=True)
class MadeRows(Generic[T]):
    """Rows that are made of the items of a sequence.

    Attributes:
        items: None of them malformed.
        make: Makes a row.
        facts: (T,) whether something is known of each row, where it is not of all.
    """

    items: Sequence[T]
    make: Callable[[T], Row]
    facts: Mapping[Wanted, NDArray[np.bool_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int, /) -> Row:
        """Return a row."""
        return self.make(self.items[number])

    def num_files(self) -> NDArray[np.int64]:
        """Return (T,) how many images each row has."""
        return np.array([len(self[number].files) for number in range(len(self))], np.int64)

    def known(self, wanted: Wanted) -> NDArray[np.bool_]:
        """Return (T,) whether that is known of each row."""
        return self.facts.get(wanted, np.ones(len(self), dtype=bool))

    def blocks(self) -> None:
        """Return None: each row is read alone."""

    def groups(self) -> Iterator[str]:
        """Yield the sources of each row, or its first prompt."""
        for number in range(len(self)):
            row = self[number]
            yield "|".join(map(str, row.sources)) or row.prompts[0]


@dataclass(frozen=True)
class TableRows:
    """Rows of a table of preferences."""

    table: PreferenceTable

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, number: int, /) -> Row:
        """Return a row that is not malformed; its images are not read."""
        cells = self.table.rows.slice(number, 1).to_pylist()[0]
        row, later = cells["row"], self.table.store.later
        is_rated = bool(self.table.dimensions) and None not in (cells["overall"] or (None,))
        return Row(
            images=tuple(later(name, row=row, place=n) for n, name in enumerate(cells["images"])),
            prompts=(cells["prompt"],),
            sources=tuple(
                later(name, row=row, place=n, is_source=True)
                for n, name in enumerate(cells["sources"])
            ),
            dimensions=_dimensions(cells["dimensions"], len(self.table.dimensions)),
            overall=tuple(cells["overall"])
            if is_rated
            else tuple(-float(rank) for rank in cells["ranks"] or ()),
            is_rated=is_rated,
            votes=_votes(cells["votes"]),
            id=self.table.place(row),
        )

    def num_files(self) -> NDArray[np.int64]:
        """Return (T,) how many images each row has, 0 where it is malformed."""
        return _lengths(self.table.rows.column("images")) + _lengths(
            self.table.rows.column("sources")
        )

    def known(self, wanted: Wanted) -> NDArray[np.bool_]:
        """Return (T,) whether that is known of each row."""
        rows = self.table.rows
        if wanted == "order":
            found = _differs(rows.column("ranks"), num_columns=1)
            if self.table.dimensions:
                size = len(self.table.dimensions)
                found |= _differs(rows.column("dimensions"), num_columns=size)
            return found
        column = {"any": "prompt", "labels": "ranks", "ratings": "overall"}[wanted]
        return np.asarray(rows.column(column).is_valid().to_numpy(), bool)

    def blocks(self) -> NDArray[np.int64] | None:
        """Return (T,) row groups of tables that hold their images."""
        if not isinstance(self.table.store, ParquetStore):
            return None
        rows: NDArray[np.int64] = self.table.rows.column("row").to_numpy()
        return self.table.store.blocks()[rows]

    def groups(self) -> Iterator[str]:
        """Yield the sources of each row, or its prompt; sources in tables are read for it."""
        store = self.table.store
        for cells in self.table.cells():
            names = cells["sources"] or ()
            if names and isinstance(store, ParquetStore):
                yield "|".join(
                    _digest(store.later(name, row=cells["row"], place=n, is_source=True))
                    for n, name in enumerate(names)
                )
            else:
                yield "|".join(names) or cells["prompt"] or ""


class JoinedRows:
    """The rows of several sources, one source after the other."""

    def __init__(self, parts: Sequence[RowSource]) -> None:
        self.parts = tuple(parts)
        self.starts = [0, *itertools.accumulate(len(part) for part in parts)]

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, number: int, /) -> Row:
        """Return a row."""
        part = bisect.bisect_right(self.starts, number) - 1
        return self.parts[part][number - self.starts[part]]

    def num_files(self) -> NDArray[np.int64]:
        """Return (T,) how many images each row has."""
        return np.concatenate([part.num_files() for part in self.parts])

    def known(self, wanted: Wanted) -> NDArray[np.bool_]:
        """Return (T,) whether that is known of each row."""
        return np.concatenate([part.known(wanted) for part in self.parts])

    def blocks(self) -> NDArray[np.int64] | None:
        """Return (T,) blocks of all parts, or None where no part has any."""
        known = [part.blocks() for part in self.parts]
        if all(each is None for each in known):
            return None
        found, start = [], 0
        for part, blocks in zip(self.parts, known, strict=True):
            own = np.zeros(len(part), np.int64) if blocks is None else blocks
            found.append(own + start)
            start += int(own.max(initial=-1)) + 1
        return np.concatenate(found)

    def groups(self) -> Iterator[str]:
        """Yield the groups of all parts."""
        return itertools.chain.from_iterable(part.groups() for part in self.parts)


def _digest(image: StoredImage) -> str:
    """Return a digest of an image, or where it should be: such a row is skipped later."""
    try:
        return image.digest()
    except DataError:
        return str(image)


def _differs(column: Arrow, *, num_columns: int) -> NDArray[np.bool_]:
    """Return (T,) whether a column of the numbers of a row, image by image, has two values."""
    compute = load_optional("pyarrow.compute", extra="train")
    found = np.zeros(len(column), dtype=bool)
    is_there = compute.is_valid(column).to_numpy()
    cells = column.filter(is_there)
    if len(cells) == 0:
        return found
    lengths = _lengths(cells)
    starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    values = compute.list_flatten(cells).cast("double").to_numpy().reshape(-1, num_columns)
    edges = starts // num_columns
    spread = np.fmax.reduceat(values, edges) - np.fmin.reduceat(values, edges)
    found[is_there] = (spread > 0).any(axis=1)
    return found


def _lengths(column: Arrow) -> NDArray[np.int64]:
    compute = load_optional("pyarrow.compute", extra="train")
    lengths = compute.fill_null(compute.list_value_length(column), 0)
    return np.asarray(lengths.to_numpy(), np.int64)


def _dimensions(scores: Sequence[float | None] | None, size: int) -> tuple[tuple[float, ...], ...]:
    """Return the scores of each image, or nothing where one is missing."""
    if scores is None:
        return ()
    known = [score for score in scores if score is not None]
    if len(known) < len(scores):
        return ()
    return tuple(tuple(known[n : n + size]) for n in range(0, len(known), size))


def _votes(votes: Sequence[Any] | None) -> tuple[PairVotes, ...]:  # counts from a column
    if votes is None:
        return ()
    return (PairVotes(one=0, other=1, for_one=votes[0], for_other=votes[1]),)
