"""visreward models: list, show, pull and import reward models."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from visreward.models.catalog import CatalogRow

app = typer.Typer(help="List, show, pull and import reward models.", no_args_is_help=True)


class ListFormat(StrEnum):
    """How a list or a model is printed."""

    TABLE = "table"
    JSON = "json"


Format = Annotated[ListFormat, typer.Option("--format", metavar="FORMAT", help="table or json.")]


@app.command("list")
def list_models(*, output_format: Format = ListFormat.TABLE) -> None:
    """List all models by name."""
    from visreward.models.catalog import catalog

    rows = catalog().values()
    if output_format is ListFormat.JSON:
        typer.echo(json.dumps([_values(row) for row in rows], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("name", no_wrap=True, style="bold")
    table.add_column("range", no_wrap=True)
    table.add_column("GB", justify="right", no_wrap=True)
    table.add_column("files", no_wrap=True)
    table.add_column("note")
    for row in rows:
        table.add_row(
            row.name, _range(row.score_range), str(row.memory_gb.float32), _status(row), row.note
        )
    Console().print(table)


@app.command("show")
def show_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model's name or a native folder.")],
    *,
    output_format: Format = ListFormat.TABLE,
) -> None:
    """Show what is known about a model, and its card where it has one."""
    from visreward.models.catalog import catalog, find_row

    if name in catalog():
        values, folder = _values(catalog()[name]), _folder(catalog()[name])
    elif Path(name).is_dir():
        values, folder = _native_values(Path(name)), Path(name)
    else:
        find_row(name)
    if output_format is ListFormat.JSON:
        typer.echo(json.dumps(values, indent=2))
        return
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in values.items():
        if value not in (None, "", [], {}):
            table.add_row(key.replace("_", " "), _text(key, value))
    console = Console()
    console.print(table)
    card = folder / "README.md"
    if card.is_file():
        console.print()
        console.print(Markdown(card.read_text(encoding="utf-8")))


@app.command("pull")
def pull_model(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A model's name, from `visreward models list`.")
    ],
    *,
    revision: Annotated[
        str | None,
        typer.Option(
            "--revision", metavar="REV", help="Hub revision of the weights, not the catalog's."
        ),
    ] = None,
) -> None:
    """Download a model and import it, so that every command loads it by name.

    Prints the model's folder on standard output.
    """
    from visreward.models.cache import has_copy
    from visreward.models.catalog import find_row
    from visreward.models.hub import obtain
    from visreward.models.native_config import read_config
    from visreward.models.release_archives import check_of_prompts, known_prompts

    row = find_row(name)
    if row.builtin:
        typer.echo(f"'{name}' ships with the package; there is nothing to download.", err=True)
        typer.echo(_folder(row))
        return
    was_here = has_copy(row, revision)
    folder = obtain(row, revision=revision, agree=lambda plan: typer.echo(plan, err=True))
    if was_here:
        typer.echo(f"'{name}' is already here; nothing was downloaded.", err=True)
    prompts = read_config(folder).prompts_sha256
    if prompts is not None and row.release is not None:
        known = known_prompts(row.release, folder=folder)
        checked = check_of_prompts(prompts, [known] if known else [])
        typer.echo(f"Rating prompts: SHA-256 {prompts}, {checked}.", err=True)
    typer.echo(folder)


@app.command("import")
def import_model(
    layout: Annotated[
        str,
        typer.Argument(
            metavar="LAYOUT",
            help="ict, hp, ict-hp, clipscore, pickscore, hpsv2, laion-aesthetic, hpsv3 or "
            "editreward.",
        ),
    ],
    *,
    checkpoint: Annotated[
        Path, typer.Option("--checkpoint", metavar="DIR", help="Folder of the released weights.")
    ],
    backbone: Annotated[
        Path,
        typer.Option(
            "--backbone",
            metavar="DIR",
            help="Folder of the model that it was trained from: config.json, "
            "preprocessor_config.json, tokenizer.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The native folder to write.")
    ],
    release: Annotated[
        Path | None,
        typer.Option(
            "--release",
            metavar="PATH",
            help="hpsv3 and editreward: source tree or wheel of the release, read for its rating "
            "prompts, never run.",
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="NAME.yaml",
            help="Training configuration in the release, where it has several.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a native folder that is there.")
    ] = False,
) -> None:
    """Turn released weights into a native folder that every command loads."""
    from visreward.models.release_archives import check_of_prompts, prompts_of_layout
    from visreward.models.released import ReleasedSource, import_released

    source = ReleasedSource(
        checkpoint=checkpoint, backbone=backbone, release=release, config_name=config
    )
    report = import_released(layout, source, output=output, force=force)
    for path in report.read:
        typer.echo(f"read      {path}")
    for name in report.left_out:
        typer.echo(f"left out  {name}")
    if report.prompts_sha256 is not None:
        known = prompts_of_layout(layout)
        typer.echo(
            f"prompts   {report.prompts_sha256}, {check_of_prompts(report.prompts_sha256, known)}"
        )
    typer.echo(f"revision  {report.revision}")
    typer.echo(f"wrote     {report.output}")


def _folder(row: CatalogRow) -> Path:
    from visreward.models.cache import copy_folder
    from visreward.models.catalog import BUILTIN_FOLDER

    return BUILTIN_FOLDER / row.name if row.builtin else copy_folder(row)


def _status(row: CatalogRow) -> str:
    from visreward.models.cache import has_copy, own_rows

    if row.builtin:
        is_there = all((_folder(own) / "config.json").is_file() for own in own_rows(row))
        return "built in" if is_there else "missing"
    if has_copy(row):
        return "here"
    return "on the hub" if row.is_published else "to import"


def _get_with(row: CatalogRow) -> str | None:
    """Return the command that brings a model, or None where it ships with the package."""
    from visreward.models.hub_files import import_command

    if row.builtin:
        return None
    if row.is_published:
        return f"visreward models pull {row.name}"
    return import_command(row, output=str(_folder(row)))


def _values(row: CatalogRow) -> dict[str, Any]:  # JSON values
    return {
        "name": row.name,
        "note": row.note,
        "score_range": _json_range(row.score_range),
        "dimensions": list(row.dimensions),
        "needs_prompt": row.needs_prompt,
        "memory_gb": {
            "float32": row.memory_gb.float32,
            "bfloat16": row.memory_gb.bfloat16,
        },
        "licence": row.licence,
        "paper": row.paper,
        "files": _status(row),
        "folder": str(_folder(row)),
        "parts": dict(row.parts),
        "layout": row.layout,
        "hub": [f"{files.repo}@{files.revision}" for files in row.hub_files()],
        "release": None if row.release is None else row.release.url,
        "get_with": _get_with(row),
    }


def _native_values(folder: Path) -> dict[str, Any]:  # JSON values
    from visreward.models.native_config import read_config

    config = read_config(folder)
    return {
        "name": config.facts.name,
        "kind": config.kind,
        "note": config.facts.note,
        "score_range": _json_range(config.facts.score_range),
        "dimensions": list(config.facts.dimensions),
        "needs_prompt": config.facts.needs_prompt,
        "fidelity": config.facts.fidelity,
        "licence": config.facts.licence,
        "parts": dict(config.parts),
        "origin": None if config.origin is None else config.origin.to_dict(),
        "prompts_sha256": config.prompts_sha256,
        "folder": str(folder),
    }


def _json_range(ends: tuple[float, float]) -> list[float | None]:
    return [end if math.isfinite(end) else None for end in ends]


def _range(ends: tuple[float, float]) -> str:
    return " to ".join(f"{end:g}" for end in ends) if all(map(math.isfinite, ends)) else "open"


def _text(key: str, value: Any) -> str:  # noqa: ANN401  any JSON value
    if key == "score_range":
        low, high = value
        return _range((-math.inf if low is None else low, math.inf if high is None else high))
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)
