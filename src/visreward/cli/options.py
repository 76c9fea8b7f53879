"""The arguments and options that `score` and `rank` share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from visreward.scoring.formats import OutputFormat


class Dtype(StrEnum):
    """The number types that models compute in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


Images: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="IMAGE", help="Image files: JPEG, PNG, WebP, BMP or GIF."),
]
Prompts: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt", "-p", metavar="TEXT", help="The text asked for; may be given several times."
    ),
]
Prompt: TypeAlias = Annotated[
    str | None, typer.Option("--prompt", "-p", metavar="TEXT", help="The text asked for.")
]
Source: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--source", metavar="IMAGE", help="The image before the edit; may be given several times."
    ),
]
Model: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="A model's name or folder ('visreward models list' names them); by default "
        "ict-hp-mini, and editreward-mini for edits.",
    ),
]
Rows: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--input",
        metavar="FILE",
        help='Lines of {"prompt": ..., "image": ...}; source_image and id where wanted. '
        "Paths start at the file's folder.",
    ),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write here; JSON lines and Parquet go on where a run stopped.",
    ),
]
Format: TypeAlias = Annotated[
    OutputFormat | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="table, json, jsonl, csv or parquet; by default what --output's name says.",
    ),
]
RankingFormat: TypeAlias = Annotated[
    OutputFormat, typer.Option("--format", metavar="FORMAT", help="table or json.")
]
Report: TypeAlias = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Write one HTML page with all images."),
]
BatchSize: TypeAlias = Annotated[
    int,
    typer.Option("--batch-size", min=1, metavar="N", help="Images at once in the model."),
]
Port: TypeAlias = Annotated[int, typer.Option(help="0 takes a free one and says which.")]
Device: TypeAlias = Annotated[
    str,
    typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps."),
]
DtypeOption: TypeAlias = Annotated[
    Dtype,
    typer.Option("--dtype", metavar="NAME", help="Computed in float32, bfloat16 or float16."),
]
Attention: TypeAlias = Annotated[
    str,
    typer.Option(
        "--attention",
        metavar="NAME",
        help="sdpa; with vision-language models also eager or flash_attention_2.",
    ),
]
BatchInvariant: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--batch-invariant",
        help="Slower: the same bits whatever else is scored, in any dtype.",
    ),
]


def sources(given: list[str] | None) -> str | tuple[str, ...] | None:
    """Return the source image, or several as a tuple, that `--source` named."""
    if not given:
        return None
    return given[0] if len(given) == 1 else tuple(given)
