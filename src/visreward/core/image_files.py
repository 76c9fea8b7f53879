"""Open one image file or its bytes, and say in one sentence why that is not possible."""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from visreward.core.errors import ImageError
from visreward.core.image_formats import (
    ACCEPTED_FORMATS,
    HEAD_BYTES,
    ImageFormat,
    describe_foreign,
    find_damage,
    image_format_of,
)
from visreward.core.types import ImageSource

_URL: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+://)(?:[^/@]*@)?(?P<place>[^?#]*)", re.I)
# The plugins themselves: Image.open tries others as well and hides why one gave up.
_PLUGINS: Final[dict[ImageFormat, type[ImageFile.ImageFile]]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
}
_MAX_LABEL: Final = 240
_COPY_AGAIN: Final = "Copy or download it again."

# What Pillow's plugins are seen to raise on damaged data.
_DECODER_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    TypeError,
    struct.error,
    zlib.error,
)

# warnings.catch_warnings changes the state of the whole process: one thread at a time. Headers
# and EXIF blocks are parsed under the lock, which takes microseconds; pixels are decoded
# outside of it, where Pillow warns of nothing. A forked process may inherit a lock that nobody
# will release, so each process has its own.
_WARNINGS_LOCKS: Final[dict[int, threading.Lock]] = {}


def image_label(source: object, name: str | None) -> str:
    """Return how error messages call an image, as in `Image 'cat.png'`.

    Args:
        source: What the caller gave as the image. User names, passwords and queries of URLs
            are left out, since they may be secrets.
        name: The caller's own name for it, or None.
    """
    if name is not None:
        return f"Image {name!r}"
    if isinstance(source, Image.Image):
        return "Image <picture>"
    if not isinstance(source, str | os.PathLike):
        return f"Image <{type(source).__name__}>"
    path = str(source)
    if path[:5].lower() == "data:":
        return "Image 'data:...'"
    if url := _URL.match(path):
        path = url["scheme"] + url["place"]
    if len(path) > _MAX_LABEL:
        path = f"{path[: _MAX_LABEL // 2]}...{path[-_MAX_LABEL // 2 :]}"
    return f"Image {path!r}"


@contextmanager
def pillow_warnings_hidden() -> Iterator[None]:
    """Hide the warnings of the block, one thread at a time; keep the block short."""
    lock = _WARNINGS_LOCKS.setdefault(os.getpid(), threading.Lock())
    with lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def decoder_errors_named(label: str) -> Iterator[None]:
    """Turn whatever a Pillow decoder raises in the block into an ImageError.

    Raises:
        ImageError: If the block raises one, or an error of Pillow's decoders, or needs more
            memory than there is.
    """
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{label} has too many pixels for Pillow: {error} Make it smaller."
        ) from error
    except MemoryError as error:
        raise ImageError(
            f"{label} needs more memory than is free. Make the picture smaller."
        ) from error
    except _DECODER_ERRORS as error:
        is_cut = isinstance(error.__cause__, struct.error) or "truncated" in str(error).lower()
        state = "truncated" if is_cut else "corrupt"
        raise ImageError(f"{label} is {state} ({_reason(error)}). {_COPY_AGAIN}") from error


def check_size(size: tuple[int, int], *, label: str, max_pixels: int) -> None:
    """Refuse a picture without pixels or with too many.

    Args:
        size: Width and height in pixels, as the header says.
        label: From `image_label`.
        max_pixels: Largest width x height.

    Raises:
        ImageError: If a side is zero or the picture has more than `max_pixels` pixels.
    """
    width, height = size
    if min(size) < 1:
        raise ImageError(f"{label} has no pixels ({width} x {height}). Save it again with pixels.")
    if width * height > max_pixels:
        raise ImageError(
            f"{label} has too many pixels: {width} x {height} = {width * height:,}, the limit is "
            f"{max_pixels:,}. Make it smaller, or raise max_pixels if you trust the file."
        )


@contextmanager
def open_stream(source: ImageSource, *, label: str) -> Iterator[io.BytesIO | io.BufferedReader]:
    """Open a file, or bytes that hold one, for reading.

    Args:
        source: A path or bytes.
        label: From `image_label`.

    Yields:
        A seekable stream of at least one byte.

    Raises:
        ImageError: If the source is a URL or of another type, or the file is missing, not a
            plain file, empty, or not readable.
    """
    if isinstance(source, bytes):
        if not source:
            raise ImageError(f"{label} is empty (0 bytes). Give the bytes of an image file.")
        with io.BytesIO(source) as buffer:
            yield buffer
        return
    path = _checked_path(source, label=label)
    try:
        _check_plain_file(path.stat(), label=label)
        stream = path.open("rb")
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        raise _file_error(error, label=label) from error
    with stream:
        yield stream


def open_picture(stream: BinaryIO, *, label: str, max_pixels: int) -> ImageFile.ImageFile:
    """Return the picture of a stream with its header parsed and its pixels not yet decoded.

    Args:
        stream: From `open_stream`; must stay open until the picture is loaded.
        label: From `image_label`.
        max_pixels: Largest width x height.

    Raises:
        ImageError: If the stream is in another format, truncated, corrupt or too large.
    """
    with decoder_errors_named(label):
        head = stream.read(HEAD_BYTES)
        image_format = image_format_of(head)
        if image_format is None:
            raise ImageError(f"{label} is {describe_foreign(head)}. Give it as {ACCEPTED_FORMATS}.")
        picture = _with_header(stream, image_format, label=label)
        check_size(picture.size, label=label, max_pixels=max_pixels)
        _check_whole(stream, image_format, label=label, pixels_start=stream.tell())
    return picture


def _with_header(stream: BinaryIO, image_format: ImageFormat, *, label: str) -> ImageFile.ImageFile:
    stream.seek(0)
    try:
        with pillow_warnings_hidden():
            return _PLUGINS[image_format](stream)
    except _DECODER_ERRORS:
        # That the file is cut short says more than what the plugin stumbled over.
        _check_whole(stream, image_format, label=label, pixels_start=0)
        raise


def _check_whole(
    stream: BinaryIO, image_format: ImageFormat, *, label: str, pixels_start: int
) -> None:
    damage = find_damage(stream, image_format, pixels_start=pixels_start)
    if damage:
        raise ImageError(f"{label} {damage}. {_COPY_AGAIN}")


def _reason(error: Exception) -> str:
    if "not identified by this driver" in str(error):
        return "its header claims zero width or height, or an unknown kind of colour"
    if isinstance(error.__cause__, struct.error):
        return "its header stops early"
    return f"Pillow: {str(error).strip().rstrip('.') or type(error).__name__}"


def _checked_path(source: object, *, label: str) -> Path:
    if not isinstance(source, str | os.PathLike):
        raise ImageError(
            f"{label} cannot be read from a {type(source).__name__}. "
            "Give a path, the bytes of an image file, or a PIL picture."
        )
    path = os.fspath(source)
    if not isinstance(path, str):
        raise ImageError(f"{label} has a path made of bytes. Give the path as text.")
    if not path:
        raise ImageError(f"{label} is an empty path. Give the path of an image file.")
    if path[:5].lower() == "data:":
        raise ImageError(f"{label} is a data URI. Decode it and give the bytes.")
    if _URL.match(path):
        raise ImageError(
            f"{label} is a URL, and URLs are off. Download the file first and give its path."
        )
    return Path(path)


def _check_plain_file(facts: os.stat_result, *, label: str) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise ImageError(f"{label} is a directory. Give the path of one image file.")
    if not stat.S_ISREG(facts.st_mode):
        raise ImageError(f"{label} is a pipe or a device. Save it to a file and give its path.")
    if facts.st_size == 0:
        raise ImageError(f"{label} is empty (0 bytes). {_COPY_AGAIN}")


def _file_error(error: OSError | ValueError, *, label: str) -> ImageError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ImageError(
            f"{label} does not exist. Check the path; a relative path starts at the current folder."
        )
    if isinstance(error, PermissionError):
        return ImageError(f"{label} may not be read: permission denied. Change its access rights.")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ImageError(f"{label} cannot be opened: {reason}. Check the path.")
