"""Where scored items go: a table, JSON, JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from visreward.core.types import Sample
from visreward.scoring.formats import OutputFormat
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


class ScoreWriter(Protocol):
    """Take items one by one, in input order."""

    def resume(self, entries: Iterator[Sample | RowError]) -> Iterator[ScoredItem]:
        """Yield the items that are already written, drawing their rows from `entries`."""

    def write(self, item: ScoredItem) -> None:
        """Take one item."""

    def close(self) -> None:
        """Finish the output."""


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
