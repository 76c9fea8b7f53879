"""Read images into RGB pictures, name their content, and shrink them for reports."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
from dataclasses import dataclass
from typing import Final, Literal

from PIL import Image, ImageChops

from visreward.core.errors import ImageError, UsageError
from visreward.core.image_files import (
    check_size,
    decoder_errors_named,
    image_label,
    open_picture,
    open_stream,
    pillow_warnings_hidden,
)
from visreward.core.types import ImageSource

MAX_PIXELS: Final = 178_956_970
"""Largest number of pixels read by default: the size at which Pillow itself gives up.

A picture of that size takes about 1.5 GB while it is read, and about 3 GB with alpha.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRule:
    """What a picture's metadata and transparency do to its pixels.

    Attributes:
        apply_orientation: Turn the picture upright as its EXIF orientation says.
        alpha: `composite` shows a transparent picture on white and scales 16-bit grey to 8
            bits, which is what people see. `drop` is Pillow's plain `convert("RGB")`, which
            ignores transparency and clips 16-bit grey at 255.
    """

    apply_orientation: bool
    alpha: Literal["composite", "drop"]


UPRIGHT: Final = ReadingRule(apply_orientation=True, alpha="composite")
"""As people see the picture; the default."""

AS_RELEASED: Final = ReadingRule(apply_orientation=False, alpha="drop")
"""The pixels of `PIL.Image.open(file).convert("RGB")`, as the released models read them."""

_EXIF_ORIENTATION: Final = 0x0112
_UNBOUNDED_MODES: Final = ("I", "F", "I;16L", "I;16N")
_UPRIGHT_BY: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(
    source: ImageSource,
    *,
    rule: ReadingRule = UPRIGHT,
    max_pixels: int = MAX_PIXELS,
    name: str | None = None,
) -> Image.Image:
    """Return an image as a fully loaded RGB picture of its own.

    JPEG, PNG, WebP, BMP and GIF are read, whatever the file is called. Of an animation, the
    first frame is read. Colour profiles are ignored, and so is the transparent colour of a
    PNG with 2, 4 or 48 bits per pixel, which Pillow cannot match. An EXIF block that cannot
    be parsed counts as absent. Damage inside the compressed data of a JPEG or a lossy WebP
    cannot always be noticed. Deterministic, and safe to call from several threads; Pillow's
    warnings are not shown.

    Args:
        source: A path (never a URL), the bytes of a file, or an opened picture, which keeps
            its pixels and its metadata.
        rule: What EXIF orientation and transparency do to the pixels.
        max_pixels: Largest width x height in pixels. Checked in the header, before decoding.
        name: What error messages call the image; None means its path.

    Returns:
        A picture in mode RGB without metadata, at least 1 x 1 pixel.

    Raises:
        ImageError: If the image is missing, empty, not readable, truncated, corrupt, in
            another format or mode, or larger than `max_pixels`.
    """
    label = image_label(source, name)
    if isinstance(source, Image.Image):
        check_size(source.size, label=label, max_pixels=max_pixels)
        return _load_as_rgb(source, rule=rule, label=label)
    with open_stream(source, label=label) as stream:
        picture = open_picture(stream, label=label, max_pixels=max_pixels)
        return _load_as_rgb(picture, rule=rule, label=label)


def content_key(source: ImageSource, *, name: str | None = None) -> str:
    """Return the SHA-256 of an image's content, the same under any file name.

    Files and bytes are hashed as they are, without decoding, so that a file and its bytes
    share a key. An opened picture is hashed by its pixels and by what changes their reading
    (mode, size, palette, transparency, orientation); it shares no key with a file.

    Args:
        source: A path (never a URL), the bytes of a file, or an opened picture.
        name: What error messages call the image; None means its path.

    Returns:
        64 lower-case hexadecimal digits.

    Raises:
        ImageError: If a file is missing, empty or not readable, or a picture cannot be loaded.
    """
    label = image_label(source, name)
    if not isinstance(source, Image.Image):
        with open_stream(source, label=label) as stream, decoder_errors_named(label):
            return hashlib.file_digest(stream, "sha256").hexdigest()
    check_size(source.size, label=label, max_pixels=MAX_PIXELS)
    with decoder_errors_named(label):
        source.load()
        reading = (
            source.mode,
            source.size,
            source.palette.mode if source.palette else None,
            source.getpalette(None),
            source.info.get("transparency"),
            _orientation(source),
        )
        digest = hashlib.sha256(repr(reading).encode())
        digest.update(source.tobytes())
    return digest.hexdigest()


def thumbnail_data_uri(
    image: Image.Image,
    *,
    max_side: int,
    encoding: Literal["jpeg", "webp", "png", "lossless-webp"] = "jpeg",
    quality: int = 85,
) -> str:
    """Return a small copy of a picture as a `data:` URI, for an HTML page or an endpoint.

    Args:
        image: Any picture that `read_image` accepts; its proportions are kept.
        max_side: Longest side in pixels; smaller pictures keep their size.
        encoding: How the copy is compressed; PNG and lossless WebP keep every pixel, and the latter
            takes a fifth of the time.
        quality: Of JPEG and WebP, 1 to 100.

    Raises:
        UsageError: If `max_side` is below 1.
        ImageError: If the picture cannot be read.
    """
    if max_side < 1:
        raise UsageError(f"max_side is {max_side}. Give the longest side in pixels, at least 1.")
    small = read_image(image)
    small.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if encoding == "lossless-webp":
        small.save(buffer, format="WEBP", lossless=True, quality=0, method=0)  # the least effort
    else:
        small.save(buffer, format=encoding.upper(), quality=quality)
    kind = encoding.removeprefix("lossless-")
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _load_as_rgb(picture: Image.Image, *, rule: ReadingRule, label: str) -> Image.Image:
    with decoder_errors_named(label):
        picture.load()
        orientation = _orientation(picture) if rule.apply_orientation else 1
        rgb = _dropped(picture) if rule.alpha == "drop" else _composited(picture, label=label)
        if orientation in _UPRIGHT_BY:
            rgb = rgb.transpose(_UPRIGHT_BY[orientation])
    # Without its EXIF block the picture cannot be turned a second time by whoever gets it.
    rgb.info = {}
    return rgb


def _orientation(picture: Image.Image) -> int:
    with pillow_warnings_hidden():
        try:
            orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
        except (OSError, SyntaxError, ValueError, LookupError, TypeError, struct.error):
            return 1
    return orientation if isinstance(orientation, int) else 1


def _dropped(picture: Image.Image) -> Image.Image:
    if "transparency" in picture.info:
        # It changes no pixel of the RGB picture, but Pillow warns of its loss.
        picture = picture.copy()
        del picture.info["transparency"]
    return picture.convert("RGB")


def _composited(picture: Image.Image, *, label: str) -> Image.Image:
    if picture.mode in _UNBOUNDED_MODES:
        raise ImageError(
            f"{label} is in mode {picture.mode!r}, whose values have no fixed range. "
            "Scale it to 0..255 and convert it to mode 'L' first."
        )
    if picture.mode in ("I;16", "I;16B"):
        picture = _scaled_to_8_bits(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    if picture.mode == "La":
        picture = picture.convert("LA")
    if picture.mode == "P":
        # Pillow writes the transparency into the palette of the picture that it converts.
        picture = picture.copy()
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


def _scaled_to_8_bits(picture: Image.Image) -> Image.Image:
    """Return 16-bit grey as its high byte, which is how Pillow reads 16-bit colour."""
    values = picture.tobytes("raw", "I;16B")
    high, low = (Image.frombytes("L", picture.size, values[first::2]) for first in (0, 1))
    if "transparency" not in picture.info:
        return high
    clear_high, clear_low = divmod(picture.info["transparency"], 256)
    is_opaque = ImageChops.lighter(
        high.point([0 if value == clear_high else 255 for value in range(256)]),
        low.point([0 if value == clear_low else 255 for value in range(256)]),
    )
    return Image.merge("LA", (high, is_opaque))
