"""visreward data: check, convert, label and make datasets."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visreward.cli.label import label
from visreward.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from visreward.data.base import DatasetReport

app = typer.Typer(help="Check, convert, label and make datasets.", no_args_is_help=True)
app.command("label")(label)


class Dataset(StrEnum):
    """Datasets on disk that are read."""

    PICK_HIGH = "pick-high"


class SceneKind(StrEnum):
    """What can be made from the synthetic world."""

    PICK_HIGH = "pick-high"
    CAPTIONS = "captions"
    EDIT = "edit"


class CheckFormat(StrEnum):
    """How the findings of a check are printed."""

    TABLE = "table"
    JSON = "json"


DatasetKind = Annotated[Dataset, typer.Argument(metavar="DATASET", help="pick-high.")]
DatasetPath = Annotated[Path, typer.Argument(metavar="PATH", help="Its folder, or one file.")]


@app.command()
def check(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="pick-high, hpdv3, editreward, editreward-data, editreward-bench, pick-a-pic or "
            "imagerewarddb.",
        ),
    ],
    path: DatasetPath,
    *,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the images are, if not beside the tables."),
    ] = None,
    open_images: Annotated[
        bool, typer.Option("--open-images", help="Decode every image as well; slow.")
    ] = False,
    output_format: Annotated[
        CheckFormat, typer.Option("--format", metavar="FORMAT", help="table or json.")
    ] = CheckFormat.TABLE,
) -> None:
    """Count a dataset's rows and name what is wrong with them.

    Exit status: 0 nothing is wrong, 1 something is, 2 the dataset cannot be read.
    """
    from visreward.cli.console import notes_console, progress_bar

    check_dataset = _check_of(dataset)
    with progress_bar(f"Checking {dataset}", total=None, console=notes_console()) as advance:
        report = check_dataset(path, images=images, progress=advance, open_images=open_images)
    if output_format is CheckFormat.JSON:
        values = {**asdict(report), "path": str(report.path), "ok": report.ok}
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        Console(highlight=False, soft_wrap=True).print(_findings(report))
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def convert(
    dataset: DatasetKind,
    path: DatasetPath,
    *,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the Parquet tables.")],
) -> None:
    """Write a dataset's tables as Parquet; images stay where they are."""
    from visreward.cli.console import notes_console, progress_bar
    from visreward.data.pick_high import convert_pick_high

    console = notes_console()
    with progress_bar(f"Converting {dataset}", total=None, console=console) as advance:
        tables = convert_pick_high(path, output=output, progress=advance)
    for table in tables:
        console.print(f"Wrote {table}", markup=False)


@app.command("make-scenes")
def make_scenes(
    kind: Annotated[
        SceneKind, typer.Argument(metavar="KIND", help="pick-high (triplets), captions or edit.")
    ],
    *,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder to fill or to go on with.")],
    num: Annotated[int, typer.Option(metavar="N", help="Triplets, caption families, or edits.")],
    seed: Annotated[int, typer.Option(metavar="S", help="The same seed makes the same bytes.")],
    size: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Side of the images; by default 128 for pick-high, 64 for captions, 112 for edit.",
        ),
    ] = None,
    finish_share: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Share of triplets with natural texture, soft focus and tone; 0 to 1.",
        ),
    ] = 0.0,
    num_workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Processes; by default one a core.")
    ] = None,
) -> None:
    """Make a dataset of the synthetic world, in which the right answers are known."""
    from visreward.cli.console import notes_console, progress_bar
    from visreward.data.scenes.write import write_captions, write_pick_high
    from visreward.data.scenes.write_edits import write_edits

    if kind is not SceneKind.PICK_HIGH and finish_share:
        raise UsageError(
            f"--finish-share is {finish_share}, but {kind} has no finish. Leave it out."
        )
    writers: dict[SceneKind, tuple[Callable[..., None], int]] = {
        SceneKind.PICK_HIGH: (partial(write_pick_high, finish_share=finish_share), 128),
        SceneKind.CAPTIONS: (write_captions, 64),
        SceneKind.EDIT: (write_edits, 112),
    }
    write, usual_size = writers[kind]
    console = notes_console()
    with progress_bar(f"Making {kind}", total=num, console=console) as advance:
        write(
            output,
            num=num,
            seed=seed,
            size=size or usual_size,
            progress=advance,
            num_workers=num_workers,
        )
    console.print(f"Wrote {output}", markup=False)


def _check_of(dataset: str) -> Callable[..., DatasetReport]:
    """Return the check of a data set's kind."""
    from visreward.core.registry import unknown_name
    from visreward.data.formats import PREFERENCE_FORMATS
    from visreward.data.pick_high_check import check_pick_high
    from visreward.data.preference_check import check_preferences

    if dataset == Dataset.PICK_HIGH:
        return check_pick_high
    if dataset not in PREFERENCE_FORMATS:
        known = (*Dataset, *PREFERENCE_FORMATS)
        raise unknown_name(
            "dataset", name=dataset, known=known, list_with="visreward data check --help"
        )
    return partial(check_preferences, PREFERENCE_FORMATS[dataset])


def _findings(report: DatasetReport) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from visreward.scoring.records import printable

    counts = ", ".join(f"{split} {count:,}" for split, count in report.counts.items())
    lines = [Text.assemble((f"{report.dataset}  ", "bold"), f"rows: {counts or 'none'}")]
    for problem in report.problems:
        kind, style = ("warning", "yellow") if problem.is_warning else ("problem", "bold red")
        what = f"{problem.kind}, {problem.count:,} times"
        lines.append(Text.assemble((f"{kind}: ", style), what))
        lines += [Text(f"    {printable(example)}") for example in problem.examples]
        num_hidden = problem.count - len(problem.examples)
        if num_hidden:
            lines.append(Text(f"    and {num_hidden:,} more", style="dim"))
    if report.ok:
        lines.append(Text("ok", style="bold green"))
    return Group(*lines)
