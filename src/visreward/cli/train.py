"""visreward train: run a recipe."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or a YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings that replace the recipe's, such as optim.steps=100."),
    ] = None,
    *,
    is_dry: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be trained, and stop."),
    ] = False,
) -> None:
    """Train a reward model from a recipe; run again to go on after an interruption.

    Recipes: clip-mini, ict-mini, hp-mini (the models that ship), ict, hp (full size).
    """
    from visreward.core.extras import require_extra

    require_extra("train", "accelerate", "pydantic", "tensorboard", "yaml", "pyarrow", "matplotlib")
    from visreward.training.recipe import load_config
    from visreward.training.run import train as run_training

    config = load_config(recipe, overrides or [])
    if is_dry:
        from visreward.training.dry_run import dry_run

        dry_run(config, console=Console(soft_wrap=False))
        return
    metrics = run_training(config, recipe=Path(recipe).stem)
    if os.environ.get("RANK", "0") == "0":
        # Of several processes of a launcher, one speaks.
        typer.echo(json.dumps({"output": str(config.output), "metrics": metrics}, indent=2))
