"""Catalog models from the hub: downloaded, imported once, and used from the copy ever after.

The copies lie in `models/` under VISREWARD_CACHE, else under `visreward/` in HF_HOME. The name of
a copy's folder holds the revision that was asked for; its config.json records the commit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visreward.core.errors import ModelNotFoundError, UsageError
from visreward.models.catalog import CatalogRow, HubFiles, find_row

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Files of one repository at one commit, on this machine."""

    folder: Path
    commit: str


def cache_folder() -> Path:
    """Return the folder of imported models; it need not exist."""
    from huggingface_hub import constants

    chosen = os.environ.get("VISREWARD_CACHE")
    base = Path(chosen).expanduser() if chosen else Path(constants.HF_HOME) / "visreward"
    return base / "models"


def copy_folder(row: CatalogRow, revision: str | None = None) -> Path:
    """Return where the imported copy of a catalog model lies, or will lie.

    Args:
        row: A released model.
        revision: A hub revision of the weights; None takes the catalog's.
    """
    if row.weights is None:
        return cache_folder() / row.name
    return cache_folder() / f"{row.name}@{(revision or row.weights.revision).replace('/', '@')}"


def obtain(row: CatalogRow, *, revision: str | None = None) -> Path:
    """Return the native folder of a released model; download and import it where it is missing.

    Honours HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE. Downloads show a progress bar.

    Args:
        row: A released model.
        revision: A hub revision of the weights; None takes the catalog's.

    Raises:
        ModelNotFoundError: if there is no copy and the files cannot be downloaded.
        UsageError: if a revision is asked for of a model made of parts.
    """
    from visreward.models.native_config import is_native_folder

    folder = copy_folder(row, revision)
    if row.parts:
        if revision is not None:
            raise UsageError(
                f"'{row.name}' is made of {' and '.join(row.parts.values())}, which have revisions "
                f"of their own; got revision {revision!r}. Leave it out, or load the parts."
            )
        _obtain_parts(row, folder)
    elif not is_native_folder(folder):
        _download_and_import(row, folder, revision)
    return folder


def _obtain_parts(row: CatalogRow, folder: Path) -> None:
    from visreward.models.native_config import is_native_folder
    from visreward.models.released import released_facts
    from visreward.models.weights import write_parts

    parts = {name: obtain(find_row(part)) for name, part in row.parts.items()}
    if not is_native_folder(folder):
        folder.mkdir(parents=True, exist_ok=True)
        relative = {name: f"../{part.name}" for name, part in parts.items()}
        write_parts(released_facts(row.name), folder, kind=row.kind, parts=relative)


def _download_and_import(row: CatalogRow, folder: Path, revision: str | None) -> None:
    from visreward.models.layouts import find_layout
    from visreward.models.native_config import Origin, is_native_folder
    from visreward.models.released import ReleasedSource, import_released

    assert row.weights is not None
    assert row.backbone is not None
    assert row.layout is not None
    if find_layout(row.layout).release is not None:
        raise _needs_release(row, folder)
    wanted = revision or row.weights.revision
    weights = _fetch(row, row.weights, wanted, folder)
    backbone = _fetch(row, row.backbone, row.backbone.revision, folder)
    try:
        import_released(
            row.layout,
            ReleasedSource(
                checkpoint=weights.folder,
                backbone=backbone.folder,
                origin=Origin(repo=row.weights.repo, revision=wanted, commit=weights.commit),
            ),
            output=folder,
            name=row.name,
        )
    except (OSError, UsageError):
        # Another process may have imported the same model meanwhile; its copy is as good.
        if not is_native_folder(folder):
            raise


def _needs_release(row: CatalogRow, folder: Path) -> ModelNotFoundError:
    downloads = " and ".join(f"`{_download_command(needed)}`" for needed in row.hub_files())
    return ModelNotFoundError(
        f"Model '{row.name}' is not in {folder}, and is not downloaded by name: its rating prompts "
        f"belong to its release, of which you need a copy. Run {downloads}, get the release's "
        f"source tree or wheel, run `visreward models import {row.layout} --checkpoint DIR "
        "--backbone DIR --release PATH --output DIR`, then load that DIR."
    )


def _fetch(row: CatalogRow, files: HubFiles, revision: str, folder: Path) -> Snapshot:
    from huggingface_hub import HfApi, snapshot_download

    # HTTPError is that of httpx, under whichever name the hub's client depends on it.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        info = HfApi().model_info(files.repo, revision=revision)
    except (OSError, HTTPError) as error:
        return _cached(row, files, revision, folder, reason=_first_line(error))
    there = {entry.rfilename for entry in info.siblings or ()}
    chosen = [_choose(row, files, names, there, folder) for names in files.files]
    try:
        path = Path(snapshot_download(files.repo, revision=revision, allow_patterns=chosen))
    except (OSError, HTTPError) as error:
        raise _not_found(row, files, folder, reason=_first_line(error)) from error
    return Snapshot(folder=path, commit=path.name)


def _choose(
    row: CatalogRow, files: HubFiles, names: Sequence[str], there: set[str], folder: Path
) -> str:
    for name in names:
        if name in there:
            return name
    raise _not_found(
        row, files, folder, reason=f"{files.repo} on the hub has no {' or '.join(names)}"
    )


def _cached(
    row: CatalogRow, files: HubFiles, revision: str, folder: Path, *, reason: str
) -> Snapshot:
    """Return the files from the hub's own cache, where somebody downloaded or copied them."""
    from huggingface_hub import try_to_load_from_cache

    root: Path | None = None
    for names in files.files:
        found = [
            (name, path)
            for name in names
            if isinstance(path := try_to_load_from_cache(files.repo, name, revision=revision), str)
        ]
        if not found:
            raise _not_found(row, files, folder, reason=reason)
        name, path = found[0]
        root = Path(path).parents[len(Path(name).parts) - 1]
    assert root is not None
    return Snapshot(folder=root, commit=root.name)


def _not_found(
    row: CatalogRow, files: HubFiles, folder: Path, *, reason: str
) -> ModelNotFoundError:
    from huggingface_hub import constants

    downloads = " and ".join(f"`{_download_command(needed)}`" for needed in row.hub_files())
    return ModelNotFoundError(
        f"Model '{row.name}' is not on this machine and {files.repo} could not be downloaded "
        f"({reason}); looked for a copy in {folder} and for the files in {constants.HF_HUB_CACHE}. "
        f"Bring it in one of two ways: run {downloads} where there is a network and copy "
        f"{constants.HF_HUB_CACHE} here, or bring the released files into folders of your own and "
        f"run `visreward models import {row.layout} --checkpoint DIR --backbone DIR --output DIR`, "
        "then load that DIR."
    )


def _download_command(files: HubFiles) -> str:
    names = " ".join(name for alternatives in files.files for name in alternatives)
    # A name that the repository does not have is an error, a pattern that fits nothing is not.
    has_choice = any(len(alternatives) > 1 for alternatives in files.files)
    names = f"--include {names}" if has_choice else names
    revision = "" if files.revision == "main" else f" --revision {files.revision}"
    return f"hf download {files.repo} {names}{revision}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
