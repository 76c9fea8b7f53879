"""From a configuration to the vision-language reward model that it trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from transformers import PreTrainedTokenizerBase
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from visreward.core.errors import UsageError
from visreward.models.facts import ModelFacts
from visreward.models.heads import HeadConfig
from visreward.models.vlm.backbone import VLMBackbone
from visreward.models.vlm.base_model import BaseVLM
from visreward.models.vlm.editreward import EditReward
from visreward.models.vlm.hpsv3 import HPSv3
from visreward.models.vlm.inputs import VLMInputs
from visreward.models.vlm.pixels import PatchInputs, PixelBudget
from visreward.models.vlm.rating_prompts import ChatInputs, RatingPrompts
from visreward.models.vlm.reward import VLMReward
from visreward.models.vlm.settings import VLMSettings
from visreward.training.config import ModelConfig, VLMConfig
from visreward.training.modeling.chat_tokenizer import (
    IMAGE,
    VIDEO,
    VISION_END,
    VISION_START,
    train_chat_tokenizer,
)

KINDS: Final[Mapping[str, type[VLMReward]]] = {each.kind: each for each in (EditReward, HPSv3)}


def build_vlm(
    config: ModelConfig,
    facts: ModelFacts,
    *,
    prompts: Iterable[str],
    source: VLMReward | BaseVLM | None,
) -> VLMReward:
    """Return the vision-language model to train, with new heads.

    Args:
        config: What is trained.
        facts: Those of the model; its dimensions are those of the rating prompts.
        prompts: Prompts of the training split; read only where a tokenizer is trained.
        source: Model whose backbone and tokenizer are taken, and rating prompts where none are
            given, or None for new ones.

    Raises:
        UsageError: if what a model from nothing needs is not given.
    """
    if config.vlm is None:
        raise UsageError(
            f"A model of kind '{config.kind}' is a vision-language model. Give model.vlm."
        )
    asked = _rating_prompts(config.vlm, source)
    if source is None:
        source = _from_nothing(config, asked, prompts)
    if isinstance(source, VLMReward):
        source = BaseVLM(
            backbone=source.backbone,
            tokenizer=source.inputs.chat.tokenizer,
            processor=source.inputs.patches.processor,
        )
    budget = PixelBudget(min_pixels=config.vlm.min_pixels, max_pixels=config.vlm.max_pixels)
    inputs = VLMInputs(
        patches=PatchInputs(source.processor, budgets=[budget]),
        chat=ChatInputs(source.tokenizer, asked),
        settings=_settings(config.vlm, num_dimensions=len(asked.templates)),
    )
    named = replace(facts, dimensions=tuple(asked.templates))
    return KINDS[config.kind](named, source.backbone, inputs=inputs)


def _rating_prompts(config: VLMConfig, source: VLMReward | BaseVLM | None) -> RatingPrompts:
    """Return what a model is asked: as configured, or like the model that it starts from.

    Raises:
        UsageError: if there is neither.
    """
    if config.rating_prompts is not None:
        return RatingPrompts(**config.rating_prompts.model_dump())
    if not isinstance(source, VLMReward):
        raise UsageError(
            "There are no rating prompts to take over. Give model.vlm.rating_prompts, or a reward "
            "model as model.init."
        )
    return source.inputs.chat.prompts


def _settings(config: VLMConfig, *, num_dimensions: int) -> VLMSettings:
    heads = config.heads.model_dump(exclude={"shared"})
    return VLMSettings(
        head=HeadConfig(num_heads=1 if config.heads.shared else num_dimensions, **heads),
        pooling=config.pooling,
        fusion=config.fusion,
        positions=config.positions,
    )


def _from_nothing(config: ModelConfig, asked: RatingPrompts, prompts: Iterable[str]) -> BaseVLM:
    if config.backbone is None or config.tokenizer is None:
        raise UsageError("Without model.init, give model.backbone and model.tokenizer.")
    texts = (asked.text(name, prompt) for prompt in prompts for name in asked.templates)
    tokenizer = train_chat_tokenizer(texts, vocab_size=config.tokenizer.vocab_size)
    values = _with_tokens(config.backbone, tokenizer)
    vision = values["vision_config"]
    processor = Qwen2VLImageProcessorPil(
        patch_size=vision["patch_size"],
        merge_size=vision.get("spatial_merge_size", 2),
        temporal_patch_size=vision.get("temporal_patch_size", 2),
    )
    return BaseVLM(backbone=VLMBackbone(values), tokenizer=tokenizer, processor=processor)


def _with_tokens(
    backbone: dict[str, Any],  # JSON values
    tokenizer: PreTrainedTokenizerBase,
) -> dict[str, Any]:
    """Return a backbone's configuration with what its tokenizer decides.

    Raises:
        UsageError: if it has no text_config or no vision_config with a patch_size.
    """
    vision = backbone.get("vision_config", {})
    if "text_config" not in backbone or "patch_size" not in vision:
        raise UsageError(
            f"model.backbone has the keys {sorted(backbone)}. Give model_type, text_config, and "
            "vision_config with a patch_size, as in transformers."
        )
    known = tokenizer.get_vocab()
    return {
        **backbone,
        "text_config": {**backbone["text_config"], "vocab_size": len(tokenizer)},
        "image_token_id": known[IMAGE],
        "video_token_id": known[VIDEO],
        "vision_start_token_id": known[VISION_START],
        "vision_end_token_id": known[VISION_END],
    }
