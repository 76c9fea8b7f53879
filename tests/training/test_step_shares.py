"""A batch cut into parts gives the loss of the whole batch, whatever is compared in each part."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from visreward.models.clip.family import CLIPRewardModel
from visreward.training.config import TrainConfig
from visreward.training.data.batches import Batch
from visreward.training.data.questions import questions_of
from visreward.training.data.reading import read_rows
from visreward.training.objectives.step_shares import count_comparisons
from visreward.training.options.objective_config import PairwiseConfig
from visreward.training.run import train

MakeRecipe = Callable[..., TrainConfig]
MakeModel = Callable[..., CLIPRewardModel]

NUM_STEPS = 2


def losses(config: TrainConfig, quiet: Console) -> list[tuple[float, float, float]]:
    train(config, console=quiet)
    lines = [json.loads(line) for line in (config.output / "log.jsonl").read_text().splitlines()]
    return [(e["loss"], e["accuracy"], e["grad_norm"]) for e in lines if e["kind"] == "train"]


@pytest.mark.parametrize(
    "objective",
    [
        {"language_weight": 0.5},
        {"loss": "bradley-terry", "ties": "both-directions"},
        {"loss": "bradley-terry-ties"},
        {"loss": "listwise"},
        {"loss": "listwise", "ties": "both-directions"},
    ],
)
def test_pairwise_step_row_by_row_has_the_loss_of_the_whole_batch(
    edit_recipe: MakeRecipe, quiet: Console, objective: dict[str, Any]
) -> None:
    found = [
        losses(
            edit_recipe(
                run=f"parts-{accumulation}",
                objective=objective,
                optim={"steps": NUM_STEPS, "learning_rate": 1e-5, "accumulation": accumulation},
                validate_every=NUM_STEPS,
                save_every=NUM_STEPS,
            ),
            quiet,
        )
        for accumulation in (1, 4)
    ]
    assert len(found[0]) == NUM_STEPS
    for whole, parts in zip(*found, strict=True):
        assert parts == pytest.approx(whole, rel=1e-4, abs=1e-5)


def test_distillation_step_row_by_row_has_the_loss_of_the_whole_batch(
    edit_recipe: MakeRecipe, quiet: Console, tiny_model: MakeModel, tmp_path: Path
) -> None:
    tiny_model("hp", seed=5).save(tmp_path / "teacher")
    objective = {"name": "distillation", "teachers": [str(tmp_path / "teacher")]}
    found = [
        losses(
            edit_recipe(
                run=f"parts-{accumulation}",
                objective=objective,
                optim={"steps": 1, "learning_rate": 1e-5, "accumulation": accumulation},
                validate_every=1,
                save_every=1,
            ),
            quiet,
        )
        for accumulation in (1, 4)
    ]
    assert found[1][0][0] == pytest.approx(found[0][0][0], rel=1e-5)


def test_rows_of_these_tests_have_unequal_numbers_of_pairs(edit_recipe: MakeRecipe) -> None:
    # Or the tests above would not tell a mean from a mean of means.
    rows = read_rows(edit_recipe().data, "train", None)
    config = PairwiseConfig(name="pairwise")
    counts = {count_comparisons(questions_of([row]), config)["overall"] for row in rows}
    assert len(counts) > 1


def test_batch_share_is_one_where_nothing_is_said() -> None:
    batch = Batch(row_ids=torch.tensor([0]), rows=(), pixels=None, shares={"overall": 0.25})
    assert (batch.share("overall"), batch.share("dimension 0")) == (0.25, 1.0)
