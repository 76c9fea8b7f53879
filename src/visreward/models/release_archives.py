"""Published archives of releases: downloaded once, checked, and kept beside the imported models.

Nothing in an archive is unpacked to disk or run. VISREWARD_RELEASE_ENDPOINT, where it is set,
takes the place of scheme and host in each address, for a mirror of them.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from visreward.core.errors import ModelNotFoundError, WeightsError
from visreward.models.cache import read_copies, releases_folder
from visreward.models.catalog import catalog
from visreward.models.hub_files import first_line, import_command
from visreward.models.vlm.release import KnownPrompts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from visreward.models.catalog import CatalogRow, ReleaseArchive

MAX_ARCHIVE_BYTES: Final = 256 << 20
"""Releases are code and some pictures; the larger one of the two known ones has a few megabytes."""
_TIMEOUT_S: Final = 60.0
_CHUNK_BYTES: Final = 1 << 16


def archive_path(archive: ReleaseArchive) -> Path:
    """Return where an archive is kept, whether it is there or not."""
    return releases_folder() / archive.file


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

    Shows a progress bar. A download that stopped goes on where the archive's SHA-256 is known.

    Raises:
        ModelNotFoundError: if it cannot be downloaded.
        WeightsError: if it is not the archive that it should be; then nothing is kept of it.
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # lazy there

    assert row.release is not None
    path = archive_path(row.release)
    path.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(path.with_name(f".{path.name}.lock")):
        if not path.is_file() or row.release.sha256 not in (None, _sha256(path)):
            part = path.with_name(f".{path.name}.part")
            _download(row, row.release, part)
            _check(row, row.release, part)
            part.replace(path)
    return path


def _download(row: CatalogRow, archive: ReleaseArchive, part: Path) -> None:
    # HTTPError is that of httpx, under whichever name the hub's client depends on it.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        status = _receive(row, archive, part)
        if status == 416:
            # The part is as long as the whole, or longer.
            part.unlink()
            status = _receive(row, archive, part)
        reason = None if status in (200, 206) else f"the server answered {status}"
    except (OSError, HTTPError) as error:
        reason = first_line(error)
    if reason is not None:
        raise ModelNotFoundError(
            f"The release of '{row.name}', which holds its rating prompts, could not be downloaded "
            f"from {archive_address(archive)} ({reason}). Run `visreward models pull {row.name}` "
            f"again, or bring that file to {archive_path(archive)}, or import by hand with "
            f"`{import_command(row)}`, then load that DIR."
        )


def _receive(row: CatalogRow, archive: ReleaseArchive, part: Path) -> int:
    """Write an archive's bytes and return the status of the server's answer."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]  # lazy there

    # Without a known hash nobody would notice that the two halves are of different archives.
    start = part.stat().st_size if archive.sha256 is not None and part.is_file() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    address = archive_address(archive)
    with get_session().stream("GET", address, headers=headers, timeout=_TIMEOUT_S) as response:
        if response.status_code not in (200, 206):
            return int(response.status_code)
        done = start if response.status_code == 206 else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with (
            part.open("ab" if done else "wb") as stream,
            tqdm(  # type: ignore[no-untyped-call]
                desc=archive.file, total=total, initial=done, unit="B", unit_scale=True
            ) as progress,
        ):
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                done += len(chunk)
                if done > MAX_ARCHIVE_BYTES:
                    break
                stream.write(chunk)
                progress.update(len(chunk))
        if done > MAX_ARCHIVE_BYTES:
            part.unlink()
            raise WeightsError(
                f"The release of '{row.name}' at {address} has over {MAX_ARCHIVE_BYTES >> 20} MB, "
                f"which no release has. Import by hand with `{import_command(row)}`."
            )
        return int(response.status_code)


def _check(row: CatalogRow, archive: ReleaseArchive, part: Path) -> None:
    found = _sha256(part)
    if archive.sha256 not in (None, found):
        wrong = f"has the SHA-256 {found}, expected {archive.sha256}"
    elif not zipfile.is_zipfile(part):
        wrong = f"is no zip file: {part.stat().st_size} bytes with the SHA-256 {found}"
    else:
        return
    part.unlink()
    raise WeightsError(
        f"The release of '{row.name}' from {archive_address(archive)} {wrong}. Nothing of it was "
        f"kept. Run `visreward models pull {row.name}` again, or import a copy as published with "
        f"`{import_command(row)}`."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
