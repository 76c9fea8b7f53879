"""Catalog models from the hub: downloaded, imported once, and used from the copy ever after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visreward.core.errors import ModelNotFoundError, UsageError, VisrewardError
from visreward.models.cache import archive_path, copy_folder, own_rows
from visreward.models.downloads import Download, DownloadPlan, ask_or_note
from visreward.models.hub_files import NeededFiles, fetch, find_needed, import_command
from visreward.models.native_config import Origin, is_native_folder

if TYPE_CHECKING:
    from visreward.models.catalog import CatalogRow
    from visreward.models.released import ReleasedSource
    from visreward.models.vlm.release import KnownPrompts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Missing:
    """A model that is to be downloaded and imported.

    Attributes:
        row: The model.
        folder: Where its copy will lie.
        weights: What is needed of the repository of its weights.
        backbone: What is needed of its backbone's.
    """

    row: CatalogRow
    folder: Path
    weights: NeededFiles
    backbone: NeededFiles


def obtain(
    row: CatalogRow,
    *,
    revision: str | None = None,
    agree: Callable[[DownloadPlan], None] = ask_or_note,
) -> Path:
    """Return the native folder of a released model; download and import it where it is missing.

    Honours HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE. Downloads show a progress bar, and go on
    where they stopped.

    Args:
        row: A released model.
        revision: A hub revision of the weights; None takes the catalog's.
        agree: Called once with what would be downloaded, before any of it is; an error that it
            raises stops all. By default it asks at a terminal and logs elsewhere.

    Raises:
        ModelNotFoundError: if there is no copy and the files cannot be downloaded, or were not
            wanted.
        WeightsError: if what was downloaded is not what it should be.
        UsageError: if a revision is asked for of a model made of parts, or of one without a
            published checkpoint.
    """
    folder = copy_folder(row, revision)
    if revision is not None and row.weights is None:
        raise _no_revisions(row, revision)
    if not row.is_published and not is_native_folder(folder):
        raise _unpublished(row, folder)
    missing = [
        _find(own, revision)
        for own in own_rows(row)
        if not is_native_folder(copy_folder(own, revision))
    ]
    downloads = _downloads(missing)
    if downloads:
        agree(DownloadPlan(name=row.name, folder=folder, downloads=downloads))
    for each in missing:
        _download_and_import(each)
    if row.parts and not is_native_folder(folder):
        _write_whole(row, folder)
    return folder


def _find(row: CatalogRow, revision: str | None) -> _Missing:
    assert row.weights is not None
    assert row.backbone is not None
    return _Missing(
        row=row,
        folder=copy_folder(row, revision),
        weights=find_needed(row, row.weights, revision=revision or row.weights.revision),
        backbone=find_needed(row, row.backbone, revision=row.backbone.revision),
    )


def _downloads(missing: list[_Missing]) -> tuple[Download, ...]:
    """Return what is downloaded, repository by repository; models may share one."""
    from visreward.models.release_archives import archive_address, known_prompts

    files: dict[str, dict[str, int | None]] = {}
    archives = {}
    for each in missing:
        for needed in (each.weights, each.backbone):
            if needed.missing:
                source = f"{needed.source.repo} at {needed.revision}"
                files.setdefault(source, {}).update(needed.missing)
        archive = each.row.release
        if archive is not None and not archive_path(archive).is_file():
            check = (
                "checked by hash"
                if known_prompts(archive, folder=each.folder)
                else "checked against no known hash"
            )
            archives[archive.file] = Download(
                source=archive_address(archive),
                what=f"rating prompts of the release, read and never run, {check}",
                num_bytes=archive.num_bytes,
            )
    found = [
        Download(
            source=f"{_endpoint()}/{source}",
            what=", ".join(sizes),
            num_bytes=sum(known) if len(known) == len(sizes) else None,
        )
        for source, sizes in files.items()
        for known in [[size for size in sizes.values() if size is not None]]
    ]
    return (*found, *archives.values())


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _download_and_import(missing: _Missing) -> None:
    from visreward.models.release_archives import known_prompts
    from visreward.models.released import ReleasedSource

    row = missing.row
    backbone = fetch(missing.backbone).folder
    archive = row.release
    known = known_prompts(archive, folder=missing.folder) if archive else None
    # Rating prompts are small and may be wrong, weights are large: they are checked first.
    release = _fetch_release(row, backbone, known) if archive else None
    weights = fetch(missing.weights)
    source = ReleasedSource(
        checkpoint=weights.folder,
        backbone=backbone,
        release=release,
        config_name=archive.config_name if archive else None,
        known_prompts=known,
        origin=Origin(
            repo=missing.weights.source.repo,
            revision=missing.weights.revision,
            commit=weights.commit,
            release=archive.url if archive else None,
        ),
    )
    _import(row, source, missing.folder)


def _import(row: CatalogRow, source: ReleasedSource, folder: Path) -> None:
    from visreward.models.released import import_released

    assert row.layout is not None
    try:
        import_released(row.layout, source, output=folder, name=row.name)
    except (OSError, UsageError):
        # Another process may have imported the same model meanwhile; its copy is as good.
        if not is_native_folder(folder):
            raise


def _fetch_release(row: CatalogRow, backbone: Path, known: KnownPrompts | None) -> Path:
    """Return the release archive, once its rating prompts were read and found right."""
    from visreward.models.layouts import find_layout
    from visreward.models.release_archives import fetch_archive
    from visreward.models.vlm.released import read_vlm_source

    assert row.layout is not None
    assert row.release is not None
    path = fetch_archive(row)
    try:
        read_vlm_source(
            find_layout(row.layout),
            backbone,
            release=path,
            config_name=row.release.config_name,
            known=known,
        )
    except VisrewardError:
        # It would be wrong again: the next attempt downloads it anew.
        path.unlink(missing_ok=True)
        raise
    return path


def _write_whole(row: CatalogRow, folder: Path) -> None:
    from visreward.models.catalog import find_row
    from visreward.models.released import released_facts
    from visreward.models.weights import write_parts

    folder.mkdir(parents=True, exist_ok=True)
    relative = {name: f"../{copy_folder(find_row(part)).name}" for name, part in row.parts.items()}
    write_parts(released_facts(row.name), folder, kind=row.kind, parts=relative)


def _no_revisions(row: CatalogRow, revision: str) -> UsageError:
    if not row.parts:
        return UsageError(
            f"No published checkpoint of '{row.name}' is known; got revision {revision!r}. "
            "Leave it out."
        )
    return UsageError(
        f"'{row.name}' is made of {' and '.join(row.parts.values())}, which have revisions "
        f"of their own; got revision {revision!r}. Leave it out, or load the parts."
    )


def _unpublished(row: CatalogRow, folder: Path) -> ModelNotFoundError:
    return ModelNotFoundError(
        f"'{row.name}' cannot be downloaded: no published checkpoint of it is known. Import a "
        f"training result of your own with `{import_command(row, output=str(folder))}`, "
        f"and '{row.name}' loads it."
    )
