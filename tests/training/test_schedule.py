"""Lengths as shares of an epoch."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from pydantic import ValidationError
from rich.console import Console

from visreward.training.config import TrainConfig
from visreward.training.options.optim_config import OptimConfig
from visreward.training.run import train
from visreward.training.schedule import with_steps

MakeRecipe = Callable[..., TrainConfig]
VALUES = {"batch_size": 1, "learning_rate": 1}


def test_with_steps_rounds_shares_of_an_epoch(recipe: MakeRecipe) -> None:
    config = recipe(
        "hp",
        optim={"steps": 0, "epochs": 2.5},
        validate_every_epochs=0.1,
        save_every_epochs=1e-6,
    )
    found = with_steps(config, 103)
    assert (found.optim.steps, found.validate_every, found.save_every) == (258, 10, 1)
    assert with_steps(found, 103) == found


def test_with_steps_without_epochs_changes_nothing(recipe: MakeRecipe) -> None:
    config = recipe("hp")
    assert with_steps(config, 7) == config


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "steps or epochs say how long to train"),
        ({"steps": 3, "epochs": 1}, "steps or epochs say how long to train"),
        ({"steps": 3, "warmup_steps": 1, "warmup_ratio": 0.1}, "warmup_ratio are both given"),
    ],
)
def test_optim_lengths_given_twice_or_never_are_refused(
    given: dict[str, float], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        OptimConfig.model_validate({**VALUES, **given})


def test_train_by_epochs_validates_and_stops_where_they_say(
    recipe: MakeRecipe, quiet: Console
) -> None:
    # 24 rows in batches of 6: 4 steps an epoch.
    config = recipe(
        "hp", optim={"steps": 0, "epochs": 1.5, "warmup_ratio": 0.3}, validate_every_epochs=0.5
    )
    train(config, console=quiet)
    log = [json.loads(line) for line in (config.output / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log if entry["kind"] == "validation"] == [2, 4, 6]
    rates = [entry["learning_rate"] for entry in log if entry["kind"] == "train"]
    assert rates == pytest.approx([0.005, 0.01, 0.01, 0.0075, 0.005, 0.0025])
    assert "6 steps of 6 rows" in (config.output / "model" / "README.md").read_text()
