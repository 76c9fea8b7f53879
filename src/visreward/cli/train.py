"""visreward train: run a recipe."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

RELEASE_PROCESSES = 8


def train(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe's name or a YAML file.", show_default=False)
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings that replace the recipe's, such as optim.steps=100."),
    ] = None,
    *,
    is_dry: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be trained, and stop."),
    ] = False,
    from_release: Annotated[
        Path | None,
        typer.Option(
            help="Translate a training YAML of EditReward or HPSv3, and print the recipe.",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many processes the release was run with (8), or a --dry-run is about (1).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a reward model from a recipe; run again to go on after an interruption.

    Recipes: clip-mini, ict-mini, hp-mini, vision-mini, editreward-mini, hpsv3-mini (the models
    that ship), ict, hp, hpsv3, editreward-qwen2.5, editreward-mimo, editreward-qwen3 (full size).
    """
    from visreward.core.errors import UsageError
    from visreward.core.extras import require_extra

    require_extra("train", "accelerate", "pydantic", "tensorboard", "yaml", "pyarrow", "matplotlib")
    if (recipe is None) == (from_release is None):
        raise UsageError("Give a recipe, or a released YAML with --from-release, and not both.")
    if from_release is not None:
        from visreward.training.release.from_release import translate_release

        translated = translate_release(from_release, num_processes=processes or RELEASE_PROCESSES)
        typer.echo(translated.text(), nl=False)
        return
    if processes is not None and not is_dry:
        raise UsageError(
            f"--processes {processes} belongs to --dry-run and --from-release. Train with: "
            f"torchrun --nproc_per_node {processes} -m visreward train ..."
        )
    assert recipe is not None
    from visreward.training.recipe import load_config
    from visreward.training.run import train as run_training

    config = load_config(recipe, overrides or [])
    if is_dry:
        from visreward.training.reporting.dry_run import dry_run

        # Of several processes of a launcher, one speaks.
        if os.environ.get("RANK", "0") == "0":
            launched = int(os.environ.get("WORLD_SIZE", "1"))
            dry_run(config, console=Console(soft_wrap=False), num_processes=processes or launched)
        return
    metrics = run_training(config, recipe=Path(recipe).stem)
    if os.environ.get("RANK", "0") == "0":
        typer.echo(json.dumps({"output": str(config.output), "metrics": metrics}, indent=2))
