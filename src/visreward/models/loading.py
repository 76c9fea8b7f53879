"""load_model: from a name or a folder to a reward model that is ready to score."""

from __future__ import annotations

import os
from pathlib import Path

from visreward.core.errors import ModelNotFoundError, UsageError
from visreward.models.base import RewardModel
from visreward.models.catalog import BUILTIN_FOLDER, CatalogRow, catalog, local_folder
from visreward.models.devices import find_device, find_dtype
from visreward.models.hub import obtain
from visreward.models.native_config import is_native_folder
from visreward.models.weights import load_native


def load_model(
    name_or_path: str | os.PathLike[str],
    *,
    device: str = "cpu",
    dtype: str = "float32",
    batch_invariant: bool = False,
    attention: str = "sdpa",
    revision: str | None = None,
) -> RewardModel:
    """Load a reward model, ready to score.

    A released model is downloaded and imported at its first use and read from that copy
    afterwards, without a network. Honours HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE and VISREWARD_CACHE.

    Args:
        name_or_path: A name from `visreward models list`, or a native folder. Text is taken for
            a name where it is one; write `./name` for a folder of the same name.
        device: `cpu`, `cuda`, `cuda:N`, `mps`, or `auto` for the best that is there.
        dtype: What the weights are cast to: `float32`, `bfloat16` or `float16`.
        batch_invariant: Whether a score has the same bits in every batch; slower.
        attention: Attention back-end: `sdpa`; of vision-language models also `eager` and
            `flash_attention_2`. None takes the place of another silently.
        revision: Hub revision of a released model's weights; None takes the catalog's.

    Raises:
        UnknownNameError: if the text is neither a name nor a folder.
        ModelNotFoundError: if the model's files are not at hand and cannot be downloaded.
        WeightsError: if the weights do not fit or are not finite.
        UsageError: if the device, the dtype, the back-end or the revision cannot be had.
        MissingExtraError: if the package of the attention back-end is not installed.
    """
    place, number_type = find_device(device), find_dtype(dtype)
    model = load_native(
        find_folder(name_or_path, revision=revision),
        device=place,
        dtype=number_type,
        batch_invariant=batch_invariant,
    )
    model.set_attention(attention)
    return model


def find_folder(name_or_path: str | os.PathLike[str], *, revision: str | None = None) -> Path:
    """Return the native folder of a model, after downloading and importing it where needed.

    Args:
        name_or_path: A name from `visreward models list`, or a native folder.
        revision: Hub revision of a released model's weights; None takes the catalog's.

    Raises:
        UnknownNameError: if the text is neither a name nor a folder.
        ModelNotFoundError: if the model's files are not at hand and cannot be downloaded.
        UsageError: if a revision is asked for of something that has none.
    """
    row = catalog().get(name_or_path) if isinstance(name_or_path, str) else None
    if row is not None and not row.builtin:
        return obtain(row, revision=revision)
    if revision is not None:
        raise UsageError(
            f"'{name_or_path}' has no hub revisions; got revision {revision!r}. Leave it out."
        )
    return local_folder(name_or_path) if row is None else _builtin_folder(row)


def _builtin_folder(row: CatalogRow) -> Path:
    missing = [
        name
        for name in (row.name, *row.parts.values())
        if not is_native_folder(BUILTIN_FOLDER / name)
    ]
    if missing:
        raise ModelNotFoundError(
            f"The built-in model '{row.name}' lacks its files: no {', '.join(missing)} in "
            f"{BUILTIN_FOLDER}. Install visreward again, or in a clone make them: make builtin"
        )
    return BUILTIN_FOLDER / row.name
