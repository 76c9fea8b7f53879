"""The formats of scored items, and whether one can be written; imports nothing large."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

from visreward.core.errors import UsageError
from visreward.core.extras import require_extra


class OutputFormat(StrEnum):
    """The formats of scored items."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"

    @property
    def is_streamed(self) -> bool:
        """Whether items are written while others are still being scored."""
        return self in (OutputFormat.JSONL, OutputFormat.CSV)


_BY_SUFFIX = {
    ".txt": OutputFormat.TABLE,
    ".json": OutputFormat.JSON,
    ".jsonl": OutputFormat.JSONL,
    ".csv": OutputFormat.CSV,
    ".parquet": OutputFormat.PARQUET,
}


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
