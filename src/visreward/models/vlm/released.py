"""A released vision-language reward model without its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from visreward.core.errors import UsageError, WeightsError
from visreward.models.key_maps import place_output_layer
from visreward.models.kinds import MODEL_KINDS
from visreward.models.released_files import read_json
from visreward.models.tensors import without_weights
from visreward.models.vlm.backbone import FAMILIES
from visreward.models.vlm.pixels import load_processor, processor_budget
from visreward.models.vlm.rating_prompts import REWARD_TOKEN, load_tokenizer
from visreward.models.vlm.release import KnownPrompts, ReadRelease, read_release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from visreward.models.base import RewardModel
    from visreward.models.facts import ModelFacts
    from visreward.models.layouts import Layout

EMBEDDINGS: Final = "backbone.model.language_model.embed_tokens.weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class VLMSource:
    """What describes a released model, weights aside.

    Attributes:
        backbone: Folder of the model that the release was trained from.
        described: Its config.json.
        read: What the user's copy of the release says.
        files: The files of the release that were read.
    """

    backbone: Path
    described: dict[str, Any]  # JSON values
    read: ReadRelease
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyVLM:
    """A model without weights, and its weights under the model's names."""

    model: RewardModel
    tensors: Mapping[str, Tensor]


def read_vlm_source(
    layout: Layout,
    backbone: Path,
    *,
    release: Path | None,
    config_name: str | None = None,
    known: KnownPrompts | None = None,
) -> VLMSource:
    """Read all that an import needs beside the weights.

    Args:
        layout: The layout.
        backbone: Folder of the model that the release was trained from.
        release: The user's copy of the release.
        config_name: Name of the release's training configuration, or None for its only one.
        known: What the rating prompts must be, or None.

    Raises:
        UsageError: if there is no release, or the backbone is none that it was trained from.
        ModelNotFoundError: if a file of the release is missing.
        WeightsError: if a file does not hold what it should.
    """
    assert layout.release is not None
    if release is None:
        raise UsageError(
            f"The rating prompts of '{layout.kind}' belong to its release. Give your copy of the "
            "release, its source tree or its wheel, as --release."
        )
    described = read_json(backbone / "config.json")
    kind = str(described.get("model_type"))
    if kind not in FAMILIES:
        raise WeightsError(
            f"{backbone / 'config.json'} describes a {kind!r} model, expected one of "
            f"{', '.join(FAMILIES)}. Give the folder of the model that the release was trained "
            "from as --backbone."
        )
    read = read_release(release, layout.release, model_type=kind, config_name=config_name)
    if known is not None and read.prompts.digest != known.sha256:
        raise WeightsError(
            f"The rating prompts in {release} have the SHA-256 {read.prompts.digest}, expected "
            f"{known.sha256}, {known.source}: they were changed. Get the release as published."
        )
    files = tuple(release / name for name in read.files)
    return VLMSource(backbone=backbone, described=described, read=read, files=files)


def empty_vlm(
    layout: Layout, facts: ModelFacts, source: VLMSource, tensors: Mapping[str, Tensor]
) -> EmptyVLM:
    """Return the model of a layout.

    Args:
        layout: The layout.
        facts: Facts about the model; the dimensions are those of the rating prompts.
        source: What describes the model.
        tensors: The weights under our names; they say how many tokens are known.

    Raises:
        WeightsError: if the weights know no reward token.
    """
    processor = load_processor(source.backbone)
    budgets = [processor_budget(processor)]
    # The released code of Qwen3-VL never applies the budget of its training configuration.
    if FAMILIES[source.described["model_type"]].resizes_twice:
        budgets.insert(0, source.read.budget)
    values = {
        "backbone": with_tokens(source.described, tensors, source.backbone),
        "settings": asdict(source.read.settings),
        "budgets": [asdict(budget) for budget in budgets],
        "rating_prompts": source.read.prompts.to_dict(),
    }
    named = replace(facts, dimensions=tuple(source.read.prompts.templates))
    with without_weights():
        model = MODEL_KINDS.get(layout.kind).from_config(values, named, source.backbone)
    return EmptyVLM(
        model=model, tensors=place_output_layer(tensors, source.read.settings.head.num_layers)
    )


def with_tokens(
    described: dict[str, Any],  # JSON values
    tensors: Mapping[str, Tensor],
    backbone: Path,
) -> dict[str, Any]:  # JSON values
    """Return the backbone's configuration with as many tokens as the weights have.

    Args:
        described: Its config.json.
        tensors: The weights under our names.
        backbone: Its folder, with the tokenizer.

    Raises:
        WeightsError: if the weights know no reward token.
    """
    tokenizer = load_tokenizer(backbone)
    reward_id = tokenizer.get_vocab()[REWARD_TOKEN]
    rows = len(tensors[EMBEDDINGS]) if EMBEDDINGS in tensors else reward_id + 1
    if rows <= reward_id:
        raise WeightsError(
            f"The weights know {rows} tokens, but {REWARD_TOKEN} is number {reward_id} in the "
            f"tokenizer of {backbone}. Give the backbone that belongs to the checkpoint."
        )
    values = {key: value for key, value in described.items() if key != "transformers_version"}
    if "text_config" in values:
        values["text_config"] = {**values["text_config"], "vocab_size": rows}
    else:
        values["vocab_size"] = rows
    return values
