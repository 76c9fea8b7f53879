"""Places for images on a page, which hand on where an upload lies and what it is called.

Gradio's own would decode an upload with every parser that Pillow has, under a path as its name.
"""

from __future__ import annotations

from pathlib import Path

import gradio
from gradio.components.gallery import GalleryData, GalleryImage
from gradio.data_classes import ImageData

from visreward.demo.scoring import Upload

from gradio.events import Dependency

class ImageUpload(gradio.Image):
    """A place for one image."""

    is_template = True  # drawn as its parent is

    def preprocess(  # type: ignore[override]  # its result goes to our own functions only
        self, payload: ImageData | None
    ) -> Upload | None:
        """Return the upload, or None where there is none."""
        return None if payload is None else _upload(payload.path, payload.orig_name)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


class GalleryUpload(gradio.Gallery):
    """A place for several images."""

    is_template = True  # drawn as its parent is

    def preprocess(  # type: ignore[override]  # its result goes to our own functions only
        self, payload: GalleryData | None
    ) -> list[Upload]:
        """Return the uploads in their order."""
        elements = [] if payload is None else payload.root
        files = [each.image if isinstance(each, GalleryImage) else each.video for each in elements]
        return [_upload(file.path, file.orig_name) for file in files]
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


def _upload(path: str | None, name: str | None) -> Upload:
    place = Path(path or "")
    return Upload(path=place, name=Path(name).name if name else place.name)