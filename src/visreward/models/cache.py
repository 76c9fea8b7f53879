"""Where the copies of released models lie on this machine.

Both folders lie under VISREWARD_CACHE, else under `visreward/` in HF_HOME. The name of a copy's
folder holds the revision that was asked for; its config.json records the commit.
"""

from __future__ import annotations

import os
from pathlib import Path

from visreward.core.errors import ModelNotFoundError, WeightsError
from visreward.models.catalog import CatalogRow, ReleaseArchive, find_row
from visreward.models.native_config import NativeConfig, is_native_folder, read_config


def cache_folder() -> Path:
    """Return the folder of imported models; it need not exist."""
    return _base() / "models"


def archive_path(archive: ReleaseArchive) -> Path:
    """Return where a release archive is kept, whether it is there or not."""
    return _base() / "releases" / archive.file


def _base() -> Path:
    from huggingface_hub import constants

    chosen = os.environ.get("VISREWARD_CACHE")
    return Path(chosen).expanduser() if chosen else Path(constants.HF_HOME) / "visreward"


def copy_folder(row: CatalogRow, revision: str | None = None) -> Path:
    """Return where the imported copy of a catalog model lies, or will lie.

    Args:
        row: A released model.
        revision: A hub revision of the weights; None takes the catalog's.
    """
    if row.weights is None:
        return cache_folder() / row.name
    return cache_folder() / f"{row.name}@{(revision or row.weights.revision).replace('/', '@')}"


def own_rows(row: CatalogRow) -> tuple[CatalogRow, ...]:
    """Return the rows whose weights make up a model: those of its parts, or itself."""
    return tuple(find_row(part) for part in row.parts.values()) or (row,)


def has_copy(row: CatalogRow, revision: str | None = None) -> bool:
    """Return whether all weights of a released model were imported."""
    return all(is_native_folder(copy_folder(own, revision)) for own in own_rows(row))


def read_copies() -> dict[Path, NativeConfig]:
    """Return what the config.json of each imported copy says; damaged ones are passed over."""
    found = {}
    for folder in sorted(cache_folder().glob("*")):
        if is_native_folder(folder):
            try:
                found[folder] = read_config(folder)
            except (ModelNotFoundError, WeightsError):
                continue
    return found
