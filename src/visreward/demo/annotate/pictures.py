"""Pictures as the page shows them, or why they cannot be shown."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visreward.core.errors import ImageError
from visreward.core.images import read_image, thumbnail_data_uri

MAX_SIDE: Final = 1024
"""Longest side in pixels; larger pictures are made smaller, others keep every pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture of the page.

    Attributes:
        name: What the page calls it, such as `A`.
        address: A `data:` URI with every pixel as it is, so that no loss of ours is judged, and
            without file name and metadata; None where it cannot be shown.
        reason: Why it cannot be shown, without the file's name, which may say what made it.
        problem: The same with the file's name, for whoever runs the study.
    """

    name: str
    address: str | None
    reason: str | None = None
    problem: str | None = None


def read_pictures(files: Mapping[str, Path]) -> list[Picture]:
    """Return pictures in the order given, read in threads.

    Args:
        files: Files by the names that the page gives them.
    """
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(_read, files, files.values()))


def _read(name: str, file: Path) -> Picture:
    try:
        picture = read_image(file, name=name)
    except ImageError as error:
        return Picture(name=name, address=None, reason=str(error), problem=f"'{file}': {error}")
    address = thumbnail_data_uri(picture, max_side=MAX_SIDE, encoding="lossless-webp")
    return Picture(name=name, address=address)
