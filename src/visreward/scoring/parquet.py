"""Scored items as a Parquet table, one column for each dimension."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visreward.core.errors import DataError
from visreward.core.types import Sample
from visreward.data.base import Arrow, load_optional
from visreward.scoring.records import (
    RECORD_KEYS,
    RowError,
    ScoredItem,
    dimension_columns,
    flat_record,
    nested_record,
)
from visreward.scoring.score_log import ScoreLog, record_line
from visreward.scoring.text_output import text_output
from visreward.scoring.writer import ScoreWriter

if TYPE_CHECKING:
    from visreward.models.facts import ModelFacts

_ROWS_PER_GROUP = 8192


class ParquetWriter(ScoreWriter):
    """Log items beside the file, as `NAME.partial.jsonl`, and make the table at the end.

    A Parquet file cannot grow once it is closed. An interrupted run goes on from its log, a
    finished one from its table.
    """

    def __init__(self, output: Path, facts: ModelFacts) -> None:
        self._output = output
        self._facts = facts
        self._log_path = output.with_name(f"{output.name}.partial.jsonl")
        self._log = ScoreLog(self._log_path, facts, shown_path=output)

    def resume(self, entries: Iterator[Sample | RowError]) -> Iterator[ScoredItem]:
        """Yield the items of an interrupted or finished run, drawing their rows from `entries`.

        Raises:
            DataError: if they were made from other input or by another model.
        """
        is_finished = self._output.exists() and not self._log_path.exists()
        if is_finished:
            _write_log(self._output, self._log_path, self._facts)
        try:
            yield from self._log.resume(entries)
        except DataError:
            if is_finished:
                self._log_path.unlink()
            raise

    def write(self, item: ScoredItem) -> None:
        """Log one item."""
        self._log.write(item)

    def finish(self) -> None:
        """Make the table and remove the log."""
        parquet = load_optional("pyarrow.parquet", extra="bench")
        self._log.finish()
        schema = _schema(self._facts)
        partial = self._output.with_name(f"{self._output.name}.partial")
        with (
            self._log_path.open(encoding="utf-8") as lines,
            parquet.ParquetWriter(partial, schema) as table,
        ):
            for rows in _chunks(flat_record(json.loads(line)) for line in lines):
                table.write_batch(_batch(rows, schema))
        partial.replace(self._output)
        self._log_path.unlink()

    def discard(self) -> None:
        """Close the log, for a later run to go on with."""
        self._log.discard()


def _schema(facts: ModelFacts) -> Arrow:
    arrow = load_optional("pyarrow", extra="bench")
    kinds: dict[str, Arrow] = {key: arrow.string() for key in RECORD_KEYS}
    kinds |= {"index": arrow.int64(), "score": arrow.float64(), "sigma": arrow.float64()}
    kinds["notes"] = arrow.list_(arrow.string())
    del kinds["dimensions"]
    dimensions = [(column, arrow.float64()) for column in dimension_columns(facts)]
    return arrow.schema([*kinds.items(), *dimensions])


def _batch(rows: list[dict[str, Any]], schema: Arrow) -> Arrow:  # JSON values
    arrow = load_optional("pyarrow", extra="bench")
    return arrow.RecordBatch.from_pylist(rows, schema=schema)


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:  # JSON values
    while chunk := list(islice(rows, _ROWS_PER_GROUP)):
        yield chunk


def _write_log(table_path: Path, log_path: Path, facts: ModelFacts) -> None:
    """Turn a finished table back into the log that it was made from."""
    arrow = load_optional("pyarrow", extra="bench")
    parquet = load_optional("pyarrow.parquet", extra="bench")
    try:
        table = parquet.ParquetFile(table_path)
    except arrow.ArrowInvalid as error:
        raise DataError(
            f"'{table_path}' is not a Parquet file: {error} Give another output file."
        ) from error
    with table, text_output(log_path) as log:
        for batch in table.iter_batches(_ROWS_PER_GROUP):
            log.writelines(record_line(nested_record(row, facts)) for row in batch.to_pylist())
