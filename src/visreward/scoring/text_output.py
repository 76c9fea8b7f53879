"""Text that goes to standard output, or to a file that is whole or absent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def text_output(path: Path | None) -> Iterator[TextIO]:
    """Open a file for text, in UTF-8; it takes its name when the block ends without an error.

    Args:
        path: The file, replaced where it exists, or None for standard output.

    Raises:
        OSError: if the file cannot be written.
    """
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
