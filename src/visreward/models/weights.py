"""Native folders: config.json, model.safetensors and processor files, saved and loaded strictly.

A model made of parts has a config.json that names one native folder for each part.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import torch

from visreward.core.errors import UsageError, WeightsError
from visreward.models.base import RewardModel
from visreward.models.facts import ModelFacts
from visreward.models.kinds import MODEL_KINDS
from visreward.models.native_config import NativeConfig, Origin, read_config, write_config
from visreward.models.tensors import (
    DIGEST_LENGTH,
    fill_from_file,
    weights_digest,
    without_weights,
    write_weights,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

WEIGHTS_NAME: Final = "model.safetensors"


def save_native(
    model: RewardModel,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    origin: Origin | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a model as a native folder; saved again, the same model gives the same bytes.

    Files of an earlier model in the folder are replaced one by one, config.json last.

    Args:
        model: What to save.
        folder: Made if it is not there.
        dtype: What the weights are stored as; None keeps the model's own.
        origin: Where the weights were downloaded from, or None.
        weights: The weights by the model's own names, where the model itself holds a part of each;
            None takes the model's.

    Raises:
        UsageError: if `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file. Give a folder to save the model in.")
    folder.mkdir(parents=True, exist_ok=True)
    parts = model.parts()
    for name, part in parts.items():
        save_native(part, folder / name, dtype=dtype)
    if parts:
        write_parts(model.facts, folder, kind=model.kind, parts={name: name for name in parts})
        return
    model.save_processors(folder)
    write_weights(
        model.state_dict() if weights is None else weights, folder / WEIGHTS_NAME, dtype=dtype
    )
    write_config(
        NativeConfig(kind=model.kind, facts=model.facts, config=model.config(), origin=origin),
        folder,
    )


def write_parts(facts: ModelFacts, folder: Path, *, kind: str, parts: Mapping[str, str]) -> None:
    """Write the config.json of a model whose parts are native folders of their own.

    Args:
        facts: Facts about the whole.
        folder: Where to write, an existing folder.
        kind: The registry name of the model's class.
        parts: Folder of each part: a name inside `folder`, or `../` and the name of a sibling.
    """
    write_config(NativeConfig(kind=kind, facts=facts, parts=parts), folder)


def load_native(
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    batch_invariant: bool = False,
) -> RewardModel:
    """Load a native folder for scoring; needs about one copy of the weights in memory.

    The revision of the model is the hub commit that config.json records, else the SHA-256 of the
    weights file, 12 digits of either; of a model made of parts, theirs joined by `+`.

    Args:
        folder: A native folder.
        device: Where the model goes.
        dtype: What the weights are cast to.
        batch_invariant: Whether each item goes through the towers alone, so that its score has
            the same bits in every batch.

    Raises:
        ModelNotFoundError: if the folder, or that of a part, is not a native folder.
        WeightsError: if config.json or the weights do not fit, or hold NaN or infinity.
        UnknownNameError: if config.json names an unknown kind of model.
    """
    config = read_config(folder)
    kind = MODEL_KINDS.get(config.kind)
    if config.parts or kind.part_kinds:
        parts = _load_parts(
            config, kind, folder, device=device, dtype=dtype, batch_invariant=batch_invariant
        )
        # The parameters of the class are the names of its parts.
        build: Any = kind
        model: RewardModel = build(config.facts, **parts)
        revision = "+".join(part.facts.revision for part in parts.values())
    else:
        model = _build(config, kind, folder)
        revision = _fill(model, config, folder, device=device, dtype=dtype)
    model.facts = replace(model.facts, revision=revision)
    model.batch_invariant = batch_invariant
    return model.eval()


def _load_parts(
    config: NativeConfig,
    kind: type[RewardModel],
    folder: Path,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    batch_invariant: bool,
) -> dict[str, RewardModel]:
    if set(config.parts) != set(kind.part_kinds):
        raise WeightsError(
            f"{folder}: '{config.kind}' has the parts {sorted(config.parts)} in config.json. "
            f"It is made of {sorted(kind.part_kinds)}: save or import the model again."
        )
    for name, wanted in kind.part_kinds.items():
        found = read_config(folder / config.parts[name]).kind
        if found != wanted:
            raise WeightsError(
                f"{folder}: part '{name}' is a '{found}', expected a '{wanted}'. "
                "Point config.json to the right folder."
            )
    return {
        name: load_native(
            folder / config.parts[name],
            device=device,
            dtype=dtype,
            batch_invariant=batch_invariant,
        )
        for name in kind.part_kinds
    }


def _build(config: NativeConfig, kind: type[RewardModel], folder: Path) -> RewardModel:
    try:
        with without_weights():
            model = kind.from_config(config.config, config.facts, folder)
    except (KeyError, TypeError, UsageError, OSError) as error:
        raise WeightsError(
            f"{folder} does not describe a '{config.kind}' model: {error}. "
            "Save or import the model again with this version."
        ) from error
    unknown = sorted(set(config.config) - set(model.config()))
    if unknown:
        raise WeightsError(
            f"{folder}: config.json has unknown keys {unknown} for a '{config.kind}' model. "
            f"The keys are {sorted(model.config())}."
        )
    return model


def _fill(
    model: RewardModel,
    config: NativeConfig,
    folder: Path,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
) -> str:
    """Read the weights and return the revision; a digest is taken meanwhile."""
    path = folder / WEIGHTS_NAME
    with ThreadPoolExecutor(1) as thread:
        known = config.origin.commit[:DIGEST_LENGTH] if config.origin else None
        digest = thread.submit(weights_digest, path) if known is None and path.is_file() else None
        fill_from_file(model, path, device=device, dtype=dtype, exact=model.float32_parts)
        return known or (digest.result() if digest else "")
