"""What `score` and `rank` do alike: load a model, run it with a progress bar, report failures."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from visreward.core.errors import UsageError
from visreward.core.types import Sample
from visreward.scoring.records import RowError, ScoredItem, printable

if TYPE_CHECKING:
    from rich.console import Console

    from visreward.cli.options import Dtype
    from visreward.models.base import ModelFacts
    from visreward.scoring.engine import ScoringEngine
    from visreward.scoring.writers import ScoreWriter


@dataclass(slots=True)
class ScoringSummary:
    """What came of a run.

    Attributes:
        num_items: How many items there were.
        num_failed: How many of them have no score.
        num_resumed: How many of them the output already held.
        notes: The remarks of the scores, and on how many items each stands.
        items: The items themselves, where they were kept.
    """

    num_items: int = 0
    num_failed: int = 0
    num_resumed: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    items: list[ScoredItem] = field(default_factory=list)

    def add(self, item: ScoredItem, *, keep: bool) -> None:
        """Count one item."""
        self.num_items += 1
        self.num_failed += item.score is None
        self.notes.update(() if item.score is None else item.score.notes)
        if keep:
            self.items.append(item)


def notes_console() -> Console:
    """Return where everything goes that is not the result: standard error."""
    from rich.console import Console  # noqa: PLC0415

    return Console(file=sys.stderr, soft_wrap=True, highlight=False)


def load_engine(
    model: str, *, batch_size: int, device: str, dtype: Dtype, batch_invariant: bool
) -> ScoringEngine:
    """Load a model, saying so on a terminal.

    Raises:
        VisrewardError: if it cannot be loaded.
    """
    with notes_console().status(f"Loading {printable(model)}"):
        from visreward.models.loading import load_model  # noqa: PLC0415
        from visreward.scoring.engine import ScoringEngine  # noqa: PLC0415

        loaded = load_model(
            model, device=device, dtype=dtype.value, batch_invariant=batch_invariant
        )
    return ScoringEngine(loaded, batch_size=batch_size)


def image_entries(
    images: Sequence[str], *, prompts: Sequence[str], source: str | None, facts: ModelFacts
) -> Iterator[Sample | RowError]:
    """Yield every image with every prompt, image by image.

    Raises:
        UsageError: if the model needs a prompt and none was given.
    """
    if images and not prompts and facts.needs_prompt:
        raise UsageError(
            f"No prompt, but '{facts.name}' scores how an image fits a prompt. "
            "Give --prompt TEXT, or a model that scores images alone, such as hp-mini."
        )
    return (
        _entry(image, prompt=prompt, source=source)
        for image in images
        for prompt in prompts or ("",)
    )


def _entry(image: str, *, prompt: str, source: str | None) -> Sample | RowError:
    if Path(image).is_dir():
        glob = f"{shlex.quote(image.rstrip('/'))}/*.png"
        return RowError(name=image, reason=f"'{image}' is a folder. Give its files: {glob}")
    return Sample(prompt=prompt, image=image, source_image=source)


def run_engine(
    engine: ScoringEngine,
    entries: Iterator[Sample | RowError],
    *,
    total: int,
    writer: ScoreWriter | None = None,
    keep_items: bool = False,
    show_bar: bool = True,
) -> ScoringSummary:
    """Score all entries; name each failure as it happens, and print all remarks at the end.

    Args:
        engine: What scores.
        entries: What to score.
        total: How many entries there are, for the progress bar.
        writer: Where items go, or None. Items that it already holds are not scored again.
        keep_items: Whether the summary holds the items; else memory stays bounded.
        show_bar: Whether a progress bar may be shown; it never is off a terminal.
    """
    from rich.progress import Progress, TimeRemainingColumn  # noqa: PLC0415

    console = notes_console()
    summary = ScoringSummary()
    with Progress(
        *Progress.get_default_columns()[:-1],
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        redirect_stdout=False,
        disable=not (show_bar and console.is_terminal),
    ) as progress:
        task = progress.add_task("Scoring", total=total)
        for item in _items(engine, entries, writer, summary):
            summary.add(item, keep=keep_items)
            progress.advance(task)
            if item.error is not None:
                console.print(_failure(item))
    for note, count in summary.notes.items():
        console.print(_remark(note, count))
    return summary


def _items(
    engine: ScoringEngine,
    entries: Iterator[Sample | RowError],
    writer: ScoreWriter | None,
    summary: ScoringSummary,
) -> Iterator[ScoredItem]:
    """Yield what the writer already holds, then what is scored and written."""
    if writer is not None:
        for item in writer.resume(entries):
            summary.num_resumed += 1
            yield item
    for item in engine.run(entries, first_index=summary.num_resumed):
        if writer is not None:
            writer.write(item)
        yield item


def _failure(item: ScoredItem) -> Text:
    reason = printable(item.error or "")
    name = printable(item.name)
    return Text.assemble(
        ("failed: ", "bold red"), reason if name in reason else f"{name}: {reason}"
    )


def _remark(note: str, count: int) -> Text:
    items = "1 item" if count == 1 else f"{count} items"
    return Text.assemble(("note: ", "yellow"), f"{printable(note)} ({items})")
