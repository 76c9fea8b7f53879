"""Tiny vision-language reward models with random weights, and releases of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
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
from visreward.training.modeling.chat_tokenizer import (
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


CONFIG = """
rm_head_type: {head}
rm_head_kwargs: {{num_layers: 2, hidden_size: 8}}
pooling_strategy: mean
max_pixels: 7056
min_pixels: 3136
use_special_tokens: true
reward_token: special
output_dim: 2
"""
EDIT_RELEASE = {
    "EditReward/dataset/prompts.py": (
        f"INSTRUCTION_EDIT_FOLLOWING = {EDIT_PROMPTS.templates['instruction_following']!r}\n"
        f"INSTRUCTION_EDIT_QUALITY = {EDIT_PROMPTS.templates['visual_quality']!r}\n"
        "raise RuntimeError('this file was run')\n"
    ),
    "EditReward/dataset/data_collator_qwen_edit.py": (
        f"prompt_with_special_token = {EDIT_PROMPTS.suffix!r}\n"
    ),
    "EditReward/config/EditReward-Qwen2.5-7B-VL.yaml": CONFIG.format(head="ranknet_multi_head"),
    "EditReward/config/EditReward-MiMo-VL-7B-SFT-2508.yaml": CONFIG.format(
        head="ranknet_multi_head"
    ),
}
IMAGE_RELEASE = {
    "hpsv3/dataset/data_collator_qwen.py": (
        f"INSTRUCTION = {IMAGE_PROMPTS.templates['overall']!r}\n"
        f"prompt_with_special_token = {IMAGE_PROMPTS.suffix!r}\n"
    ),
    "hpsv3/config/HPSv3_7B.yaml": CONFIG.format(head="ranknet"),
}


@dataclass(frozen=True)
class TinyVLMRelease:
    """A tiny checkpoint in a released layout, and a release of it in our own words.

    Attributes:
        checkpoint: Folder of its weights.
        backbone: Folder of its backbone, without weights.
        texts: The files of the release.
        prompts: The rating prompts in them.
    """

    checkpoint: Path
    backbone: Path
    texts: dict[str, str]
    prompts: RatingPrompts


def write_vlm_release(root: Path, *, kind: str, is_edit: bool) -> TinyVLMRelease:
    """Write a tiny checkpoint and its backbone as the releases do."""
    model = make_tiny(kind, is_edit=is_edit)
    checkpoint, backbone = root / "checkpoint", root / "backbone"
    checkpoint.mkdir(parents=True)
    model.save_processors(backbone)
    (backbone / "config.json").write_text(json.dumps(model.backbone.to_dict()))
    head = r"rm_heads.head_\1." if is_edit else "rm_head."
    tensors = {
        re.sub(r"^heads\.(\d+)\.", head, name).removeprefix("backbone."): tensor.contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file(tensors, checkpoint / ("model.safetensors" if is_edit else "HPSv3.safetensors"))
    return TinyVLMRelease(
        checkpoint=checkpoint,
        backbone=backbone,
        texts=EDIT_RELEASE if is_edit else IMAGE_RELEASE,
        prompts=EDIT_PROMPTS if is_edit else IMAGE_PROMPTS,
    )


@pytest.fixture(scope="session")
def edit_release(tmp_path_factory: pytest.TempPathFactory) -> TinyVLMRelease:
    """Return a tiny EditReward on Qwen2.5-VL."""
    return write_vlm_release(tmp_path_factory.mktemp("editreward"), kind="qwen2_5_vl", is_edit=True)


@pytest.fixture(scope="session")
def image_release(tmp_path_factory: pytest.TempPathFactory) -> TinyVLMRelease:
    """Return a tiny HPSv3."""
    return write_vlm_release(tmp_path_factory.mktemp("hpsv3"), kind="qwen2_vl", is_edit=False)


@pytest.fixture(scope="session")
def qwen3_release(tmp_path_factory: pytest.TempPathFactory) -> TinyVLMRelease:
    """Return a tiny EditReward on Qwen3-VL, whose collator takes the suffix from the other one."""
    written = write_vlm_release(tmp_path_factory.mktemp("qwen3"), kind="qwen3_vl", is_edit=True)
    collator = {"EditReward/dataset/data_collator_qwen3_edit.py": "import nothing_of_it\n"}
    return replace(written, texts=written.texts | collator)
