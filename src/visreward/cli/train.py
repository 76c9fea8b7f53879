"""visreward train: run a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or a YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings that replace the recipe's, such as optim.steps=100."),
    ] = None,
) -> None:
    """Train a reward model from a recipe; run again to go on after an interruption.

    Recipes: clip-mini, ict-mini, hp-mini (the models that ship), ict, hp (full size).
    """
    from visreward.core.extras import require_extra  # noqa: PLC0415

    require_extra("train", "accelerate", "pydantic", "tensorboard", "yaml", "pyarrow")
    from visreward.training.config import load_config  # noqa: PLC0415
    from visreward.training.run import train as run_training  # noqa: PLC0415

    config = load_config(recipe, overrides or [])
    metrics = run_training(config, recipe=Path(recipe).stem)
    typer.echo(json.dumps({"output": str(config.output), "metrics": metrics}, indent=2))
