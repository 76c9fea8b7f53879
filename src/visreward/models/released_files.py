"""The files of a release: found, read, translated into our names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file

from visreward.core.errors import ModelNotFoundError, WeightsError
from visreward.models.key_maps import Translated, to_ours
from visreward.models.layouts import Layout, WeightsFile
from visreward.models.pickles import convert_pickle
from visreward.models.tensors import opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def read_json(path: Path) -> dict[str, Any]:  # JSON values
    """Return a JSON file's object.

    Raises:
        WeightsError: if it is not JSON, or no object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is not JSON: {error}. Download it again.") from error
    if not isinstance(values, dict):
        raise WeightsError(
            f"{path} holds a {type(values).__name__}, expected an object. Download it again."
        )
    return values


def find_weights(
    layout: Layout, *, checkpoint: Path, backbone: Path
) -> dict[WeightsFile, tuple[Path, ...]]:
    """Return where each file of weights lies; a sharded one is several files.

    Raises:
        ModelNotFoundError: if a file is missing.
    """
    found = {}
    for file in layout.files:
        folder = checkpoint if file.place == "checkpoint" else backbone
        existing = [folder / name for name in file.names if (folder / name).is_file()]
        if not existing:
            raise ModelNotFoundError(
                f"{folder} lacks the weights of '{layout.kind}': none of "
                f"{', '.join(file.names)} is there. Give the folder that holds it as "
                f"--{file.place}."
            )
        first = existing[0]
        found[file] = _shards(first) if first.name.endswith(".index.json") else (first,)
    return found


def _shards(index: Path) -> tuple[Path, ...]:
    names = read_json(index).get("weight_map", {})
    paths = tuple(index.parent / name for name in sorted(set(names.values())))
    missing = [path.name for path in paths if path.parent != index.parent or not path.is_file()]
    if missing or not paths:
        raise ModelNotFoundError(
            f"{index} names the files {', '.join(missing) or '(none)'}, which are not beside it. "
            "Download them too."
        )
    return paths


def find_backbone_files(layout: Layout, backbone: Path) -> tuple[Path, ...]:
    """Return the files of the backbone's folder that an import reads.

    Raises:
        ModelNotFoundError: if one is missing.
    """
    needed: list[tuple[str, ...]] = [("config.json",), ("preprocessor_config.json",)]
    if layout.text_cleaning is not None or layout.release is not None:
        needed.append(("tokenizer.json", "vocab.json"))
    found = []
    for names in needed:
        existing = [backbone / name for name in names if (backbone / name).is_file()]
        if not existing:
            raise ModelNotFoundError(
                f"The backbone folder {backbone} has no {' or '.join(names)}. Give the folder of "
                "the model that the release was trained from as --backbone."
            )
        found.append(existing[0])
    return tuple(found)


def read_weights(
    file: WeightsFile, paths: Sequence[Path], *, scratch: Path, without: Sequence[str] = ()
) -> Translated:
    """Return the tensors of a file of weights under our names.

    Args:
        file: Says how its tensors are called.
        paths: The file, or its shards.
        scratch: A folder for the copy of a pickle.
        without: Beginnings of our names of what is left out.

    Raises:
        WeightsError: if a file is damaged; UnsafePickleError if it holds more than tensors.
    """
    tensors: dict[str, Tensor] = {}
    beside: list[str] = []
    for path in paths:
        converted = path
        if path.suffix != ".safetensors":
            converted = scratch / f"{path.stem}-{len(tensors)}.safetensors"
            beside += convert_pickle(path, output=converted)
        with opened(converted):
            tensors |= load_file(converted)
    translated = to_ours(tensors, file.key_map, without=without)
    return Translated(tensors=translated.tensors, left_out=(*translated.left_out, *beside))
