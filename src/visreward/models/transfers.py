"""Downloads of single files: with progress, checked by hash, going on where they stopped.

The hub's client keeps nothing of a download whose process ended, which for 16 GB of weights is
too little: what it would drop is kept here until the file is whole and its SHA-256 is right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from visreward.core.errors import WeightsError

_TIMEOUT_S: Final = 60.0
_PARTIAL: Final = 206
_NOTHING_LEFT: Final = 416


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One file to download.

    Attributes:
        what: What it is, as errors call it.
        url: Its address.
        target: Where it goes.
        hint: What to do where it is not what it should be.
        sha256: What it must be; None takes it as it is, and starts anew after an interruption.
        headers: Sent with the request.
        max_bytes: A larger file is refused; None takes any.
    """

    what: str
    url: str
    target: Path
    hint: str
    sha256: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int | None = None

    @property
    def part(self) -> Path:
        """Return where the file grows until it is whole."""
        return self.target.with_name(f".{self.target.name}.part")


def receive(transfer: Transfer) -> None:
    """Download a file that is not there; it appears at its place at once, or not at all.

    Raises:
        WeightsError: if it is too large or has another SHA-256; then nothing is kept of it.
        OSError, HTTPError: if it cannot be downloaded, with the reason in the first line. HTTPError
            is `huggingface_hub.errors.HTTPError`.
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # lazy there

    target, part = transfer.target, transfer.part
    target.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(target.with_name(f".{target.name}.lock")):
        if target.is_file():
            return
        _download(transfer)
        found = sha256_of(part)
        if transfer.sha256 not in (None, found):
            part.unlink()
            raise WeightsError(
                f"{transfer.what} from {transfer.url} has the SHA-256 {found}, expected "
                f"{transfer.sha256}. Nothing of it was kept. {transfer.hint}"
            )
        part.replace(target)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(transfer: Transfer) -> None:
    """Write the part until it is whole; a connection that broke is taken up while it grows."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # that of httpx

    if transfer.sha256 is None:
        # Nobody would notice that the two halves are of different files.
        transfer.part.unlink(missing_ok=True)
    while True:
        before = _size(transfer.part)
        try:
            status = _stream(transfer, start=before)
        except HTTPError:
            if transfer.sha256 is None or _size(transfer.part) <= before:
                raise
            continue
        if status == _NOTHING_LEFT and before:
            # The part is as long as the whole: right or not, its hash says it.
            return
        if status not in (200, _PARTIAL):
            raise OSError(f"the server answered {status}")
        return


def _stream(transfer: Transfer, *, start: int) -> int:
    """Append what follows `start` bytes to the part; return the status of the server's answer."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]  # lazy there

    # Compressed, the bytes would not be those that a range counts.
    headers = {**transfer.headers, "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with get_session().stream("GET", transfer.url, headers=headers, timeout=_TIMEOUT_S) as response:
        if response.status_code not in (200, _PARTIAL):
            return int(response.status_code)
        done = start if response.status_code == _PARTIAL else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with (
            transfer.part.open("ab" if done else "wb") as stream,
            tqdm(  # type: ignore[no-untyped-call]
                desc=transfer.what, total=total, initial=done, unit="B", unit_scale=True
            ) as progress,
        ):
            # As they come: chunks of one size would lose what lay in the last one.
            for chunk in response.iter_bytes():
                done += len(chunk)
                _check_size(transfer, done)
                stream.write(chunk)
                progress.update(len(chunk))
        return int(response.status_code)


def _check_size(transfer: Transfer, num_bytes: int) -> None:
    if transfer.max_bytes is not None and num_bytes > transfer.max_bytes:
        transfer.part.unlink()
        raise WeightsError(
            f"{transfer.what} from {transfer.url} has more than {transfer.max_bytes} bytes. "
            f"Nothing of it was kept. {transfer.hint}"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
