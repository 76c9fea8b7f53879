"""Where commands speak to people beside their result: standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def notes_console() -> Console:
    """Return a console for everything that is not the result: standard error."""
    return Console(file=sys.stderr, soft_wrap=True, highlight=False)


@contextmanager
def progress_bar(
    title: str, *, total: int | None, console: Console, is_shown: bool = True
) -> Iterator[Callable[[int], None]]:
    """Show how far a piece of work is; off a terminal, nothing is shown.

    Args:
        title: What is being done.
        total: How many items there are, or None if that is not known.
        console: Where the bar goes; lines printed there meanwhile stand above it.
        is_shown: Whether a bar is wanted at all.

    Yields:
        A function that takes the number of items just done.
    """
    with Progress(
        TextColumn(title),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        redirect_stdout=False,
        disable=not (is_shown and console.is_terminal),
    ) as progress:
        task = progress.add_task(title, total=total)
        yield lambda num_done: progress.advance(task, num_done)
