"""The CLIP backbone that serves every CLIP reward model, released or our own.

It is transformers' CLIP with two options that are data: no text tower (for image-only models),
and a convolutional stem in place of the patch embedding (for the small models that ship).

Shape letters: M images, T prompts, L tokens, D projected features, C/H/W image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

from visreward.core.errors import UsageError
from visreward.models.clip.onednn import use_onednn
from visreward.models.clip.pooled_layer import pool_last_layer

_TOWER_FIELDS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_act",
    "layer_norm_eps",
    "attention_dropout",
    "initializer_range",
    "initializer_factor",
)
VISION_FIELDS = (*_TOWER_FIELDS, "num_channels", "image_size", "patch_size")
TEXT_FIELDS = (
    *_TOWER_FIELDS,
    "vocab_size",
    "max_position_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)


@dataclass(frozen=True, kw_only=True)
class CLIPBackboneConfig:
    """What is needed to build a CLIP backbone.

    Attributes:
        vision: Those of `VISION_FIELDS` that differ from transformers' CLIPVisionConfig.
        text: Those of `TEXT_FIELDS` that differ from transformers' CLIPTextConfig, or None for an
            image-only backbone.
        projection_dim: D.
        stem: Output channels of the stride-2 convolutions that replace the patch embedding, or
            None for the ordinary patch embedding. 2 ** len(stem) must equal the patch size.
    """

    vision: dict[str, Any] = field(default_factory=dict)  # JSON values
    text: dict[str, Any] | None = None  # JSON values
    projection_dim: int = 512
    stem: tuple[int, ...] | None = None

    def to_dict(self) -> dict[str, Any]:  # JSON values
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CLIPBackboneConfig:  # JSON values
        """Build from `to_dict` output.

        Raises:
            UsageError: if a key is unknown.
        """
        _refuse_unknown("backbone", values, {entry.name for entry in fields(cls)})
        _refuse_unknown("backbone.vision", values.get("vision", {}), VISION_FIELDS)
        _refuse_unknown("backbone.text", values.get("text") or {}, TEXT_FIELDS)
        stem = values.get("stem")
        return cls(**{**values, "stem": None if stem is None else tuple(stem)})

    @classmethod
    def from_clip(cls, config: CLIPConfig, *, image_only: bool = False) -> CLIPBackboneConfig:
        """Take the fields over from a transformers CLIP configuration."""
        assert config.projection_dim is not None
        return cls(
            vision={name: getattr(config.vision_config, name) for name in VISION_FIELDS},
            text=(
                None
                if image_only
                else {name: getattr(config.text_config, name) for name in TEXT_FIELDS}
            ),
            projection_dim=config.projection_dim,
        )


def _refuse_unknown(where: str, values: Iterable[str], known: Iterable[str]) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise UsageError(
            f"{where} has the unknown key(s) {', '.join(unknown)}. "
            f"The keys are: {', '.join(sorted(known))}."
        )


class ConvStem(nn.Sequential):
    """Stride-2 convolutions in place of the patch embedding: (M, 3, H, W) -> (M, D, h, w)."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        layers: list[nn.Module] = []
        previous = 3
        for size in channels:
            layers += [
                nn.Conv2d(previous, size, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(size),
                nn.GELU(),
            ]
            previous = size
        layers.append(nn.Conv2d(previous, width, 1))
        super().__init__(*layers)

    @property
    def weight(self) -> Tensor:
        """Return the last convolution's weight; transformers asks it for the dtype."""
        last = self[-1]
        assert isinstance(last, nn.Conv2d)
        return last.weight


def first_tokens(images: Tensor) -> Tensor:
    """Return (M,) int64: every image pools its first token."""
    return torch.zeros(len(images), dtype=torch.int64, device=images.device)


class CLIPBackbone(nn.Module):
    """Image and text towers with their projections."""

    def __init__(self, config: CLIPBackboneConfig) -> None:
        super().__init__()
        self.backbone_config = config
        vision = {**config.vision, "projection_dim": config.projection_dim}
        self.clip: Any  # transformers leaves the types of its submodules open
        if config.text is None:
            self.clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**vision))
        else:
            text = {**config.text, "projection_dim": config.projection_dim}
            self.clip = CLIPModel(
                CLIPConfig(
                    text_config=text, vision_config=vision, projection_dim=config.projection_dim
                )
            )
        if config.stem is not None:
            embeddings = self.clip.vision_model.embeddings
            if 2 ** len(config.stem) != embeddings.patch_size:
                raise UsageError(
                    f"stem has {len(config.stem)} layers, but the patch size is "
                    f"{embeddings.patch_size}. Give log2(patch size) layers."
                )
            embeddings.patch_embedding = ConvStem(config.stem, embeddings.embed_dim)
        use_onednn(self.clip)
        pool_last_layer(self.clip.vision_model)
        if config.text is not None:
            pool_last_layer(self.clip.text_model)

    @property
    def has_text(self) -> bool:
        """Return whether there is a text tower."""
        return self.backbone_config.text is not None

    def image_features(self, pixel_values: Tensor) -> Tensor:
        """Return projected, un-normalised image features.

        Args:
            pixel_values: (M, 3, H, W) float, normalised as the image processor does.

        Returns:
            (M, D) in the weights' dtype, differentiable.
        """
        pixel_values = pixel_values.to(self.clip.visual_projection.weight.dtype)
        output = self.clip.vision_model(
            pixel_values=pixel_values, pooled=first_tokens(pixel_values)
        )
        return self.clip.visual_projection(output.pooler_output)  # type: ignore[no-any-return]

    def text_features(self, input_ids: Tensor) -> Tensor:
        """Return projected, un-normalised text features.

        Args:
            input_ids: (T, L) int64. Padding after the end-of-text token changes nothing: the
                tower is causal and pools at that token.

        Returns:
            (T, D) in the weights' dtype, differentiable.
        """
        assert isinstance(self.clip, CLIPModel)
        end = self.clip.text_model.eos_token_id
        # transformers pools at the largest id where the configuration has the legacy value 2.
        ends = input_ids if end == 2 else (input_ids == end).int()
        output = self.clip.text_model(input_ids=input_ids, pooled=ends.argmax(dim=-1))
        return self.clip.text_projection(output.pooler_output)  # type: ignore[no-any-return]

    def text_weights(self) -> list[Tensor]:
        """Return every weight that `text_features` reads."""
        assert isinstance(self.clip, CLIPModel)
        return [*self.clip.text_model.parameters(), *self.clip.text_projection.parameters()]
