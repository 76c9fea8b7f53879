"""The log, the progress bar and the speed that they show."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from visreward.training.config import TrainConfig
from visreward.training.objectives.base import StepOutput
from visreward.training.reporting.journal import Journal, shown

MakeRecipe = Callable[..., TrainConfig]


def take(journal: Journal, step: int, *, seconds: float = 1.0, **pairs: Any) -> None:
    output = StepOutput(loss=torch.tensor(0.5), accuracy=torch.tensor(0.25), **pairs)
    journal.step(
        step,
        output,
        learning_rate=0.1,
        grad_norm=2.0,
        num_images=50,
        num_processes=2,
        seconds=seconds,
    )


def entries(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_journal_smooths_images_per_second_from_the_first_step_on(
    recipe: MakeRecipe, quiet: Console
) -> None:
    config = recipe("hp", optim={"steps": 9})
    with Journal(config, console=quiet, is_main=True, first_step=6) as journal:
        take(journal, 7)
        take(journal, 8, seconds=0.5)
    rates = [entry["images_per_s"] for entry in entries(config.output / "log.jsonl")]
    assert rates == pytest.approx([100.0, 100 / (0.9 + 0.1 * 0.5)])


def test_journal_writes_every_nth_step_and_the_last(recipe: MakeRecipe, quiet: Console) -> None:
    config = recipe("hp", optim={"steps": 7}, log_every=3)
    with Journal(config, console=quiet, is_main=True) as journal:
        for step in range(1, 8):
            take(journal, step)
    assert [entry["step"] for entry in entries(config.output / "log.jsonl")] == [3, 6, 7]


def test_journal_of_a_resumed_run_drops_steps_that_come_again_and_a_cut_line(
    recipe: MakeRecipe, quiet: Console
) -> None:
    config = recipe("hp", optim={"steps": 9})
    config.output.mkdir()
    lines = [json.dumps({"kind": "train", "step": step}) for step in (1, 2, 3, 4)]
    (config.output / "log.jsonl").write_text("\n".join(lines) + '\n{"kind": "tra')
    with Journal(config, console=quiet, is_main=True, first_step=2) as journal:
        take(journal, 3)
    found = entries(config.output / "log.jsonl")
    assert [entry["step"] for entry in found] == [1, 2, 3]
    assert found[2]["loss"] == 0.5


def test_journal_of_another_process_writes_nothing(recipe: MakeRecipe, quiet: Console) -> None:
    config = recipe("hp")
    with Journal(config, console=quiet, is_main=False) as journal:
        take(journal, 1)
        journal.validation(1, {"average": 1.0})
    assert not config.output.exists()


def test_journal_counts_the_pairs_of_all_processes(recipe: MakeRecipe, quiet: Console) -> None:
    config = recipe("hp", optim={"steps": 2})
    with Journal(config, console=quiet, is_main=True) as journal:
        take(journal, 1, seconds=0.5, margin=torch.tensor(-0.75), num_pairs=30)
        take(journal, 2, seconds=0.5, margin=torch.tensor(math.nan), num_pairs=0)
    first, second = entries(config.output / "log.jsonl")
    assert (first["margin"], first["pairs_per_s"]) == (-0.75, 120.0)
    assert 0.1 < first["memory_gb"] < 1000
    assert not second.keys() & {"margin", "pairs_per_s"}


@pytest.mark.parametrize(
    ("pairs", "phrases"),
    [
        ({}, ("accuracy 0.250 100 images/s",)),
        (
            {"margin": torch.tensor(-0.75), "num_pairs": 30},
            ("accuracy 0.250 margin -0.750 60 pairs/s",),
        ),
    ],
)
def test_journal_bar_shows_loss_accuracy_speed_and_time_left(
    recipe: MakeRecipe, pairs: dict[str, Any], phrases: tuple[str, ...]
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)
    config = recipe("hp", optim={"steps": 4})
    with Journal(config, console=console, is_main=True) as journal:
        take(journal, 2, **pairs)
        journal.validation(2, {"average": 0.75})
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for phrase in (
        "2/4",
        "loss 0.5000",
        *phrases,
        "left",
        " GB",
        "average 0.7500",
    ):
        assert phrase in text


def test_shown_preparation_counts_up_to_its_total() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with shown(console, "pixels of train") as progress:
        progress(3, 8)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "pixels of train" in text
    assert "3/8" in text
