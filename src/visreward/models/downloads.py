"""What a model's download takes, said before it starts, and the question at a terminal."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from visreward.core.errors import ModelNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

_UNITS: Final = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What one address gives.

    Attributes:
        source: The address.
        what: What it is.
        num_bytes: Its size, or None where it is not known beforehand.
    """

    source: str
    what: str
    num_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadPlan:
    """All that is downloaded for a model.

    Attributes:
        name: The model.
        folder: Where its copy will lie.
        downloads: What is downloaded; not empty.
    """

    name: str
    folder: Path
    downloads: tuple[Download, ...]

    def __str__(self) -> str:
        """Return the plan as lines of text."""
        sizes = [each.num_bytes for each in self.downloads if each.num_bytes is not None]
        more = " or more" if len(sizes) < len(self.downloads) else ""
        return "\n".join(
            (
                f"'{self.name}' needs a download of {format_size(sum(sizes))}{more}:",
                *(
                    f"  {_size(each.num_bytes):>12}  {each.what}, {each.source}"
                    for each in self.downloads
                ),
                f"The imported copy in {self.folder} takes about as much again.",
            )
        )


def format_size(num_bytes: int) -> str:
    """Return a size in decimal units, such as `15.5 GB`."""
    for unit, size in _UNITS:
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes} bytes"


def _size(num_bytes: int | None) -> str:
    return "unknown size" if num_bytes is None else format_size(num_bytes)


def ask_or_note(plan: DownloadPlan) -> None:
    """Ask on standard error at a terminal, or log the plan where nobody can answer.

    Nobody can answer in a job, a notebook, a test, or one of several processes of a training run.

    Raises:
        ModelNotFoundError: if the answer is not yes.
    """
    has_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    if not has_terminal or os.environ.get("WORLD_SIZE", "1") != "1":
        _logger.warning("%s", plan)
        return
    sys.stderr.write(f"{plan}\nDownload it? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ModelNotFoundError(
            f"Model '{plan.name}' is not on this machine, and its download was not wanted. "
            f"To have it: `visreward models pull {plan.name}`"
        )
