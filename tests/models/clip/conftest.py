"""The tiny reference models of shared/parity/clip_tiny, and small random ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from visreward.models.clip.backbone import CLIPBackbone, CLIPBackboneConfig
from visreward.models.clip.hp import HP, ICTHP
from visreward.models.clip.ict import ICT
from visreward.models.clip.inputs import (
    PixelInputs,
    TextInputs,
    load_pixel_inputs,
    load_text_inputs,
)
from visreward.models.facts import ModelFacts
from visreward.training.modeling.tokenizer import train_tokenizer

PROMPTS = (
    "a red cube",
    "a blue ball on a table beside a tall green bottle",
    "two cats",
    "a wooden chair in the rain at night, seen from far above",
)


@dataclass(frozen=True, kw_only=True)
class Parity:
    """What the released code computed on tiny models.

    Attributes:
        folder: Configuration, weights and images.
        prompts: Seven prompts.
        images: Paths of twelve images.
        ict_scores: (12, 7).
        hp_scores: (12,).
        arrays: Token ids, pixel values, features and logits by name.
    """

    folder: Path
    prompts: tuple[str, ...]
    images: tuple[Path, ...]
    ict_scores: np.ndarray
    hp_scores: np.ndarray
    arrays: dict[str, np.ndarray]


@pytest.fixture(scope="session")
def parity(shared_dir: Path) -> Parity:
    folder = shared_dir / "parity" / "clip_tiny"
    known = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    rows = {(row["image"], row["prompt_index"]): row for row in known["scores"]}
    names, numbers = known["images"], range(len(known["prompts"]))
    with np.load(folder / "scores.npz") as arrays:
        return Parity(
            folder=folder,
            prompts=tuple(known["prompts"]),
            images=tuple(folder / "images" / name for name in names),
            ict_scores=np.array([[rows[n, k]["ict_score"] for k in numbers] for n in names]),
            hp_scores=np.array([rows[n, 0]["hp_score"] for n in names]),
            arrays=dict(arrays),
        )


@pytest.fixture
def ict(parity: Parity) -> ICT:
    """The reference ICT model, in float32."""
    model = ICT(
        ModelFacts(name="ict", score_range=(-1.0, 1.0)),
        CLIPBackbone(CLIPBackboneConfig.from_clip(CLIPConfig.from_pretrained(parity.folder))),
        pixel_inputs=load_pixel_inputs(parity.folder),
        text_inputs=load_text_inputs(parity.folder, context=77, cleaning="open_clip"),
    )
    _fill(model.backbone.clip, parity.folder / "ICT" / "pytorch_model.bin")
    return model.eval()


@pytest.fixture
def hp(parity: Parity) -> HP:
    """The reference HP model, in float32."""
    config = CLIPConfig.from_pretrained(parity.folder)
    model = HP(
        ModelFacts(name="hp", needs_prompt=False, score_range=(0.0, 1.0)),
        CLIPBackbone(CLIPBackboneConfig.from_clip(config, image_only=True)),
        pixel_inputs=load_pixel_inputs(parity.folder),
    )
    _fill(model.backbone.clip, parity.folder / "HP" / "hp_backbone" / "pytorch_model.bin")
    _fill(model.head, parity.folder / "HP" / "hp_scorer" / "mlp_pytorch_model.bin")
    return model.eval()


@pytest.fixture
def ict_hp(ict: ICT, hp: HP) -> ICTHP:
    """Both reference models together."""
    return ICTHP(ModelFacts(name="ict-hp", dimensions=("ict", "hp")), ict, hp)


def _fill(module: torch.nn.Module, path: Path) -> None:
    """Load the tensors that the module has; the file must hold every one of them."""
    tensors: dict[str, Tensor] = torch.load(path, weights_only=True)
    names = module.state_dict()
    module.load_state_dict({name: tensors[name] for name in names}, strict=True)


@pytest.fixture(scope="session")
def tokenizer() -> CLIPTokenizer:
    return train_tokenizer(list(PROMPTS), vocab_size=530)


@pytest.fixture(scope="session")
def make_inputs(tokenizer: CLIPTokenizer) -> Callable[[int], tuple[PixelInputs, TextInputs]]:
    """Build the inputs of a small model that sees squares of a given side."""

    def make(side: int) -> tuple[PixelInputs, TextInputs]:
        processor = CLIPImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        )
        return PixelInputs(processor), TextInputs(tokenizer, context=20, cleaning="open_clip")

    return make


@pytest.fixture
def random_backbone(tokenizer: CLIPTokenizer) -> Callable[..., CLIPBackbone]:
    """Build a backbone with random weights, wide enough to use every kernel's vector path."""

    def make(*, projection_dim: int = 96, image_only: bool = False, **vision: Any) -> CLIPBackbone:
        torch.manual_seed(0)
        tower = {
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "hidden_act": "gelu",
        }
        text = {
            **tower,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 20,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        picture = {**tower, "image_size": 64, "patch_size": 16, **vision}
        return CLIPBackbone(
            CLIPBackboneConfig(
                vision=picture,
                text=None if image_only else text,
                projection_dim=projection_dim,
            )
        ).eval()

    return make
