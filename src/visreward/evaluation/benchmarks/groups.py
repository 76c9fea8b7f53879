"""Groups from the readers of preference data, made one by one when they are asked for."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from typing import overload

from visreward.data.base import ProblemLog
from visreward.data.preference_table import PreferenceTable
from visreward.data.preferences import PreferenceRow
from visreward.evaluation.benchmarks.base import BenchData
from visreward.evaluation.benchmarks.records import BenchGroup

RowText = Callable[[PreferenceRow], str]
"""Reads a category or a cluster off a row."""


def no_text(row: PreferenceRow) -> str:  # noqa: ARG001  the interface
    """Return nothing: rows have no category."""
    return ""


def prompt_of(row: PreferenceRow) -> str:
    """Return the prompt, which rows of one cluster share."""
    return row.prompt


def table_data(
    table: PreferenceTable, *, category: RowText = no_text, cluster: RowText = prompt_of
) -> BenchData:
    """Return the rows of a table of preferences as groups.

    A malformed row is a problem and not among the groups; so is a row without ranks, as a warning.
    No image is read before its group is asked for.

    Args:
        table: One split of a data set.
        category: What results are broken down by.
        cluster: What is drawn whole when intervals are made.
    """
    problems = ProblemLog()
    problems.add("malformed row", table.bad_rows.values())
    kept, unlabelled = [], []
    for number, cells in enumerate(table.cells()):
        if cells["row"] in table.bad_rows:
            continue
        if cells["ranks"] is None and cells["overall"] is None:
            unlabelled.append(table.place(cells["row"]))
        else:
            kept.append(number)
    problems.add("row that nobody labelled", unlabelled, is_warning=True)
    groups = TableGroups(table, rows=kept, category=category, cluster=cluster)
    return BenchData(groups=groups, problems=problems.problems())


class TableGroups(Sequence[BenchGroup]):
    """Rows of a table as groups; nothing but the numbers of the rows is kept beside the table."""

    def __init__(
        self, table: PreferenceTable, *, rows: Sequence[int], category: RowText, cluster: RowText
    ) -> None:
        """Take the table, and which of its rows are groups."""
        self._table, self._rows = table, rows
        self._category, self._cluster = category, cluster

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> BenchGroup: ...

    @overload
    def __getitem__(self, index: slice) -> list[BenchGroup]: ...

    def __getitem__(self, index: int | slice) -> BenchGroup | list[BenchGroup]:
        """Return a group, or a list of them for a slice.

        Raises:
            DataError: if a table that holds its images lacks one of them.
            IndexError: if there is no such group.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        row = self._table[self._rows[index]]
        return BenchGroup(row=row, category=self._category(row), cluster=self._cluster(row))


class JoinedGroups(Sequence[BenchGroup]):
    """Groups of several sources one after another, such as the splits of a data set."""

    def __init__(self, parts: Sequence[Sequence[BenchGroup]]) -> None:
        """Take the parts, in order."""
        self._parts = parts
        self._ends: list[int] = []
        for part in parts:
            self._ends.append(len(part) + (self._ends[-1] if self._ends else 0))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> BenchGroup: ...

    @overload
    def __getitem__(self, index: slice) -> list[BenchGroup]: ...

    def __getitem__(self, index: int | slice) -> BenchGroup | list[BenchGroup]:
        """Return a group, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"Group {index} of {len(self)} groups.")
        part = bisect.bisect_right(self._ends, number)
        return self._parts[part][number - (self._ends[part - 1] if part else 0)]
