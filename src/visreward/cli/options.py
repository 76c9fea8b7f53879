"""The arguments and options that `score` and `rank` share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

DEFAULT_MODEL = "ict-hp-mini"


class Dtype(StrEnum):
    """The number types that models compute in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


Images: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="IMAGE...", help="Image files: JPEG, PNG, WebP, BMP or GIF."),
]
Source: TypeAlias = Annotated[
    str | None,
    typer.Option("--source", metavar="IMAGE", help="The image before the edit."),
]
Model: TypeAlias = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="A model's name or folder; 'visreward models list' names them.",
    ),
]
Report: TypeAlias = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE.html", help="Write one page with all images."),
]
BatchSize: TypeAlias = Annotated[
    int,
    typer.Option("--batch-size", min=1, metavar="N", help="Images at once in the model."),
]
Device: TypeAlias = Annotated[
    str,
    typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps."),
]
DtypeOption: TypeAlias = Annotated[
    Dtype, typer.Option("--dtype", help="What the model computes in.")
]
BatchInvariant: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--batch-invariant",
        help="Slower: the same bits whatever else is scored, in any dtype.",
    ),
]
