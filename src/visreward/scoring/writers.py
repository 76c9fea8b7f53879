"""Where scored items go: a table, JSON, JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from visreward.scoring.formats import OutputFormat
from visreward.scoring.parquet import ParquetWriter
from visreward.scoring.ranking import rank_by_prompt
from visreward.scoring.records import (
    RECORD_KEYS,
    ScoredItem,
    dimension_columns,
    facts_record,
    flat_record,
    item_record,
)
from visreward.scoring.score_log import ScoreLog, record_line
from visreward.scoring.text_output import text_output
from visreward.scoring.writer import ScoreWriter

if TYPE_CHECKING:
    from visreward.models.facts import ModelFacts


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


class _TextWriter(ScoreWriter):
    """What the formats share that start from nothing: a stream of text."""

    def __init__(self, output: Path | None, facts: ModelFacts) -> None:
        self.facts = facts
        self._opened = ExitStack()
        self.stream = self._opened.enter_context(text_output(output))

    def finish(self) -> None:
        """Complete the output; a file takes its name."""
        self._opened.close()

    def discard(self) -> None:
        """Remove an unfinished file."""
        with suppress(_DiscardedError), self._opened:
            raise _DiscardedError


class _DiscardedError(Exception):
    """Tell `text_output` that its block has failed."""


class _WholeWriter(_TextWriter):
    """What the formats share that need all items before they can write the first one."""

    def __init__(self, output: Path | None, facts: ModelFacts) -> None:
        super().__init__(output, facts)
        self.items: list[ScoredItem] = []

    def write(self, item: ScoredItem) -> None:
        """Keep one item."""
        self.items.append(item)

    def write_document(self, **values: object) -> None:
        """Write one JSON document about the model and the items."""
        document = {
            "model": facts_record(self.facts),
            **values,
            "num_items": len(self.items),
            "num_failed": sum(item.score is None for item in self.items),
        }
        json.dump(document, self.stream, ensure_ascii=False, allow_nan=False, indent=2)
        self.stream.write("\n")


class TableWriter(_WholeWriter):
    """Print one ranking for each prompt."""

    def finish(self) -> None:
        """Print the rankings, if anything was scored."""
        from rich.console import Console

        from visreward.scoring.table import ranking_tables

        rankings = rank_by_prompt(self.items)
        if rankings:
            console = Console(file=self.stream)
            console.print(ranking_tables(rankings, self.facts, width=console.width))
        super().finish()


class JsonWriter(_WholeWriter):
    """Write one document: `model`, `items` in input order, `num_items`, `num_failed`."""

    def finish(self) -> None:
        """Write the document."""
        self.write_document(items=[item_record(item, self.facts) for item in self.items])
        super().finish()


class RankingJsonWriter(_WholeWriter):
    """Write one document: `model`, `ranking` best first, `failed`, `num_items`, `num_failed`."""

    def finish(self) -> None:
        """Write the document."""
        self.write_document(
            ranking=[
                {"rank": place.rank, **item_record(place.item, self.facts)}
                for ranking in rank_by_prompt(self.items)
                for place in ranking.places
            ],
            failed=[item_record(item, self.facts) for item in self.items if item.score is None],
        )
        super().finish()


class JsonlWriter(_TextWriter):
    """Write each item at once, as one line of JSON."""

    def write(self, item: ScoredItem) -> None:
        """Write one line."""
        self.stream.write(record_line(item_record(item, self.facts)))
        self.stream.flush()


class CsvWriter(_TextWriter):
    """Write a header and one row an item, with one column for each dimension."""

    def __init__(self, output: Path | None, facts: ModelFacts) -> None:
        super().__init__(output, facts)
        columns = [key for key in RECORD_KEYS if key != "dimensions"]
        columns += dimension_columns(facts)
        self._rows = csv.DictWriter(self.stream, columns, lineterminator="\n")
        self._rows.writeheader()

    def write(self, item: ScoredItem) -> None:
        """Write one row; several notes are joined by semicolons."""
        row = flat_record(item_record(item, self.facts))
        self._rows.writerow(row | {"notes": "; ".join(row["notes"])})
