"""What DeepSpeed is asked for, and what is refused before it is."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from visreward.core.errors import MissingExtraError, UsageError
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.training.config import TrainConfig
from visreward.training.distributed.processes import make_accelerator
from visreward.training.distributed.zero import Zero, zero_settings
from visreward.training.objectives.contrastive import ContrastiveObjective
from visreward.training.objectives.hp import HPObjective
from visreward.training.options.objective_config import ContrastiveConfig, HPConfig

MakeRecipe = Callable[..., TrainConfig]
MakeModel = Callable[..., CLIPRewardModel]


@pytest.mark.parametrize(("stage", "found"), [(None, 2), (2, 2), (3, 3)])
def test_zero_settings_follow_the_recipe(recipe: MakeRecipe, stage: int | None, found: int) -> None:
    config = recipe(
        "hp",
        parallel={"strategy": "deepspeed", "zero_stage": stage},
        optim={"batch_size": 24, "accumulation": 3, "grad_clip": None},
    )
    settings = zero_settings(config, num_processes=4)
    assert settings["zero_optimization"] == {"stage": found}
    assert (settings["train_micro_batch_size_per_gpu"], settings["train_batch_size"]) == (2, 24)
    assert settings["gradient_accumulation_steps"] == 3
    assert settings["gradient_clipping"] == 0.0


def test_zero_stage_of_another_strategy_is_refused(recipe: MakeRecipe) -> None:
    with pytest.raises(UsageError, match=r"parallel\.zero_stage.*only strategy=deepspeed has"):
        recipe("hp", parallel={"strategy": "fsdp2", "zero_stage": 3})


def test_zero_without_deepspeed_says_how_to_install_it(
    recipe: MakeRecipe, tiny_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    config = recipe("hp", parallel={"strategy": "deepspeed"})
    model = tiny_model("hp")
    assert isinstance(model, HP)
    objective = HPObjective(model, HPConfig(name="hp"))
    with pytest.raises(MissingExtraError, match=r"pip install 'visreward\[deepspeed\]'"):
        Zero(objective, config, make_accelerator(config))


def test_zero_model_with_a_single_number_is_refused(
    recipe: MakeRecipe, tiny_model: MakeModel
) -> None:
    config = recipe("clipscore", parallel={"strategy": "deepspeed"})
    objective = ContrastiveObjective(tiny_model("clipscore"), ContrastiveConfig(name="contrastive"))
    with pytest.raises(UsageError, match=r"logit_scale, a single number.*strategy=fsdp2"):
        Zero(objective, config, make_accelerator(config))
