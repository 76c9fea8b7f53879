"""Where scored items go: a table, JSON, JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from visreward.core.errors import UsageError
from visreward.core.extras import require_extra
from visreward.core.types import Sample
from visreward.scoring.parquet import ParquetWriter
from visreward.scoring.ranking import rank_by_prompt
from visreward.scoring.records import (
    RECORD_KEYS,
    RowError,
    ScoredItem,
    facts_record,
    flat_record,
    item_record,
)
from visreward.scoring.score_log import ScoreLog, record_line
from visreward.scoring.text_output import text_output

if TYPE_CHECKING:
    from visreward.models.base import ModelFacts


class OutputFormat(StrEnum):
    """The formats of scored items."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


_BY_SUFFIX = {
    ".txt": OutputFormat.TABLE,
    ".json": OutputFormat.JSON,
    ".jsonl": OutputFormat.JSONL,
    ".csv": OutputFormat.CSV,
    ".parquet": OutputFormat.PARQUET,
}


class ScoreWriter(Protocol):
    """Take items one by one, in input order."""

    def resume(self, entries: Iterator[Sample | RowError]) -> Iterator[ScoredItem]:
        """Yield the items that are already written, drawing their rows from `entries`."""

    def write(self, item: ScoredItem) -> None:
        """Take one item."""

    def close(self) -> None:
        """Finish the output."""


def choose_format(asked: OutputFormat | None, output: Path | None) -> OutputFormat:
    """Return the format to write, before any work is done.

    Args:
        asked: The format asked for; None takes it from the file's name.
        output: The file to write, or None for standard output, whose format is a table.

    Raises:
        UsageError: if the file's name tells no format, its folder cannot be written, or Parquet
            is to go to standard output.
        MissingExtraError: if Parquet is asked for without pyarrow.
    """
    if output is not None:
        check_writable(output)
    chosen = asked
    if chosen is None:
        chosen = _BY_SUFFIX.get(output.suffix.lower()) if output else OutputFormat.TABLE
    if chosen is None:
        raise UsageError(
            f"The name '{output}' tells no format. End it in {', '.join(_BY_SUFFIX)}, "
            "or give the format."
        )
    if chosen is OutputFormat.PARQUET:
        if output is None:
            raise UsageError("Parquet cannot go to standard output. Give an output file.")
        require_extra("bench", "pyarrow")
    return chosen


def check_writable(output: Path) -> None:
    """Stop where a file cannot be written.

    Raises:
        UsageError: if its folder is missing or closed, or the name is a folder's.
    """
    if not output.parent.is_dir():
        raise UsageError(f"The folder of '{output}' does not exist. Make it first.")
    if output.is_dir():
        raise UsageError(f"The output '{output}' is a folder. Give the name of a file.")
    if not os.access(output.parent, os.W_OK):
        raise UsageError(f"The folder of '{output}' is closed for writing. Give another one.")


def open_writer(chosen: OutputFormat, output: Path | None, facts: ModelFacts) -> ScoreWriter:
    """Return the writer of a format; `output` None is standard output."""
    if chosen is OutputFormat.PARQUET:
        assert output is not None
        return ParquetWriter(output, facts)
    if chosen is OutputFormat.JSONL and output is not None:
        return ScoreLog(output, facts)
    fresh: dict[OutputFormat, Callable[[Path | None, ModelFacts], ScoreWriter]] = {
        OutputFormat.TABLE: TableWriter,
        OutputFormat.JSON: JsonWriter,
        OutputFormat.JSONL: JsonlWriter,
        OutputFormat.CSV: CsvWriter,
    }
    return fresh[chosen](output, facts)


class _FreshWriter:
    """What the formats share that always start from nothing."""

    def __init__(self, output: Path | None, facts: ModelFacts) -> None:
        self.facts = facts
        self._open = ExitStack()
        self.stream = self._open.enter_context(text_output(output))

    def resume(self, _entries: Iterator[Sample | RowError]) -> Iterator[ScoredItem]:
        """Yield nothing: these formats do not go on where a run stopped."""
        return iter(())

    def close(self) -> None:
        """Finish the output; a file takes its name."""
        self._open.close()


class TableWriter(_FreshWriter):
    """Keep all items, then print one ranking for each prompt."""

    def __init__(self, output: Path | None, facts: ModelFacts) -> None:
        super().__init__(output, facts)
        self._items: list[ScoredItem] = []

    def write(self, item: ScoredItem) -> None:
        """Keep one item."""
        self._items.append(item)

    def close(self) -> None:
        """Print the rankings, if anything was scored."""
        from rich.console import Console  # noqa: PLC0415

        from visreward.scoring.table import ranking_tables  # noqa: PLC0415

        rankings = rank_by_prompt(self._items)
        if rankings:
            Console(file=self.stream).print(ranking_tables(rankings, self.facts))
        super().close()


class JsonWriter(_FreshWriter):
    """Keep all items, then write one document: `model`, `items`, `num_items`, `num_failed`."""

    def __init__(self, output: Path | None, facts: ModelFacts) -> None:
        super().__init__(output, facts)
        self._items: list[ScoredItem] = []

    def write(self, item: ScoredItem) -> None:
        """Keep one item."""
        self._items.append(item)

    def close(self) -> None:
        """Write the document."""
        document = {
            "model": facts_record(self.facts),
            "items": [item_record(item, self.facts) for item in self._items],
            "num_items": len(self._items),
            "num_failed": sum(item.score is None for item in self._items),
        }
        json.dump(document, self.stream, ensure_ascii=False, allow_nan=False, indent=2)
        self.stream.write("\n")
        super().close()


class JsonlWriter(_FreshWriter):
    """Write each item at once, as one line of JSON."""

    def write(self, item: ScoredItem) -> None:
        """Write one line."""
        self.stream.write(record_line(item_record(item, self.facts)))
        self.stream.flush()


class CsvWriter(_FreshWriter):
    """Write a header and one row an item, with one column for each dimension."""

    def __init__(self, output: Path | None, facts: ModelFacts) -> None:
        super().__init__(output, facts)
        columns = [key for key in RECORD_KEYS if key != "dimensions"]
        columns += [f"dimensions.{name}" for name in facts.dimensions]
        self._rows = csv.DictWriter(self.stream, columns, lineterminator="\n")
        self._rows.writeheader()

    def write(self, item: ScoredItem) -> None:
        """Write one row; several notes are joined by semicolons."""
        row = flat_record(item_record(item, self.facts))
        self._rows.writerow(row | {"notes": "; ".join(row["notes"])})
