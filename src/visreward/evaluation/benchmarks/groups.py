"""Groups from the readers of preference data, made one by one when they are asked for."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence

from visreward.data.base import ProblemLog
from visreward.data.preference_table import PreferenceTable
from visreward.data.preferences import PreferenceRow
from visreward.evaluation.benchmarks.base import BenchData
from visreward.evaluation.benchmarks.lazy_groups import LazyGroups
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
    groups = RowGroups(table, places=kept, category=category, cluster=cluster)
    return BenchData(groups=groups, problems=problems.problems())


class RowGroups(LazyGroups):
    """Rows as groups; each is made when it is asked for."""

    def __init__(
        self,
        rows: Sequence[PreferenceRow],
        *,
        places: Sequence[int] | None = None,
        category: RowText = no_text,
        cluster: RowText = prompt_of,
    ) -> None:
        """Take the rows.

        Args:
            rows: Such as a table, which makes its rows when they are asked for.
            places: Which of them are groups, in order; None means all.
            category: What results are broken down by.
            cluster: What is drawn whole when intervals are made.
        """
        self._rows = rows
        self._places = range(len(rows)) if places is None else places
        self._category, self._cluster = category, cluster

    def __len__(self) -> int:
        return len(self._places)

    def group(self, number: int) -> BenchGroup:
        """Return a group.

        Raises:
            DataError: if a table that holds its images lacks one of them.
        """
        row = self._rows[self._places[number]]
        return BenchGroup(row=row, category=self._category(row), cluster=self._cluster(row))


class JoinedGroups(LazyGroups):
    """Groups of several sources one after another, such as the splits of a data set."""

    def __init__(self, parts: Sequence[Sequence[BenchGroup]]) -> None:
        """Take the parts, in order."""
        self._parts = parts
        self._ends: list[int] = []
        for part in parts:
            self._ends.append(len(part) + (self._ends[-1] if self._ends else 0))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def group(self, number: int) -> BenchGroup:
        """Return a group of the part that it is in."""
        part = bisect.bisect_right(self._ends, number)
        return self._parts[part][number - (self._ends[part - 1] if part else 0)]
