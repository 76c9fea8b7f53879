"""visreward score: score images for prompts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from visreward.cli import options

if TYPE_CHECKING:
    from visreward.models.facts import ModelFacts
    from visreward.scoring.writer import ScoreWriter


def score(  # noqa: PLR0913 - one parameter for each option
    *,
    images: options.Images = None,
    prompts: options.Prompts = None,
    source: options.Source = None,
    model: options.Model = None,
    rows: options.Rows = None,
    output: options.Output = None,
    output_format: options.Format = None,
    report: options.Report = None,
    batch_size: options.BatchSize = 16,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.FLOAT32,
    batch_invariant: options.BatchInvariant = False,
    attention: options.Attention = "sdpa",
) -> None:
    """Score every image with every prompt; higher is better.

    Exit status: 0 done, 1 some items failed (each is named), 2 the run could not go on.
    """
    from visreward.cli.scoring_run import Inputs, ModelChoice, run
    from visreward.core.errors import UsageError
    from visreward.scoring.formats import OutputFormat, choose_format

    chosen = choose_format(output_format, output)
    if output is not None and rows is not None and output.resolve() == rows.resolve():
        raise UsageError(f"--input and --output are both '{output}'. Give another output file.")

    def open_output(facts: ModelFacts) -> ScoreWriter:
        from visreward.scoring.writers import open_writer

        return open_writer(chosen, output, facts)

    run(
        Inputs(
            images=tuple(images or ()),
            prompts=tuple(prompts or ()),
            source=options.sources(source),
            rows=rows,
        ),
        ModelChoice(
            name=model,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            batch_invariant=batch_invariant,
            attention=attention,
        ),
        open_output=open_output,
        report=report,
        is_table=output is None and chosen is OutputFormat.TABLE,
        show_bar=output is not None or not sys.stdout.isatty() or not chosen.is_streamed,
    )
