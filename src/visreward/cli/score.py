"""visreward score: score images for prompts."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from visreward.cli.options import (
    DEFAULT_MODEL,
    BatchInvariant,
    BatchSize,
    Device,
    Dtype,
    DtypeOption,
    Images,
    Model,
    Report,
    Source,
)
from visreward.scoring.formats import OutputFormat


def score(  # noqa: PLR0913 - one parameter for each option
    images: Images = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt", "-p", metavar="TEXT", help="The text asked for; give several for several."
        ),
    ] = None,
    source: Source = None,
    model: Model = DEFAULT_MODEL,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE.jsonl",
            help='Lines of {"prompt": ..., "image": ...}; also source_image and id. '
            "Paths start at the file's folder.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write here. JSON lines and Parquet go on where a run stopped.",
        ),
    ] = None,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option("--format", help="By default a table, or what the output's name says."),
    ] = None,
    report: Report = None,
    batch_size: BatchSize = 16,
    device: Device = "auto",
    dtype: DtypeOption = Dtype.FLOAT32,
    batch_invariant: BatchInvariant = False,
) -> None:
    """Score every image with every prompt; higher is better.

    Exit status: 0 done, 1 some items failed (each is named), 2 the run could not go on.
    """
    from visreward.cli import scoring_run  # noqa: PLC0415
    from visreward.core.errors import UsageError  # noqa: PLC0415
    from visreward.scoring.formats import check_writable, choose_format  # noqa: PLC0415

    if not images and input_file is None:
        raise UsageError("No image was given. Give image files, or --input FILE.jsonl.")
    chosen = choose_format(output_format, output)
    if report is not None:
        check_writable(report)
    if output is not None and input_file is not None and output.resolve() == input_file.resolve():
        raise UsageError(f"--input and --output are both '{output}'. Give another output file.")
    engine = scoring_run.load_engine(
        model,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        batch_invariant=batch_invariant,
    )
