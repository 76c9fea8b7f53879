"""What a vision-language reward model is, beside its backbone, prompts and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from visreward.models.heads import Fusion, HeadConfig, Pooling
from visreward.models.vlm.backbone import Positions


@dataclass(frozen=True, kw_only=True)
class VLMSettings:
    """The choices that a model was trained with.

    Attributes:
        head: The heads.
        pooling: Which tokens a head reads: the last one, all but the last one (their logits
            averaged, as the release does), or the reward token.
        fusion: How the dimensions become one score.
        positions: Positions of image tokens: counted like text, or by their place in the image.
    """

    head: HeadConfig
    pooling: Pooling = "special"
    fusion: Fusion = "mean"
    positions: Positions = "multimodal"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VLMSettings:  # JSON values
        """Build from what `dataclasses.asdict` makes."""
        return cls(**{**values, "head": HeadConfig(**values["head"])})
