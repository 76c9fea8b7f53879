"""Which attention back-end trains fastest on a CPU."""

from __future__ import annotations

from typing import Final, Literal

from visreward.models.clip.family import CLIPRewardModel
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig

LONG_IMAGE: Final = 192
"""Tokens of an image from which the fused attention is faster in bfloat16 too."""


def take_attention(model: CLIPRewardModel | VLMReward, config: TrainConfig) -> None:
    """Choose the attention back-end that takes the shorter steps on a CPU.

    torch's fused attention (sdpa) is the faster one in float32. In bfloat16 its backward pass
    takes longer than plain matrix products do (eager) until there are some 500 keys, as measured
    with torch 2.13 (docs/results.md, a training step).

    Args:
        model: Which.
        config: The run, whose precision is decided.
    """
    backend = chosen_attention(model, config)
    if isinstance(model, VLMReward):
        model.set_attention(backend)
    else:
        model.backbone.clip.set_attn_implementation(backend)


def chosen_attention(
    model: CLIPRewardModel | VLMReward, config: TrainConfig
) -> Literal["eager", "sdpa"]:
    """Return the back-end that `take_attention` takes."""
    if config.precision != "bfloat16":
        return "sdpa"
    if not isinstance(model, VLMReward):
        return "eager"
    patches = model.inputs.patches
    side = patches.patch_size * patches.processor.merge_size
    largest = max(budget.max_pixels for budget in patches.budgets) // side**2
    return "sdpa" if largest >= LONG_IMAGE else "eager"
