"""Files of one repository on the hub: which are needed, which are missing, and their download.

Files lie in the hub's own cache. Honours HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE, shows a progress
bar, and goes on where an earlier download stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from visreward.core.errors import ModelNotFoundError
from visreward.models.cache import archive_path, copy_folder
from visreward.models.transfers import Transfer, receive

if TYPE_CHECKING:
    from collections.abc import Collection

    from visreward.models.catalog import CatalogRow, HubFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Files of one repository at one commit, on this machine."""

    folder: Path
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededFiles:
    """The files of one repository that a model needs.

    Attributes:
        row: The model.
        source: The repository.
        revision: Which of its revisions.
        names: The files.
        missing: Size in bytes of each file that is not on this machine; None where the hub does
            not say it.
        commit: Which commit the revision is.
        sha256: Of each large file, as the hub says it.
        snapshot: Where they are, if the hub could not be asked but all of them are here.
    """

    row: CatalogRow
    source: HubFiles
    revision: str
    names: tuple[str, ...]
    missing: Mapping[str, int | None] = field(default_factory=dict)
    commit: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    snapshot: Snapshot | None = None


def find_needed(row: CatalogRow, source: HubFiles, *, revision: str) -> NeededFiles:
    """Ask the hub which files there are; where it cannot be asked, look into its cache.

    Raises:
        ModelNotFoundError: if a file is neither on the hub nor in its cache.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    # HTTPError is that of httpx, under whichever name the hub's client depends on it.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        info = HfApi().model_info(source.repo, revision=revision, files_metadata=True)
    except (OSError, HTTPError) as error:
        return _cached(row, source, revision, reason=first_line(error))
    siblings = info.siblings or ()
    sizes = {entry.rfilename: entry.size for entry in siblings}
    names = tuple(_choose(row, source, revision, given, sizes) for given in source.files)
    missing = {
        name: sizes[name]
        for name in names
        if not isinstance(try_to_load_from_cache(source.repo, name, revision=info.sha), str)
    }
    return NeededFiles(
        row=row,
        source=source,
        revision=revision,
        names=names,
        missing=missing,
        commit=info.sha,
        sha256={entry.rfilename: entry.lfs.sha256 for entry in siblings if entry.lfs is not None},
    )


def fetch(needed: NeededFiles) -> Snapshot:
    """Download what is missing.

    Raises:
        ModelNotFoundError: if a file cannot be downloaded.
        WeightsError: if a large file is not what the hub says it is.
    """
    if needed.snapshot is not None:
        return needed.snapshot
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # as above

    repo, names = needed.source.repo, list(needed.names)
    try:
        _fetch_large(needed)
        path = Path(snapshot_download(repo, revision=needed.revision, allow_patterns=names))
    except (OSError, HTTPError) as error:
        raise _not_found(
            needed.row, needed.source, needed.revision, reason=first_line(error)
        ) from error
    return Snapshot(folder=path, commit=path.name)


def _fetch_large(needed: NeededFiles) -> None:
    """Bring large files into the hub's cache, where its client finds them by their SHA-256."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # lazy there

    repo = needed.source.repo
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")
    for name in needed.missing:
        digest = needed.sha256.get(name)
        if digest is not None:
            receive(
                Transfer(
                    what=f"{repo}/{name}",
                    url=hf_hub_url(repo, name, revision=needed.commit),
                    target=folder / "blobs" / digest,
                    hint=f"Run `visreward models pull {needed.row.name}` again.",
                    sha256=digest,
                    headers=build_hf_headers(),
                )
            )


def _choose(
    row: CatalogRow,
    source: HubFiles,
    revision: str,
    names: tuple[str, ...],
    there: Collection[str],
) -> str:
    for name in names:
        if name in there:
            return name
    reason = f"{source.repo} on the hub has no {' or '.join(names)}"
    raise _not_found(row, source, revision, reason=reason)


def _cached(row: CatalogRow, source: HubFiles, revision: str, *, reason: str) -> NeededFiles:
    """Return the files from the hub's own cache, where somebody downloaded or copied them."""
    from huggingface_hub import try_to_load_from_cache

    root: Path | None = None
    chosen = []
    for names in source.files:
        found = [
            (name, path)
            for name in names
            if isinstance(path := try_to_load_from_cache(source.repo, name, revision=revision), str)
        ]
        if not found:
            raise _not_found(row, source, revision, reason=reason)
        name, path = found[0]
        chosen.append(name)
        root = Path(path).parents[len(Path(name).parts) - 1]
    assert root is not None
    return NeededFiles(
        row=row,
        source=source,
        revision=revision,
        names=tuple(chosen),
        snapshot=Snapshot(folder=root, commit=root.name),
    )


def _not_found(
    row: CatalogRow, source: HubFiles, revision: str, *, reason: str
) -> ModelNotFoundError:
    from huggingface_hub import constants

    asked = revision if source is row.weights else None
    downloads = " and ".join(f"`{_download_command(needed)}`" for needed in row.hub_files())
    release = ""
    if row.release is not None:
        release = f", with {row.release.url} as {archive_path(row.release)}"
    return ModelNotFoundError(
        f"Model '{row.name}' is not on this machine and {source.repo} could not be downloaded "
        f"({reason}); looked for a copy in {copy_folder(row, asked)} and for the files in "
        f"{constants.HF_HUB_CACHE}. Bring it in one of two ways: run {downloads} where there is a "
        f"network and copy {constants.HF_HUB_CACHE} here{release}, or bring the released files "
        f"into folders of your own and run `{import_command(row)}`, then load that DIR."
    )


def import_command(row: CatalogRow, *, output: str = "DIR") -> str:
    """Return the command that imports a model's released files from folders of one's own."""
    release = ""
    if row.release is not None:
        release = f" --release {row.release.file} --config {row.release.config_name}"
    elif not row.is_published:
        release = " --release PATH --config NAME.yaml"
    return (
        f"visreward models import {row.layout} --checkpoint DIR --backbone DIR{release} "
        f"--output {output}"
    )


def _download_command(files: HubFiles) -> str:
    names = " ".join(name for alternatives in files.files for name in alternatives)
    # A name that the repository does not have is an error, a pattern that fits nothing is not.
    has_choice = any(len(alternatives) > 1 for alternatives in files.files)
    names = f"--include {names}" if has_choice else names
    revision = "" if files.revision == "main" else f" --revision {files.revision}"
    return f"hf download {files.repo} {names}{revision}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, without the dot at its end."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
