"""The classes of reward models, by the kind that a native folder's config.json names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from visreward.core.registry import Registry

if TYPE_CHECKING:
    from visreward.models.base import RewardModel

MODEL_KINDS: Final[Registry[type[RewardModel]]] = Registry(
    "model kind", list_with="visreward models list"
)

for _kind, _entry in {
    "clip-similarity": "visreward.models.clip.similarity:CLIPSimilarity",
    "clipscore": "visreward.models.clip.similarity:CLIPScore",
    "pickscore": "visreward.models.clip.similarity:PickScore",
    "hpsv2": "visreward.models.clip.similarity:HPSv2",
    "ict": "visreward.models.clip.ict:ICT",
    "hp": "visreward.models.clip.hp:HP",
    "laion-aesthetic": "visreward.models.clip.hp:LAIONAesthetic",
    "ict-hp": "visreward.models.clip.hp:ICTHP",
    "hpsv3": "visreward.models.vlm.hpsv3:HPSv3",
    "editreward": "visreward.models.vlm.editreward:EditReward",
}.items():
    MODEL_KINDS.register(_kind, _entry)
