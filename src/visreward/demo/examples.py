"""Examples in place: synthetic scenes that are drawn at the start, the same ones every time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from visreward.data.scenes import examples as scenes
from visreward.demo.scoring import Upload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Files of the example pictures.

    Attributes:
        prompt: What the images were asked for.
        images: Right and wrong images for the prompt.
        instruction: What the edits were asked for.
        source: The image before the edit.
        edits: Right and wrong edits.
    """

    prompt: str
    images: tuple[Upload, ...]
    instruction: str
    source: Upload
    edits: tuple[Upload, ...]


def draw_examples(folder: Path) -> Examples:
    """Draw the example pictures into a folder, which is made where it is missing."""
    images = _save(folder / "images", scenes.pictures())
    source, *edits = _save(folder / "edits", scenes.edit_pictures())
    return Examples(
        prompt=scenes.PROMPT,
        images=tuple(images),
        instruction=scenes.EDIT.instruction,
        source=source,
        edits=tuple(edits),
    )


def words_of(name: str) -> str:
    """Return an example file's name as words: `right and rich`."""
    return Path(name).stem.replace("-", " ")


def _save(folder: Path, pictures: Iterable[tuple[str, NDArray[np.uint8]]]) -> list[Upload]:
    folder.mkdir(parents=True, exist_ok=True)
    uploads = []
    for name, pixels in pictures:
        Image.fromarray(pixels).save(folder / name)
        uploads.append(Upload(path=folder / name, name=name))
    return uploads
