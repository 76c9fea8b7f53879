"""A released CLIP reward model without its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from transformers import CLIPConfig

from visreward.core.errors import WeightsError
from visreward.models.clip.backbone import CLIPBackboneConfig
from visreward.models.kinds import MODEL_KINDS
from visreward.models.released_files import read_json
from visreward.models.tensors import without_weights

if TYPE_CHECKING:
    from pathlib import Path

    from visreward.models.base import RewardModel
    from visreward.models.facts import ModelFacts
    from visreward.models.layouts import Layout

TEXT_TOWER: Final = (
    "backbone.clip.text_model.",
    "backbone.clip.text_projection.",
    "backbone.clip.logit_scale",
)
"""What image-only models do not have."""


def empty_clip(layout: Layout, facts: ModelFacts, backbone: Path) -> RewardModel:
    """Return the model of a layout on the backbone that a folder describes.

    Raises:
        WeightsError: if the folder describes no CLIP model.
    """
    path = backbone / "config.json"
    described = read_json(path)
    if described.get("model_type") != "clip":
        raise WeightsError(
            f"{path} describes a {described.get('model_type')!r} model, expected 'clip'. Give the "
            "folder of the CLIP model that the release was trained from as --backbone."
        )
    wanted = CLIPBackboneConfig.from_clip(
        CLIPConfig.from_dict(described), image_only=layout.text_cleaning is None
    )
    values: dict[str, object] = {"backbone": wanted.to_dict()}
    if wanted.text is not None:
        values["context"] = wanted.text["max_position_embeddings"]
        values["text_cleaning"] = layout.text_cleaning
    with without_weights():
        return MODEL_KINDS.get(layout.kind).from_config(values, facts, backbone)
