"""A score file that grows line by line and goes on where an interrupted run stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from visreward.core.errors import DataError
from visreward.core.types import Sample
from visreward.scoring.records import (
    RECORD_KEYS,
    RowError,
    ScoredItem,
    content_fields,
    item_from_record,
    item_record,
)
from visreward.scoring.writer import ScoreWriter

if TYPE_CHECKING:
    from visreward.models.facts import ModelFacts


def record_line(record: Mapping[str, Any]) -> str:  # JSON values
    """Return a record as one line of JSON, its line end included."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


class ScoreLog(ScoreWriter):
    """One JSON object a line, one line an item, in input order.

    Attributes:
        path: The file.
        num_done: How many items the file held when `resume` had read it.
    """

    def __init__(self, path: Path, facts: ModelFacts, *, shown_path: Path | None = None) -> None:
        """Prepare a log; nothing is read or written yet.

        Args:
            path: The file, which may hold items of an interrupted run.
            facts: Of the model that scores; the file's items must come from the same.
            shown_path: What messages call the file; None means its path.
        """
        self.path = path
        self.num_done = 0
        self._stream: TextIO | None = None
        self._facts = facts
        self._shown = str(shown_path or path)

    def resume(self, entries: Iterator[Sample | RowError]) -> Iterator[ScoredItem]:
        """Yield the items that the file holds, drawing their input rows from `entries`.

        A last line that was cut while it was written is taken off the file.

        Raises:
            DataError: if the file is no score log, or its items were made from other input or by
                another model.
        """
        if not self.path.exists():
            return
        whole_bytes = 0
        with self.path.open("rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                whole_bytes += len(line)
                yield self._known_item(line, next(entries, None))
                self.num_done += 1
        with self.path.open("r+b") as stream:
            stream.truncate(whole_bytes)

    def write(self, item: ScoredItem) -> None:
        """Add one item at the end; it is in the file when this returns."""
        if self._stream is None:
            self._stream = self.path.open("a", encoding="utf-8")
        self._stream.write(record_line(item_record(item, self._facts)))
        self._stream.flush()

    def finish(self) -> None:
        """Close the file; a run without items leaves an empty one."""
        self.path.touch()
        self.discard()

    def discard(self) -> None:
        """Close the file, for a later run to go on with."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _known_item(self, line: bytes, entry: Sample | RowError | None) -> ScoredItem:
        row = self.num_done + 1
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or set(record) != set(RECORD_KEYS):
            raise DataError(
                f"'{self._shown}' is not a score file: row {row} is something else. "
                "Give another output file."
            )
        if entry is None:
            raise DataError(
                f"'{self._shown}' holds {row} items or more, but the input has {self.num_done}. "
                "Give another output file, or delete this one."
            )
        self._check_same(record, entry, row)
        return item_from_record(record, entry)

    def _check_same(
        self,
        record: Mapping[str, Any],  # JSON values
        entry: Sample | RowError,
        row: int,
    ) -> None:
        wanted: dict[str, object] = {
            "index": self.num_done,
            "model": self._facts.name,
            "revision": self._facts.revision,
            **content_fields(entry),
        }
        for key, value in wanted.items():
            if record[key] != value:
                raise DataError(
                    f"'{self._shown}' was made by another run: row {row} has {key} "
                    f"{record[key]!r}, this run has {value!r}. "
                    "Give another output file, or delete this one."
                )
