"""ICT x HP at real sizes with random weights: our model, and the loop of the released eval.py."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from visreward.core.types import Sample
from visreward.models.clip.backbone import CLIPBackbone, CLIPBackboneConfig
from visreward.models.clip.hp import HP, ICTHP
from visreward.models.clip.ict import ICT
from visreward.models.clip.inputs import PixelInputs, TextInputs
from visreward.models.facts import ModelFacts
from visreward.training.modeling.tokenizer import train_tokenizer

IMAGE_SIDE, CONTEXT, VOCABULARY = 224, 77, 49408
PICTURE_SIDE = 512


@dataclass(frozen=True, kw_only=True)
class Tower:
    """The shape of a transformer."""

    width: int
    layers: int
    heads: int

    def config(self) -> dict[str, Any]:
        """Return the fields that both towers' configurations share."""
        return {
            "hidden_size": self.width,
            "intermediate_size": 4 * self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "hidden_act": "gelu",
        }

    def flops(self, tokens: int) -> float:
        """Return the operations of one sequence as ours computes them: linear layers, attention.

        Of the last layer only keys and values are needed of every token.
        """
        layer = 24 * tokens * self.width**2 + 4 * tokens**2 * self.width
        last = (4 * tokens + 20) * self.width**2 + 4 * tokens * self.width
        return (self.layers - 1) * layer + last


@dataclass(frozen=True, kw_only=True)
class Size:
    """The shape of a CLIP model."""

    vision: Tower
    text: Tower
    patch: int
    projection: int

    @property
    def num_tokens(self) -> int:
        """Return how many tokens an image has."""
        return (IMAGE_SIDE // self.patch) ** 2 + 1

    def image_flops(self) -> float:
        """Return the operations of one image through one tower."""
        patches = 2 * (self.num_tokens - 1) * self.vision.width * 3 * self.patch**2
        return patches + self.vision.flops(self.num_tokens)


SIZES = {
    "vit-b-32": Size(
        vision=Tower(width=768, layers=12, heads=12),
        text=Tower(width=512, layers=12, heads=8),
        patch=32,
        projection=512,
    ),
    "vit-h-14": Size(
        vision=Tower(width=1280, layers=32, heads=16),
        text=Tower(width=1024, layers=24, heads=16),
        patch=14,
        projection=1024,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Released:
    """What the released script holds, in float32; the text tower beside HP's is left out."""

    ict: Any  # transformers leaves the types of its models open
    hp: Any
    head: nn.Module
    processor: CLIPImageProcessorPil
    tokenizer: CLIPTokenizer

    @torch.no_grad()
    def score(self, samples: list[Sample]) -> list[float]:
        """Score one pair after the other, from opening the file to the product."""
        device = self.ict.device
        scores = []
        for sample in samples:
            assert isinstance(sample.image, Path)
            with Image.open(sample.image) as image:
                pixels = self.processor(image.convert("RGB"), return_tensors="pt")["pixel_values"]
            ids = self.tokenizer(
                sample.prompt,
                padding="max_length",
                max_length=CONTEXT,
                truncation=True,
                return_tensors="pt",
            )["input_ids"]
            text = self.ict.text_projection(self.ict.text_model(ids.to(device)).pooler_output)
            image_feature = _image_features(self.ict, pixels.to(device))
            quality = self.head(_image_features(self.hp, pixels.to(device))).sigmoid()
            scores.append(float(functional.cosine_similarity(text, image_feature) * quality))
        return scores


def _image_features(clip: Any, pixels: Tensor) -> Tensor:  # noqa: ANN401  transformers' own
    features: Tensor = clip.visual_projection(clip.vision_model(pixel_values=pixels).pooler_output)
    return features


def build_ours(size: Size, prompts: tuple[str, ...]) -> ICTHP:
    """Return ICT x HP with random weights, in float32 on the CPU."""
    torch.manual_seed(0)
    # Repeated, so that the words of these prompts become single tokens, as in CLIP's vocabulary.
    tokenizer = train_tokenizer(prompts * 9, vocab_size=900)
    vision = {**size.vision.config(), "image_size": IMAGE_SIDE, "patch_size": size.patch}
    text = {
        **size.text.config(),
        "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    towers, image_tower = (
        CLIPBackbone(CLIPBackboneConfig(vision=vision, text=texts, projection_dim=size.projection))
        for texts in (text, None)
    )
    pixels = PixelInputs(CLIPImageProcessorPil())
    inputs = TextInputs(tokenizer, context=CONTEXT, cleaning="open_clip")
    ict = ICT(ModelFacts(name="ict"), towers, pixel_inputs=pixels, text_inputs=inputs)
    hp = HP(ModelFacts(name="hp", needs_prompt=False), image_tower, pixel_inputs=pixels)
    return ICTHP(ModelFacts(name="ict-hp", dimensions=("ict", "hp")), ict, hp).eval()


def build_released(ours: ICTHP) -> Released:
    """Return the released script's models on our weights, which take no second place in memory."""
    assert ours.ict.text_inputs is not None
    return Released(
        ict=_twin(ours.ict.backbone.clip),
        hp=_twin(ours.hp.backbone.clip),
        head=copy.deepcopy(ours.hp.head),
        processor=ours.ict.pixel_inputs.processor,
        tokenizer=ours.ict.text_inputs.tokenizer,
    )


def _twin(clip: Any) -> Any:  # noqa: ANN401  transformers leaves the types of its models open
    """Return transformers' own model on the same tensors."""
    with torch.device("meta"):
        other = type(clip)(clip.config)
    other.load_state_dict(clip.state_dict(), strict=True, assign=True)
    for name, buffer in clip.named_buffers():
        owner, _, leaf = name.rpartition(".")
        other.get_submodule(owner).register_buffer(leaf, buffer, persistent=False)
    return other.eval()


def make_pictures(folder: Path, number: int) -> list[Path]:
    """Write JPEG files of smooth random pictures."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{place}.jpg" for place in range(number)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3)).astype(np.uint8))
        coarse.resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths
