"""Files and folders that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from safetensors import SafetensorError

from visreward.core.errors import StorageError

BUILDING, OLD = ".building", ".old"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
_SAFETENSORS_CODE: Final = re.compile(r"\(os error (\d+)\)")


@contextmanager
def storing(what: str, advice: Callable[[], str]) -> Iterator[None]:
    """Turn a disk that takes no more into one sentence.

    Args:
        what: What is written, the beginning of the sentence.
        advice: Gives the sentence behind it: what is intact, and what to do.

    Raises:
        StorageError: if the disk is full, its quota or the largest size of a file is reached, it
            may only be read, or it fails.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        code = _error_code(error)
        if code not in _NO_ROOM:
            raise
        raise StorageError(
            f"{what} could not be written: {os.strerror(code)}. {advice()}"
        ) from error


def _error_code(error: OSError | SafetensorError) -> int:
    """Return the number of the system's error; safetensors tells it in its text."""
    if isinstance(error, OSError):
        return error.errno or 0
    found = _SAFETENSORS_CODE.search(str(error))
    return int(found[1]) if found else 0


@contextmanager
def building(place: Path) -> Iterator[Path]:
    """Give an empty folder to write into, and put it in place when all in it is on disk.

    A kill at any moment leaves a whole folder at `place` or, where there was one before, with
    `.old` added. What an error leaves half written is removed, to make room again.
    """
    made = place.with_name(f"{place.name}{BUILDING}")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        yield made
        for entry in [*made.rglob("*"), made]:
            sync(entry)
    except (OSError, SafetensorError):
        shutil.rmtree(made, ignore_errors=True)
        raise
    replace_folder(made, place)


def replace_folder(made: Path, place: Path) -> None:
    """Put a finished folder in the place of another."""
    old = place.with_name(f"{place.name}{OLD}")
    if place.is_dir():
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    made.rename(place)
    sync(place.parent)
    shutil.rmtree(old, ignore_errors=True)


def remove_folder(place: Path) -> None:
    """Remove a folder; a kill on the way leaves no part of it under its name."""
    old = place.with_name(f"{place.name}{OLD}")
    shutil.rmtree(old, ignore_errors=True)
    place.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step, in the place of an older one."""
    made = path.with_name(f".{path.name}{BUILDING}")
    made.write_text(text, encoding="utf-8")
    sync(made)
    made.replace(path)


def sync(path: Path) -> None:
    """Wait until a file, or the list of a folder's files, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
