"""Tiny vision-language reward models with random weights, one for each backbone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from visreward.core.types import Sample
from visreward.models.facts import ModelFacts
from visreward.models.heads import Fusion, HeadConfig, Pooling
from visreward.models.vlm.backbone import Positions, VLMBackbone
from visreward.models.vlm.editreward import EditReward
from visreward.models.vlm.hpsv3 import HPSv3
from visreward.models.vlm.inputs import VLMInputs
from visreward.models.vlm.pixels import PatchInputs, PixelBudget
from visreward.models.vlm.rating_prompts import ChatInputs, RatingPrompts
from visreward.models.vlm.reward import VLMReward
from visreward.models.vlm.settings import VLMSettings
from visreward.training.chat_tokenizer import (
    IMAGE,
    VIDEO,
    VISION_END,
    VISION_START,
    train_chat_tokenizer,
)

EDIT_PROMPTS = RatingPrompts(
    templates={
        "instruction_following": "Was it done? Wanted: {text_prompt}.",
        "visual_quality": "Is it clean? Wanted: {text_prompt}.",
    },
    suffix=" Rating: <|Reward|>\nEnd.",
)
IMAGE_PROMPTS = RatingPrompts(
    templates={"overall": "How good is it? Wanted: {text_prompt}."}, suffix=" Rating: <|Reward|>."
)
BUDGET = PixelBudget(min_pixels=56 * 56, max_pixels=84 * 84)


def backbone_config(kind: str, vocab_size: int, ids: dict[str, int]) -> dict[str, Any]:
    """Return a tiny configuration of a family."""
    language = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
        "vocab_size": vocab_size,
        "rms_norm_eps": 1e-6,
    }
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    vision: dict[str, Any] = {"depth": 2, "num_heads": 2, "patch_size": 14}
    if kind == "qwen2_vl":
        vision |= {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2}
    else:
        vision |= {"hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 32}
    if kind == "qwen2_5_vl":
        vision |= {"window_size": 56, "fullatt_block_indexes": [1]}
    if kind == "qwen3_vl":
        vision |= {"deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
        language |= {"head_dim": 8}
        rope |= {"mrope_interleaved": True}
    return {
        "model_type": kind,
        "image_token_id": ids[IMAGE],
        "video_token_id": ids[VIDEO],
        "vision_start_token_id": ids[VISION_START],
        "vision_end_token_id": ids[VISION_END],
        "text_config": language | {"rope_parameters": rope},
        "vision_config": vision,
    }


def make_tiny(
    kind: str = "qwen2_5_vl",
    *,
    is_edit: bool = True,
    positions: Positions = "multimodal",
    pooling: Pooling = "special",
    fusion: Fusion = "mean",
    seed: int = 0,
) -> VLMReward:
    """Return a tiny model whose weights are large enough to tell inputs apart."""
    tokenizer = train_chat_tokenizer(["Wanted: a red cube."], vocab_size=280)
    ids = tokenizer.get_vocab()
    prompts = EDIT_PROMPTS if is_edit else IMAGE_PROMPTS
    torch.manual_seed(seed)
    backbone = VLMBackbone(backbone_config(kind, len(tokenizer), ids))
    num_dimensions = len(prompts.templates)
    head = HeadConfig(num_heads=num_dimensions, num_layers=2, hidden_size=8)
    model = (EditReward if is_edit else HPSv3)(
        ModelFacts(
            name="tiny",
            needs_source=is_edit,
            dimensions=tuple(prompts.templates),
            fidelity="paper",
        ),
        backbone,
        inputs=VLMInputs(
            patches=PatchInputs(Qwen2VLImageProcessorPil(), budgets=[BUDGET]),
            chat=ChatInputs(tokenizer, prompts),
            settings=VLMSettings(head=head, positions=positions, pooling=pooling, fusion=fusion),
        ),
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.mul_(8 if name.startswith("backbone") else 2)
    return model.eval()


@pytest.fixture
def tiny() -> Callable[..., VLMReward]:
    """Return the maker of tiny models."""
    return make_tiny


def make_picture(seed: int, size: tuple[int, int] = (90, 70)) -> Image.Image:
    """Return a picture of large random spots."""
    spots = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(spots).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """Return the maker of pictures."""
    return make_picture


@pytest.fixture
def edits() -> list[Sample]:
    """Return candidates of two sources, of several sizes, under two instructions."""
    first, second, wide = make_picture(10), make_picture(11), make_picture(2, (120, 60))
    return [
        Sample(prompt="make it red", image=make_picture(1), source_image=first),
        Sample(prompt="make it red", image=wide, source_image=first),
        Sample(prompt="remove the cube", image=wide, source_image=first),
        Sample(prompt="make it red", image=make_picture(3, (64, 64)), source_image=second),
        Sample(prompt="make it red", image=first, source_image=first),
    ]
