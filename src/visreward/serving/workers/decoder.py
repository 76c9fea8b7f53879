"""The child process that decodes images: bytes in, RGB pixels out, one image at a time.

It imports Pillow and no torch, holds one picture, and may use no more memory than one needs.
Request: `image` (bytes, or base64 text), `is_upright`, `max_pixels`. Answer: `key`, `width`,
`height`, and the pixels as a file beside them, or `error`, a code of the catalogue.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import resource
import sys
from typing import Final

from visreward.core.errors import ImageError
from visreward.core.image_files import open_picture, open_stream
from visreward.core.image_formats import HEAD_BYTES, image_format_of
from visreward.core.images import AS_RELEASED, UPRIGHT, read_image
from visreward.serving.problems import Code
from visreward.serving.workers.frames import Message, begin, receive, send
from visreward.serving.workers.shared_pixels import SharedPixels

FORMATS: Final = ("JPEG", "PNG", "WebP")
"""What the server reads; fewer parsers than the library has, as they meet strangers' bytes."""

_BYTES_PER_PIXEL: Final = 24
_OTHER_BYTES: Final = 1 << 30
_PLACES: Final = ("file:", "/", "./", "../", "~")
_ANY_PIXELS: Final = sys.maxsize


class _RefusedError(Exception):
    def __init__(self, code: Code) -> None:
        super().__init__(code.value)
        self.code = code


def decode(image: str | bytes, *, is_upright: bool, max_pixels: int) -> Message:
    """Return the answer for one image; never raises for what the image holds.

    Args:
        image: The bytes of a file, or base64 text of them, as a `data:` URI or plain.
        is_upright: Whether the EXIF orientation and transparency count, as people see them.
        max_pixels: Largest width x height.
    """
    try:
        content = _from_base64(image) if isinstance(image, str) else image
        if not content:
            raise _RefusedError(Code.IMAGE_EMPTY)
        if image_format_of(content[:HEAD_BYTES]) not in FORMATS:
            raise _RefusedError(Code.IMAGE_FORMAT_UNSUPPORTED)
        with open_stream(content, label="image") as stream:
            picture = open_picture(stream, label="image", max_pixels=_ANY_PIXELS)
            if picture.width * picture.height > max_pixels:
                raise _RefusedError(Code.IMAGE_TOO_LARGE)
            rule = UPRIGHT if is_upright else AS_RELEASED
            rgb = read_image(picture, rule=rule, max_pixels=max_pixels)
    except _RefusedError as refused:
        return {"error": refused.code.value}
    except (ImageError, MemoryError):
        return {"error": Code.IMAGE_UNREADABLE.value}
    return {
        "key": hashlib.sha256(content).hexdigest(),
        "width": rgb.width,
        "height": rgb.height,
        "pixels": rgb.tobytes(),
    }


def _from_base64(text: str) -> bytes:
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise _RefusedError(Code.IMAGE_NOT_BASE64)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        is_place = "://" in text[:64] or text.startswith(_PLACES)
        code = Code.URL_NOT_ALLOWED if is_place else Code.IMAGE_NOT_BASE64
        raise _RefusedError(code) from None


def main() -> None:
    """Answer requests until the connection ends."""
    begun = begin()
    if begun is None:
        return
    connection, setup = begun
    max_pixels = int(setup["max_pixels"])
    max_bytes = _BYTES_PER_PIXEL * max_pixels + _OTHER_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))
    while (request := receive(connection)) is not None:
        asked = request.message
        answer = decode(asked["image"], is_upright=asked["is_upright"], max_pixels=max_pixels)
        pixels = answer.pop("pixels", None)
        send(connection, answer, [] if pixels is None else [SharedPixels.holding(pixels)])


if __name__ == "__main__":
    main()
