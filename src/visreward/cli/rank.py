"""visreward rank: put images in order for one prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visreward.cli import options
from visreward.scoring.formats import OutputFormat

if TYPE_CHECKING:
    from visreward.models.facts import ModelFacts
    from visreward.scoring.writer import ScoreWriter


def rank(  # noqa: PLR0913 - one parameter for each option
    *,
    images: options.Images = None,
    prompt: options.Prompt = None,
    source: options.Source = None,
    model: options.Model = None,
    output_format: options.RankingFormat = OutputFormat.TABLE,
    report: options.Report = None,
    batch_size: options.BatchSize = 16,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.FLOAT32,
    batch_invariant: options.BatchInvariant = False,
    attention: options.Attention = "sdpa",
) -> None:
    """Rank images for one prompt, best first; equal scores share a rank.

    Exit status: 0 done, 1 some items failed (each is named), 2 the run could not go on.
    """
    from visreward.cli.scoring_run import Inputs, ModelChoice, run
    from visreward.core.errors import UsageError

    if output_format not in (OutputFormat.TABLE, OutputFormat.JSON):
        raise UsageError(
            f"A ranking is printed as table or json, not {output_format}. "
            "For the other formats use: visreward score"
        )

    def open_output(facts: ModelFacts) -> ScoreWriter:
        from visreward.scoring.writers import RankingJsonWriter, TableWriter

        is_json = output_format is OutputFormat.JSON
        return (RankingJsonWriter if is_json else TableWriter)(None, facts)

    prompts = () if prompt is None else (prompt,)
    run(
        Inputs(images=tuple(images or ()), prompts=prompts, source=options.sources(source)),
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
        is_table=output_format is OutputFormat.TABLE,
        show_bar=True,
    )
