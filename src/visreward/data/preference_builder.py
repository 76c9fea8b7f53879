"""Turn rows of preferences into columns while they are read, so that few are there as objects."""

from __future__ import annotations

from collections.abc import Sequence

from visreward.core.errors import DataError
from visreward.data.base import ROWS_PER_GROUP, Arrow, load_optional
from visreward.data.preference_table import ImageStore, Part, PreferenceCells, PreferenceTable


class TableBuilder:
    """Collects rows, and turns them into columns a few thousand at a time."""

    def __init__(self) -> None:
        self._pending: list[PreferenceCells | None] = []
        self._columns: dict[str, list[Arrow]] = {name: [] for name in ("row", *_column_types())}
        self._bad_rows: dict[int, str] = {}
        self._num_rows = 0

    def __len__(self) -> int:
        return self._num_rows

    def add(self, cells: PreferenceCells) -> None:
        """Add a row."""
        self._append(cells)

    def add_bad(self, error: DataError) -> None:
        """Add a row that cannot be used; asking for it raises the error."""
        self._bad_rows[self._num_rows] = str(error)
        self._append(None)

    def _append(self, cells: PreferenceCells | None) -> None:
        self._pending.append(cells)
        self._num_rows += 1
        if len(self._pending) == ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        arrow = load_optional("pyarrow", extra="train")
        start = self._num_rows - len(self._pending)
        self._columns["row"].append(arrow.array(range(start, self._num_rows), arrow.int32()))
        for name, kind in _column_types().items():
            cells = [None if each is None else getattr(each, name) for each in self._pending]
            self._columns[name].append(arrow.array(cells, kind))
        self._pending.clear()

    def finish(
        self,
        *,
        name: str,
        parts: Sequence[Part],
        store: ImageStore,
        dimensions: tuple[str, ...],
    ) -> PreferenceTable:
        """Return the table; the builder is empty afterwards.

        Args:
            name: Of the split.
            parts: The files that the rows are from, in order.
            store: Where the images are.
            dimensions: Names of the dimensions that rows have scores on.
        """
        arrow = load_optional("pyarrow", extra="train")
        self._flush()
        columns = {name: arrow.chunked_array(pieces) for name, pieces in self._columns.items()}
        self._columns.clear()
        if columns["category"].null_count == self._num_rows:
            del columns["category"]  # most formats have none, and fingerprints are of what is there
        rows = arrow.table(columns)
        return PreferenceTable(
            rows,
            name=name,
            parts=parts,
            store=store,
            dimensions=dimensions,
            bad_rows=self._bad_rows,
        )


def _column_types() -> dict[str, Arrow]:
    """Return the type of each field of `PreferenceCells`."""
    arrow = load_optional("pyarrow", extra="train")
    return {
        "prompt": arrow.large_string(),
        "images": arrow.list_(arrow.large_string()),
        "ranks": arrow.list_(arrow.int16()),
        "sources": arrow.list_(arrow.large_string()),
        "votes": arrow.list_(arrow.int32()),
        "dimensions": arrow.list_(arrow.float64()),
        "overall": arrow.list_(arrow.float64()),
        "generators": arrow.list_(arrow.string()),
        "confidence": arrow.float64(),
        "category": arrow.large_string(),
    }
