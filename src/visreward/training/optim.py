"""Which parameters are trained, by which optimizer, at which rate."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW, Optimizer

from visreward.core.errors import UsageError
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import FreezeConfig, OptimConfig


def frozen_layers(rate: float, num_layers: int) -> int:
    """Return how many of the lowest layers a freezing rate covers.

    Source: ICT & HP release, set_grad_with_rate: the lower int(rate * layers) layers.
    """
    return int(rate * num_layers)


def freeze(model: CLIPRewardModel | VLMReward, config: FreezeConfig) -> None:
    """Switch gradients off for the parts that keep their weights.

    Raises:
        UsageError: if a part is to be frozen that a vision-language model does not have.
    """
    if isinstance(model, VLMReward):
        if config != FreezeConfig(vision=config.vision):
            raise UsageError(
                f"freeze is {config.model_dump(exclude_defaults=True)}, but of '{model.kind}' only "
                "the vision tower can be frozen. Leave out all but freeze.vision."
            )
        model.backbone.model.visual.requires_grad_(requires_grad=not config.vision)
        return
    clip = model.backbone.clip
    vision = clip.vision_model
    layers = vision.encoder.layers
    parts: list[nn.Module] = [*layers[: frozen_layers(config.vision_rate, len(layers))]]
    if config.vision:
        parts.append(vision)
    if config.vision_embeddings:
        parts += [vision.embeddings, vision.pre_layrnorm]
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


def make_optimizer(module: nn.Module, config: OptimConfig) -> Optimizer:
    """Return AdamW; biases, norms and single numbers take no weight decay."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=config.betas,
        fused=True,
    )


def rate_factor(step: int, config: OptimConfig) -> float:
    """Return the share of the learning rate that step `step`, counted from 0, uses."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    rest = max(config.steps - config.warmup_steps, 1)
    done = min((step - config.warmup_steps) / rest, 1.0)
    return 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2


def set_rate(optimizer: Optimizer, step: int, config: OptimConfig) -> float:
    """Give the optimizer the learning rate of step `step`, counted from 0, and return it.

    The rate depends on the step and the configuration alone, so a resumed run needs no state.
    """
    rate = config.learning_rate * rate_factor(step, config)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Return how many numbers are trained and how many are frozen."""
    counts = {True: 0, False: 0}
    for parameter in module.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    return counts[True], counts[False]
