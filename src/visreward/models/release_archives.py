"""Published archives of releases: downloaded once, checked, and kept beside the imported models.

Nothing in an archive is unpacked to disk or run. VISREWARD_RELEASE_ENDPOINT, where it is set,
takes the place of scheme and host in each address, for a mirror of them.
"""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from visreward.core.errors import ModelNotFoundError, WeightsError
from visreward.models.cache import archive_path, read_copies
from visreward.models.catalog import catalog
from visreward.models.hub_files import first_line, import_command
from visreward.models.transfers import Transfer, receive, sha256_of
from visreward.models.vlm.release import KnownPrompts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from visreward.models.catalog import CatalogRow, ReleaseArchive

MAX_ARCHIVE_BYTES: Final = 256 << 20
"""Releases are code and some pictures; the larger one of the two known ones has a few megabytes."""


def archive_address(archive: ReleaseArchive) -> str:
    """Return where an archive is downloaded from."""
    mirror = os.environ.get("VISREWARD_RELEASE_ENDPOINT")
    return archive.url if not mirror else mirror.rstrip("/") + urlsplit(archive.url).path


def known_prompts(archive: ReleaseArchive, *, folder: Path) -> KnownPrompts | None:
    """Return what the rating prompts in an archive must be, or None where nobody knows.

    That is the catalog's digest, else that of another copy imported from the same address.

    Args:
        archive: The archive.
        folder: The model's own copy, which is no witness.
    """
    if archive.prompts_sha256 is not None:
        return KnownPrompts(sha256=archive.prompts_sha256, source=f"those of {archive.file}")
    for other, config in read_copies().items():
        is_same = config.origin is not None and config.origin.release == archive.url
        if is_same and config.prompts_sha256 is not None and other != folder:
            return KnownPrompts(
                sha256=config.prompts_sha256, source=f"those of the copy in {other}"
            )
    return None


def prompts_of_layout(layout: str) -> list[KnownPrompts]:
    """Return the digests of rating prompts that the catalog knows of a layout."""
    releases = [row.release for row in catalog().values() if row.layout == layout and row.release]
    return [
        KnownPrompts(sha256=release.prompts_sha256, source=f"those of {release.file}")
        for release in releases
        if release.prompts_sha256 is not None
    ]


def check_of_prompts(digest: str, known: Sequence[KnownPrompts]) -> str:
    """Return what the known digests say about the one of some rating prompts, in words."""
    for each in known:
        if digest == each.sha256:
            return each.source
    if not known:
        return "not checked against a known digest"
    return "; ".join(f"not {each.source}, which are {each.sha256}" for each in known)


def fetch_archive(row: CatalogRow) -> Path:
    """Return a model's release archive; download it where it is missing or damaged.

    Raises:
        ModelNotFoundError: if it cannot be downloaded.
        WeightsError: if it is not the archive that it should be; then nothing is kept of it.
    """
    # HTTPError is that of httpx, under whichever name the hub's client depends on it.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    archive = row.release
    assert archive is not None
    path, by_hand = archive_path(archive), import_command(row)
    if path.is_file() and archive.sha256 not in (None, sha256_of(path)):
        path.unlink()
    again = f"Run `visreward models pull {row.name}` again, or import a copy as published with"
    transfer = Transfer(
        what=f"The release of '{row.name}'",
        url=archive_address(archive),
        target=path,
        hint=f"{again} `{by_hand}`.",
        sha256=archive.sha256,
        max_bytes=MAX_ARCHIVE_BYTES,
    )
    try:
        receive(transfer)
    except (OSError, HTTPError) as error:
        raise ModelNotFoundError(
            f"The release of '{row.name}', which holds its rating prompts, could not be downloaded "
            f"from {transfer.url} ({first_line(error)}). Run `visreward models pull {row.name}` "
            f"again, or bring that file to {path}, or import by hand with `{by_hand}`, then load "
            "that DIR."
        ) from error
    if not zipfile.is_zipfile(path):
        found = f"{path.stat().st_size} bytes with the SHA-256 {sha256_of(path)}"
        path.unlink()
        raise WeightsError(
            f"{transfer.what} from {transfer.url} is no zip file, but {found}. Nothing of it was "
            f"kept. {transfer.hint}"
        )
    return path
