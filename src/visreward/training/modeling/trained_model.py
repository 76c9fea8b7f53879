"""From a configuration to the model of a run, with what is trained of it switched on."""

from __future__ import annotations

from collections.abc import Iterable

from visreward.models.clip.family import CLIPRewardModel
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.modeling.build import build_model
from visreward.training.modeling.freezing import freeze
from visreward.training.modeling.gradient_checkpointing import set_checkpointing
from visreward.training.modeling.lora import add_adapters


def trained_model(config: TrainConfig, prompts: Iterable[str]) -> CLIPRewardModel | VLMReward:
    """Return the model of a run: built, frozen in parts, with adapters and checkpointing.

    Args:
        config: The run.
        prompts: Prompts of the training split; read only where a tokenizer is trained.

    Raises:
        UsageError: as `build_model`, `freeze` and `add_adapters` do.
        MissingExtraError: as `add_adapters` does.
    """
    model = build_model(config.model, prompts, seed=config.seed)
    freeze(model, config.freeze)
    if config.lora is not None:
        add_adapters(model, config.lora, freeze=config.freeze)
    set_checkpointing(model, config.checkpointing)
    return model
