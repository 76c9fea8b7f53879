"""visreward bench: measure models on a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visreward.cli import options

LIST = "list"

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A benchmark, or 'list' for all of them.")
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="A folder or file in the published layout, a JSONL of groups, or a data set of the "
        "hub as owner/name.",
    ),
]
Revision = Annotated[
    str | None,
    typer.Option("--revision", metavar="NAME", help="Of the data set on the hub."),
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="The folder that images are named relative to; by default that of the file.",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="A model's name or folder, or 'random' for chance; may be given several times.",
    ),
]
Judges = Annotated[
    list[Path] | None,
    typer.Option(
        "--judge",
        metavar="FILE",
        help="A judge's YAML or TOML file (docs/judges.md); may be given several times.",
    ),
]
OutputFolder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Folder of the results, bench-results by default; scores that are there are kept.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, metavar="N", help="Only the first N groups, to try it out."),
]
Export = Annotated[
    Path | None,
    typer.Option(
        "--export",
        metavar="FILE",
        help="Write the groups as JSON lines, with their images, and score nothing.",
    ),
]


def bench(  # noqa: PLR0913 - one parameter for each option
    *,
    name: Name,
    data: Data = None,
    revision: Revision = None,
    images: Images = None,
    models: Models = None,
    judges: Judges = None,
    output: OutputFolder = None,
    limit: Limit = None,
    export: Export = None,
    batch_size: options.BatchSize = 16,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.FLOAT32,
    batch_invariant: options.BatchInvariant = False,
    attention: options.Attention = "sdpa",
) -> None:
    """Measure models and judges on a benchmark: results, a line a group, one HTML report.

    Each distinct image is scored once for its prompt, and a run that was stopped goes on where it
    was. Exit status: 0 done, 1 done but something failed (each is named), 2 the run could not go
    on.
    """
    if name == LIST:
        _list()
        return
    from visreward.cli.bench_run import DEFAULT_OUTPUT, BenchChoice, export_groups, run
    from visreward.cli.scoring_run import ModelChoice
    from visreward.evaluation.benchmarks.registry import find_benchmark

    benchmark = find_benchmark(name)
    choice = BenchChoice(
        benchmark=benchmark, data=data, revision=revision, images=images, limit=limit
    )
    if export is not None:
        export_groups(choice, export)
        return
    run(
        choice,
        tuple(models or ()),
        ModelChoice(
            name=None,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            batch_invariant=batch_invariant,
            attention=attention,
        ),
        judges=tuple(judges or ()),
        output=output or DEFAULT_OUTPUT,
    )


def _list() -> None:
    """Print all benchmarks with what they compare."""
    from rich.console import Console
    from rich.table import Table

    from visreward.evaluation.benchmarks.registry import BENCHMARKS

    table = Table(box=None, pad_edge=False)
    for column in ("name", "data", "what is compared"):
        table.add_column(column)
    for name in BENCHMARKS:
        benchmark = BENCHMARKS.get(name)
        table.add_row(name, "--data" if benchmark.needs_data else "its own", benchmark.summary)
    Console().print(table)
