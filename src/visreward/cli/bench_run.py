"""What `bench` does: groups through each model, results and report to the output folder."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from visreward.cli.bench_entrants import (
    Entrant,
    answer_counts,
    ask,
    entries,
    labels_for,
    open_entrant,
    settings_of,
)
from visreward.cli.console import notes_console, progress_bar
from visreward.cli.scoring_run import ModelChoice
from visreward.core.errors import UsageError
from visreward.core.whole_files import whole_file
from visreward.evaluation.benchmarks.base import BenchData, Benchmark
from visreward.evaluation.benchmarks.group_files import write_groups
from visreward.evaluation.benchmarks.result_files import (
    RESULTS_FILE,
    safe_name,
    samples_file,
    write_result,
    write_samples,
)
from visreward.evaluation.benchmarks.runner import (
    RunFacts,
    all_groups,
    evaluate,
    has_failures,
    picture_finder,
)
from visreward.evaluation.benchmarks.scorers import EngineScorer
from visreward.evaluation.benchmarks.sources import find_data
from visreward.scoring.records import printable

if TYPE_CHECKING:
    from visreward.evaluation.benchmarks.records import GroupResult
    from visreward.evaluation.benchmarks.results import BenchResult, MetricValue

DEFAULT_OUTPUT: Final = Path("bench-results")

_MAX_NAMED: Final = 3
"""Examples of a problem that are shown; the result holds more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchChoice:
    """What is measured on; the fields are the options of the same names."""

    benchmark: Benchmark
    data: str | None
    revision: str | None
    images: Path | None
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """The data of a run, and what results call it."""

    data: BenchData
    name: str


def export_groups(choice: BenchChoice, path: Path) -> None:
    """Write the groups of a benchmark as JSON lines, with the images that have no file.

    Raises:
        VisrewardError: if the data cannot be read.
    """
    console = notes_console()
    opened = _open(choice)
    total = len(opened.data.groups) if choice.limit is None else choice.limit
    with progress_bar("Writing", total=total, console=console) as advance:

        def counted() -> Iterator[Any]:
            for group in all_groups(opened.data, limit=choice.limit):
                yield group
                advance(1)

        num_groups = write_groups(counted(), path)
    _say_problems(console, opened.data.problems)
    console.print(Text(f"{num_groups} groups: {path}"))
    if not all(problem.is_warning for problem in opened.data.problems):
        raise typer.Exit(1)


def run(
    choice: BenchChoice,
    models: Sequence[str],
    how: ModelChoice,
    *,
    judges: Sequence[Path] = (),
    output: Path,
) -> None:
    """Measure models and judges, one after another, and write results and report.

    Args:
        choice: What is measured on.
        models: Names or folders of models, or `random`.
        how: How models are loaded; its name is not used.
        judges: Files that describe judges.
        output: Folder of the results.

    Raises:
        VisrewardError: if the run cannot go on.
    """
    asked = entries(models, judges)
    folders = {entry.name: output / safe_name(entry.name) for entry in asked}
    if len(set(folders.values())) < len(asked):
        names = ", ".join(entry.name for entry in asked)
        raise UsageError(f"Two of those that take part are called alike: {names}. Rename one.")
    console = notes_console()
    opened = _open(choice)
    data = opened.data
    results: list[BenchResult] = []
    samples: dict[str, tuple[GroupResult, ...]] = {}
    places: Sequence[int] = ()
    for entry in asked:
        folder = folders[entry.name]
        folder.mkdir(parents=True, exist_ok=True)
        data = labels_for(entry, opened.data)
        entrant = open_entrant(entry, how, benchmark=choice.benchmark, data=data, folder=folder)
        answers = ask(entrant, data, limit=choice.limit)
        settings = {**_settings(choice, opened), **settings_of(entry, how)}
        facts = _run_facts(folder, choice.benchmark.name, entrant, settings)
        result, groups = evaluate(choice.benchmark, data, answers, facts)
        write_samples(groups, folder / samples_file(choice.benchmark.name))
        write_result(result, folder / RESULTS_FILE)
        results.append(result)
        samples[entry.name], places = groups, answers.places
        _say_problems(console, result.problems, name=entry.name)
        if isinstance(entrant, EngineScorer) and entrant.num_resumed:
            console.print(f"{entrant.num_resumed} images were scored before and are kept.")
    _print_results(results)
    console.print(
        Text(f"Results: {', '.join(str(folder / RESULTS_FILE) for folder in folders.values())}")
    )
    _report(results, samples, data, places, output / f"{choice.benchmark.name}.html")
    if any(has_failures(result) for result in results):
        raise typer.Exit(1)


def _open(choice: BenchChoice) -> _Opened:
    """Read the groups, from the hub where they are not on this machine."""
    benchmark = choice.benchmark
    if choice.data is None:
        if benchmark.needs_data:
            raise UsageError(
                f"The benchmark '{benchmark.name}' has no pictures of its own. Give the folder or "
                "file of its data, or a data set of the hub, with --data."
            )
        return _Opened(data=benchmark.read(None), name="its own")
    source = find_data(choice.data, revision=choice.revision, files=benchmark.hub_files)
    return _Opened(data=benchmark.read(source.path, images=choice.images), name=source.name)


def _settings(choice: BenchChoice, opened: _Opened) -> dict[str, Any]:  # JSON values
    settings: dict[str, Any] = {"data": opened.name, "limit": choice.limit}
    if choice.images is not None:
        settings["images"] = str(choice.images)
    return settings


def _run_facts(
    folder: Path, benchmark: str, entrant: Entrant, settings: dict[str, Any]
) -> RunFacts:
    """Return the facts of a run; one that goes on keeps the date of its beginning."""
    path = folder / f"run_{benchmark}.json"
    wanted = {"revision": entrant.revision, "settings": settings}
    known: dict[str, Any] = {}
    if path.is_file():
        try:
            known = json.loads(path.read_bytes())
        except ValueError:
            known = {}
    if {key: known.get(key) for key in wanted} != wanted or "date" not in known:
        now = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
        known = {**wanted, "date": now}
        with whole_file(path) as part:
            part.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return RunFacts(
        model=entrant.name,
        revision=entrant.revision,
        date=known["date"],
        config=settings | answer_counts(entrant),
    )


def _say_problems(console: Console, problems: Sequence[Any], *, name: str = "") -> None:
    for problem in problems:
        style, word = ("yellow", "note: ") if problem.is_warning else ("bold red", "failed: ")
        console.print(
            Text.assemble(
                (word, style),
                f"{printable(name)}: " if name else "",
                f"{problem.kind} ({problem.count})",
            )
        )
        for example in problem.examples[:_MAX_NAMED]:
            console.print(Text(f"    {printable(example)}"))
        if problem.count > _MAX_NAMED:
            console.print(
                Text(f"    and {problem.count - min(_MAX_NAMED, len(problem.examples))} more")
            )


def _print_results(results: Sequence[BenchResult]) -> None:
    """Print one row for each metric and one column for each model."""
    table = Table(box=None, pad_edge=False)
    table.add_column("metric", overflow="fold")
    for result in results:
        table.add_column(printable(result.model), justify="right")
    found = [{(m.name, m.filter): m for m in result.metrics} for result in results]
    for key in dict.fromkeys(key for metrics in found for key in metrics):
        label = key[0] if key[1] == "none" else f"{key[0]}, {key[1]}"
        unit = next(metrics[key].unit for metrics in found if key in metrics)
        table.add_row(
            Text(f"{label} (%)" if unit == "share" else label),
            *(_number(metrics.get(key)) for metrics in found),
        )
    Console().print(table)


def _number(metric: MetricValue | None) -> str:
    """Return a metric with its interval: shares in per cent, to the digits of published tables."""
    from visreward.evaluation.reports.wording import metric_text

    if metric is None or metric.value is None:
        return "-"
    if metric.unit != "share":
        return metric_text(metric)
    text = f"{100 * metric.value:.2f}"
    if metric.low is None or metric.high is None:
        return text
    return f"{text} ({100 * metric.low:.1f} to {100 * metric.high:.1f})"


def _report(
    results: Sequence[BenchResult],
    samples: dict[str, tuple[GroupResult, ...]],
    data: BenchData,
    places: Sequence[int],
    path: Path,
) -> None:
    """Write the HTML report, or say what it needs."""
    from visreward.core.errors import MissingExtraError
    from visreward.evaluation.reports.bench_report import write_bench_report

    console = notes_console()
    try:
        write_bench_report(results, samples, path, picture_finder(data, places))
    except MissingExtraError as error:
        console.print(Text.assemble(("note: ", "yellow"), f"no report: {error}"))
        return
    console.print(Text(f"Report: {path}"))
