"""From a configuration to the model that it trains."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from visreward.core.errors import UsageError
from visreward.models.clip.backbone import CLIPBackbone, CLIPBackboneConfig
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.models.clip.ict import ICT
from visreward.models.clip.inputs import PixelInputs, TextInputs
from visreward.models.clip.similarity import CLIPScore, CLIPSimilarity
from visreward.models.facts import ModelFacts
from visreward.models.loading import load_model
from visreward.models.vlm.base_model import BaseVLM, is_base_folder, load_base
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import ModelConfig
from visreward.training.modeling.tokenizer import train_tokenizer
from visreward.training.modeling.vlm_build import KINDS, build_vlm

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

SIMILARITIES: dict[str, type[CLIPSimilarity]] = {"clipscore": CLIPScore, "ict": ICT}
SCORE_RANGES = {"clipscore": (0.0, 100.0), "ict": (-1.0, 1.0), "hp": (0.0, 1.0)}
UNBOUNDED = (float("-inf"), float("inf"))


def build_model(
    config: ModelConfig, prompts: Iterable[str], *, seed: int
) -> CLIPRewardModel | VLMReward:
    """Return the model to train, from other weights or from nothing.

    Args:
        config: What is trained.
        prompts: Prompts of the training split; read only where a tokenizer is trained.
        seed: Seed of the first weights.

    Raises:
        UsageError: if neither `init` nor what a model from nothing needs is given, or `init` is
            of another architecture, or lacks the text tower of a model that reads prompts.
    """
    torch.manual_seed(seed)
    source = _source(config)
    facts = ModelFacts(
        name=config.name,
        needs_prompt=config.kind != "hp",
        needs_source=config.kind == "editreward",
        score_range=SCORE_RANGES.get(config.kind, UNBOUNDED),
        fidelity=config.fidelity,
        licence=_licence(source),
        note=config.note,
    )
    if config.kind in KINDS:
        assert not isinstance(source, CLIPRewardModel)
        return build_vlm(config, facts, prompts=prompts, source=source)
    if source is None:
        return _from_nothing(config, facts, prompts)
    assert isinstance(source, CLIPRewardModel)
    return _from_weights(config, facts, source)


def _source(config: ModelConfig) -> CLIPRewardModel | VLMReward | BaseVLM | None:
    """Return what `init` names: a reward model, a base vision-language model, or None."""
    if config.init is None:
        return None
    is_vlm = config.kind in KINDS
    folder = Path(config.init).expanduser()
    if is_vlm and is_base_folder(folder):
        return load_base(folder)
    source = load_model(config.init)
    wanted = VLMReward if is_vlm else CLIPRewardModel
    if not isinstance(source, wanted):
        raise UsageError(
            f"model.init '{config.init}' is a '{source.kind}'. Start from a "
            f"{'vision-language' if is_vlm else 'CLIP'} model."
        )
    return source


def _licence(source: CLIPRewardModel | VLMReward | BaseVLM | None) -> str:
    """Return the licence of weights; a base model's folder states none."""
    if source is None:
        return "MIT"
    return "" if isinstance(source, BaseVLM) else source.facts.licence


def _from_nothing(
    config: ModelConfig, facts: ModelFacts, prompts: Iterable[str]
) -> CLIPRewardModel:
    if config.backbone is None or config.image_size is None:
        raise UsageError("Without model.init, give model.backbone and model.image_size.")
    wanted = CLIPBackboneConfig.from_dict(copy.deepcopy(config.backbone))
    wanted.vision["image_size"] = config.image_size
    pixel_inputs = PixelInputs(
        CLIPImageProcessorPil(
            size={"shortest_edge": config.image_size},
            crop_size={"height": config.image_size, "width": config.image_size},
        )
    )
    if config.kind == "hp":
        return HP(facts, CLIPBackbone(wanted), pixel_inputs=pixel_inputs)
    if config.tokenizer is None or wanted.text is None:
        raise UsageError(
            f"'{config.kind}' reads prompts. Give model.tokenizer and model.backbone.text."
        )
    tokenizer = train_tokenizer(prompts, vocab_size=config.tokenizer.vocab_size)
    wanted.text.update(_token_ids(tokenizer), max_position_embeddings=config.tokenizer.context)
    return SIMILARITIES[config.kind](
        facts,
        CLIPBackbone(wanted),
        pixel_inputs=pixel_inputs,
        text_inputs=TextInputs(tokenizer, context=config.tokenizer.context, cleaning="open_clip"),
    )


def _token_ids(tokenizer: CLIPTokenizer) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _from_weights(
    config: ModelConfig, facts: ModelFacts, source: CLIPRewardModel
) -> CLIPRewardModel:
    if config.kind == "hp":
        return _hp_from_weights(facts, source)
    if source.text_inputs is None:
        raise UsageError(
            f"model.init '{config.init}' has no text tower, but '{config.kind}' reads prompts. "
            "Start from a model with both towers."
        )
    return SIMILARITIES[config.kind](
        facts,
        source.backbone,
        pixel_inputs=source.pixel_inputs,
        text_inputs=source.text_inputs,
    )


def _hp_from_weights(facts: ModelFacts, source: CLIPRewardModel) -> HP:
    """Take the image tower, its projection, and the head where the source is an HP model."""
    wanted = CLIPBackboneConfig.from_dict(
        {**source.backbone.backbone_config.to_dict(), "text": None}
    )
    model = HP(facts, CLIPBackbone(wanted), pixel_inputs=source.pixel_inputs)
    known = model.backbone.state_dict()
    weights = source.backbone.state_dict()
    model.backbone.load_state_dict({name: weights[name] for name in known}, strict=True)
    if isinstance(source, HP):
        model.head.load_state_dict(source.head.state_dict(), strict=True)
    else:
        model.head.reset()
    return model
