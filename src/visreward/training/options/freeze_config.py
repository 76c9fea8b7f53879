"""The typed configuration of what keeps its weights."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from visreward.core.strict import Strict


class FreezeConfig(Strict):
    """Which parts keep their weights.

    `text`, `text_rate` and `projections` are parts of a CLIP model; `merger`, `language` and
    `embeddings` of a vision-language one.

    Attributes:
        vision: Whether the vision tower is frozen, but for the `vision_layers` that are trained.
        vision_rate: Share of the vision layers, from the bottom, that is frozen.
        vision_layers: How many vision layers, from the top, are trained where not all are; those
            below are frozen.
        vision_embeddings: Whether embeddings and first layer norm are frozen too. The releases
            leave them trainable below frozen layers, which costs a full backward pass.
        merger: Whether the maps from the vision tower to the language model are frozen; None does
            as `vision` does.
        language: Whether the language model is frozen.
        embeddings: Which token embeddings are trained: all, that of the reward token alone (the
            other rows keep their bits), or none. None trains all, or none where the language
            model is frozen or has adapters.
        text_rate: Share of the text layers, from the bottom, that is frozen.
        text: Whether the text tower is frozen whole.
        projections: Whether both projections are frozen.
    """

    vision: bool = False
    vision_rate: float = Field(default=0.0, ge=0, le=1)
    vision_layers: PositiveInt | None = None
    vision_embeddings: bool = False
    merger: bool | None = None
    language: bool = False
    embeddings: Literal["all", "reward-token", "none"] | None = None
    text_rate: float = Field(default=0.0, ge=0, le=1)
    text: bool = False
    projections: bool = False

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        """Stop where two settings say which layers are frozen."""
        if self.vision_layers is not None and self.vision_rate > 0:
            raise ValueError("vision_layers and vision_rate are both given. Give one of them")
        return self
