"""The released layouts: which files a release has, and which key map reads each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from visreward.core.registry import unknown_name
from visreward.models.key_maps import CLIP, HEAD, OPEN_CLIP, VLM, KeyMap
from visreward.models.vlm.release import EDITREWARD, HPSV3, ReleaseSource

if TYPE_CHECKING:
    from visreward.models.clip.inputs import TextCleaning

_CLIP_NAMES: Final = ("model.safetensors", "pytorch_model.bin")
_VLM_NAMES: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "model.pth",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """One file of weights.

    Attributes:
        names: Where it may lie, relative to the folder; the first one that exists is read.
        key_map: How its tensors are called.
        place: Which of the two given folders it lies in.
    """

    names: tuple[str, ...]
    key_map: KeyMap
    place: Literal["checkpoint", "backbone"] = "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One released layout.

    Attributes:
        kind: The registry name of the model's class.
        files: Its files of weights; empty for a model made of parts.
        text_cleaning: How the release's own evaluation cleans prompts; None without text tower.
        parts: Layout of each part; empty for a model of its own.
        release: Where the release's rating prompts lie; None for CLIP models.
    """

    kind: str
    files: tuple[WeightsFile, ...] = ()
    text_cleaning: TextCleaning | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    release: ReleaseSource | None = None


def _inside(folder: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names inside a folder first, then the same names without it."""
    return (*(f"{folder}/{name}" for name in names), *names)


LAYOUTS: Final[Mapping[str, Layout]] = {
    "ict": Layout(
        kind="ict",
        files=(WeightsFile(names=_inside("ICT", _CLIP_NAMES), key_map=CLIP),),
        text_cleaning="open_clip",
    ),
    "hp": Layout(
        kind="hp",
        files=(
            WeightsFile(names=_inside("HP", ("hp_backbone/pytorch_model.bin",)), key_map=CLIP),
            WeightsFile(names=_inside("HP", ("hp_scorer/mlp_pytorch_model.bin",)), key_map=HEAD),
        ),
    ),
    "ict-hp": Layout(kind="ict-hp", parts={"ict": "ict", "hp": "hp"}),
    "clipscore": Layout(
        kind="clipscore",
        files=(WeightsFile(names=_CLIP_NAMES, key_map=CLIP),),
        text_cleaning="none",
    ),
    "pickscore": Layout(
        kind="pickscore",
        files=(WeightsFile(names=_CLIP_NAMES, key_map=CLIP),),
        text_cleaning="none",
    ),
    "hpsv2": Layout(
        kind="hpsv2",
        files=(
            WeightsFile(
                names=("HPS_v2_compressed.pt", "HPS_v2.1_compressed.pt"), key_map=OPEN_CLIP
            ),
        ),
        text_cleaning="open_clip",
    ),
    "laion-aesthetic": Layout(
        kind="laion-aesthetic",
        files=(
            WeightsFile(names=_CLIP_NAMES, key_map=CLIP, place="backbone"),
            WeightsFile(names=("sac+logos+ava1-l14-linearMSE.pth",), key_map=HEAD),
        ),
    ),
    "hpsv3": Layout(
        kind="hpsv3",
        files=(WeightsFile(names=("HPSv3.safetensors", *_VLM_NAMES), key_map=VLM),),
        release=HPSV3,
    ),
    "editreward": Layout(
        kind="editreward",
        files=(WeightsFile(names=_VLM_NAMES, key_map=VLM),),
        release=EDITREWARD,
    ),
}


def find_layout(name: str) -> Layout:
    """Return a layout by name.

    Raises:
        UnknownNameError: if there is no such layout.
    """
    if name not in LAYOUTS:
        raise unknown_name(
            "layout", name=name, known=LAYOUTS, list_with="visreward models import --help"
        )
    return LAYOUTS[name]
