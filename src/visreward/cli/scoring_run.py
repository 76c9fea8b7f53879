"""What `score` and `rank` do alike: load a model, run it with a progress bar, report failures."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer
from rich.markup import escape
from rich.text import Text

from visreward.cli.console import notes_console, progress_bar
from visreward.core.errors import UsageError
from visreward.core.types import Sample
from visreward.scoring.formats import check_writable
from visreward.scoring.records import RowError, ScoredItem, printable
from visreward.scoring.rows import count_lines, read_rows

if TYPE_CHECKING:
    from visreward.cli.options import Dtype
    from visreward.models.facts import ModelFacts
    from visreward.scoring.engine import ScoringEngine
    from visreward.scoring.writer import ScoreWriter


DEFAULT_MODEL: Final = "ict-hp-mini"
DEFAULT_EDIT_MODEL: Final = "editreward-mini"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What to score.

    Attributes:
        images: Image files; each is scored for each prompt.
        prompts: The texts asked for.
        source: The image before the edit, or several, or None.
        rows: A JSON-lines file with more to score, or None.
    """

    images: tuple[str, ...]
    prompts: tuple[str, ...]
    source: str | tuple[str, ...] | None
    rows: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model scores, and how; the fields are the options of the same names.

    Without a name the inputs decide: edits take another model than single images.
    """

    name: str | None
    batch_size: int
    device: str
    dtype: Dtype
    batch_invariant: bool
    attention: str


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


def run(
    inputs: Inputs,
    choice: ModelChoice,
    *,
    open_output: Callable[[ModelFacts], ScoreWriter],
    report: Path | None,
    show_bar: bool,
    is_table: bool,
) -> None:
    """Score the inputs, write the output and the report, and exit with status 1 on failures.

    Args:
        inputs: What to score.
        choice: Which model scores.
        open_output: Makes the writer of the scored items.
        report: HTML page to write, or None.
        show_bar: Whether a progress bar may be shown; it never is off a terminal.
        is_table: Whether the output is for people, and so holds all remarks itself.

    Raises:
        VisrewardError: if the run cannot go on.
    """
    if not inputs.images and inputs.rows is None:
        raise UsageError("No image was given. Give image files, or --input FILE.jsonl.")
    if report is not None:
        check_writable(report)
    engine = load_engine(choice, name=choice.name or _default_model(inputs))
    facts = engine.model.facts
    entries, total = _entries(inputs, facts)
    with open_output(facts) as writer:
        summary = _run_engine(
            engine, entries, writer, total=total, show_bar=show_bar, keep_items=report is not None
        )
    if report is not None:
        from visreward.evaluation.reports.score_report import write_report

        write_report(summary.items, facts, report)
    _conclude(summary, None if is_table else facts, report)
    if summary.num_failed:
        raise typer.Exit(1)


def _default_model(inputs: Inputs) -> str:
    """Return the built-in model for what is to be scored; the first row of a file decides."""
    has_source = inputs.source is not None
    if inputs.rows is not None and not has_source:
        first = next((row for row in read_rows(inputs.rows) if isinstance(row, Sample)), None)
        has_source = first is not None and bool(first.sources)
    return DEFAULT_EDIT_MODEL if has_source else DEFAULT_MODEL


def load_engine(choice: ModelChoice, *, name: str) -> ScoringEngine:
    """Load the model of a name as was chosen, saying so on a terminal.

    Raises:
        VisrewardError: if it cannot be loaded.
    """
    console = notes_console()
    loading = f"Loading {escape(printable(name))}"
    with console.status(loading):
        from visreward.models.devices import DTYPES, find_device, is_native
        from visreward.models.loading import find_folder, load_model
        from visreward.scoring.engine import ScoringEngine

        find_device(choice.device)
    # The status line would paint over a question and over the bars of a download.
    find_folder(name)
    with console.status(loading):
        model = load_model(
            name,
            device=choice.device,
            dtype=choice.dtype.value,
            batch_invariant=choice.batch_invariant,
            attention=choice.attention,
        )
        is_fast = is_native(DTYPES[choice.dtype.value], model.device)
    if not is_fast:
        words = f"this {model.device.type} has no {choice.dtype.value} instructions; "
        console.print(Text.assemble(("note: ", "yellow"), words, "float32 is many times faster"))
    return ScoringEngine(model, batch_size=choice.batch_size)


def _entries(inputs: Inputs, facts: ModelFacts) -> tuple[Iterator[Sample | RowError], int]:
    """Return the rows of the input file, then every image with every prompt, and their number.

    Raises:
        UsageError: if the model needs a prompt and none was given.
    """
    if inputs.images and not inputs.prompts and facts.needs_prompt:
        raise UsageError(
            f"No prompt, but '{facts.name}' scores how an image fits a prompt. "
            "Give --prompt TEXT, or a model that scores images alone, such as hp-mini."
        )
    prompts = inputs.prompts or ("",)
    pairs = (
        _entry(image, prompt=prompt, source=inputs.source)
        for image in inputs.images
        for prompt in prompts
    )
    total = len(inputs.images) * len(prompts)
    if inputs.rows is None:
        return pairs, total
    return chain(read_rows(inputs.rows), pairs), total + count_lines(inputs.rows)


def _entry(image: str, *, prompt: str, source: str | tuple[str, ...] | None) -> Sample | RowError:
    if Path(image).is_dir():
        glob = f"{shlex.quote(image.rstrip('/'))}/*.png"
        return RowError(name=image, reason=f"'{image}' is a folder. Give its files: {glob}")
    return Sample(prompt=prompt, image=image, source_image=source)


def _run_engine(
    engine: ScoringEngine,
    entries: Iterator[Sample | RowError],
    writer: ScoreWriter,
    *,
    total: int,
    show_bar: bool,
    keep_items: bool,
) -> ScoringSummary:
    """Score and write all entries; name each failure as it happens, and a repeat of it once."""
    console = notes_console()
    summary = ScoringSummary()
    named: set[str] = set()
    with progress_bar("Scoring", total=total, console=console, is_shown=show_bar) as advance:
        for item in _items(engine, entries, writer, summary):
            summary.add(item, keep=keep_items)
            advance(1)
            failure = _failure(item) if item.error is not None else None
            if failure is not None and failure.plain not in named:
                named.add(failure.plain)
                console.print(failure)
    return summary


def _items(
    engine: ScoringEngine,
    entries: Iterator[Sample | RowError],
    writer: ScoreWriter,
    summary: ScoringSummary,
) -> Iterator[ScoredItem]:
    """Yield what the writer already holds, then what is scored and written."""
    for item in writer.resume(entries):
        summary.num_resumed += 1
        yield item
    for item in engine.run(entries, first_index=summary.num_resumed):
        writer.write(item)
        yield item


def _conclude(summary: ScoringSummary, facts: ModelFacts | None, report: Path | None) -> None:
    """Say on standard error what was done, and, given facts, what a reader must know."""
    console = notes_console()
    if facts is not None:
        for note, count in summary.notes.items():
            console.print(_remark(note, count))
        if facts.note:
            console.print(Text.assemble(("note: ", "yellow"), f"'{facts.name}': {facts.note}"))
    if summary.num_resumed:
        console.print(f"{summary.num_resumed} items were scored before and are kept.")
    if summary.num_failed:
        console.print(f"{summary.num_failed} of {summary.num_items} items failed.")
    if report is not None:
        console.print(Text(f"Report: {report}"))


def _failure(item: ScoredItem) -> Text:
    reason = printable(item.error or "")
    name = printable(item.name)
    return Text.assemble(
        ("failed: ", "bold red"), reason if name in reason else f"{name}: {reason}"
    )


def _remark(note: str, count: int) -> Text:
    items = "1 item" if count == 1 else f"{count} items"
    return Text.assemble(("note: ", "yellow"), f"{printable(note)} ({items})")
