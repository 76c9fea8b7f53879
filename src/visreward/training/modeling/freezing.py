"""Which parts of a model keep their weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from visreward.core.errors import UsageError
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.vlm.reward import VLMReward
from visreward.training.modeling.reward_token import train_reward_token_alone
from visreward.training.options.freeze_config import FreezeConfig

CLIP_ALONE = frozenset({"text", "text_rate", "projections"})
VLM_ALONE = frozenset({"merger", "language", "embeddings"})


def frozen_layers(rate: float, num_layers: int) -> int:
    """Return how many of the lowest layers a freezing rate covers.

    Source: ICT & HP release, set_grad_with_rate: the lower int(rate * layers) layers.
    """
    return int(rate * num_layers)


def frozen_vision_layers(config: FreezeConfig, num_layers: int) -> int:
    """Return how many of the lowest vision layers are frozen.

    Raises:
        UsageError: if more layers are to be trained than there are.
    """
    if config.vision_layers is None:
        return num_layers if config.vision else frozen_layers(config.vision_rate, num_layers)
    if config.vision_layers > num_layers:
        raise UsageError(
            f"freeze.vision_layers is {config.vision_layers}, but the vision tower has "
            f"{num_layers} layers. Give at most {num_layers}."
        )
    return num_layers - config.vision_layers


def freeze(model: CLIPRewardModel | VLMReward, config: FreezeConfig) -> None:
    """Switch gradients off for the parts that keep their weights.

    Raises:
        UsageError: if a part is to be frozen that the model does not have, or more vision layers
            are to be trained than there are.
    """
    is_vlm = isinstance(model, VLMReward)
    other, parts = ("CLIP", CLIP_ALONE) if is_vlm else ("vision-language", VLM_ALONE)
    foreign = config.model_dump(exclude_defaults=True).keys() & parts
    if foreign:
        raise UsageError(
            f"freeze.{min(foreign)} is given, but '{model.kind}' has no such part: it belongs to "
            f"{other} models. Leave it out."
        )
    if isinstance(model, VLMReward):
        _freeze_vlm(model, config)
    else:
        _freeze_clip(model, config)


def _mergers(visual: Any) -> list[nn.Module]:  # noqa: ANN401  transformers' vision towers differ
    """Return the maps from a vision tower to its language model; Qwen3-VL has several."""
    return [visual.merger, *getattr(visual, "deepstack_merger_list", ())]


def _freeze_vlm(model: VLMReward, config: FreezeConfig) -> None:
    visual = model.backbone.model.visual
    _freeze_tower(
        visual,
        config,
        layers=visual.blocks,
        embeddings=[part for name, part in visual.named_children() if name.endswith("_embed")],
    )
    is_merger_frozen = config.vision if config.merger is None else config.merger
    for part in _mergers(visual):
        part.requires_grad_(requires_grad=not is_merger_frozen)
    language = model.backbone.model.language_model
    language.requires_grad_(requires_grad=not config.language)
    trained = config.embeddings or ("none" if config.language else "all")
    language.embed_tokens.requires_grad_(requires_grad=trained == "all")
    if trained == "reward-token":
        train_reward_token_alone(model)


def _freeze_clip(model: CLIPRewardModel, config: FreezeConfig) -> None:
    clip = model.backbone.clip
    vision = clip.vision_model
    _freeze_tower(
        vision,
        config,
        layers=vision.encoder.layers,
        embeddings=[vision.embeddings, vision.pre_layrnorm],
    )
    parts: list[nn.Module] = []
    if config.projections:
        parts.append(clip.visual_projection)
    if model.backbone.has_text:
        text_layers = clip.text_model.encoder.layers
        parts += [*text_layers[: frozen_layers(config.text_rate, len(text_layers))]]
        if config.text:
            parts.append(clip.text_model)
        if config.projections:
            parts.append(clip.text_projection)
    for part in parts:
        part.requires_grad_(requires_grad=False)
    if model.backbone.has_text and model.kind != "clipscore":
        # Only the contrastive loss uses it; left out, DDP would wait for its gradient.
        clip.logit_scale.requires_grad_(requires_grad=False)


def _freeze_tower(
    tower: nn.Module, config: FreezeConfig, *, layers: nn.ModuleList, embeddings: list[nn.Module]
) -> None:
    """Freeze a vision tower whole or its lowest layers; what is trained of it is switched on."""
    tower.requires_grad_(requires_grad=not config.vision)
    num_frozen = frozen_vision_layers(config, len(layers))
    for number, layer in enumerate(layers):
        layer.requires_grad_(requires_grad=number >= num_frozen)
    if config.vision_embeddings:
        for part in embeddings:
            part.requires_grad_(requires_grad=False)
