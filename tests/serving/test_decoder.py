"""The decoder, without a process around it."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from visreward.core.images import AS_RELEASED, UPRIGHT, read_image
from visreward.serving.problems import Code
from visreward.serving.workers.decoder import decode

if TYPE_CHECKING:
    from tests.core.bad_files import BadFile

LIMIT = 1_000_000


def saved(form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGBA").resize((32, 24)).convert("RGB").save(
        buffer, form, **options
    )
    return buffer.getvalue()


def code(image: str | bytes, max_pixels: int = LIMIT) -> str | None:
    return decode(image, is_upright=True, max_pixels=max_pixels).get("error")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("is_upright", [False, True])
def test_decode_gives_the_pixels_that_the_library_reads(form: str, is_upright: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(form, exif=exif)
    answer = decode(content, is_upright=is_upright, max_pixels=LIMIT)
    expected = read_image(content, rule=UPRIGHT if is_upright else AS_RELEASED)
    assert (answer["width"], answer["height"]) == expected.size
    assert answer["pixels"] == expected.tobytes()
    assert answer["key"] == hashlib.sha256(content).hexdigest()


def test_decode_base64_and_data_uri_are_the_bytes() -> None:
    content = saved("JPEG")
    text = base64.b64encode(content).decode()
    assert text.startswith("/9j/")
    wanted = decode(content, is_upright=True, max_pixels=LIMIT)
    assert decode(text, is_upright=True, max_pixels=LIMIT) == wanted
    assert decode(f"data:image/x;base64,{text}", is_upright=True, max_pixels=LIMIT) == wanted


def test_decode_equal_pixels_in_another_shape_have_another_key(
    png: Callable[[int, int], bytes],
) -> None:
    tall, wide = (
        decode(png(*size), is_upright=True, max_pixels=LIMIT) for size in ((4, 9), (9, 4))
    )
    assert tall["pixels"] == wide["pixels"]
    assert tall["key"] != wide["key"]


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "PPM", "ICO", "TGA", "PDF", "EPS"])
def test_decode_other_format_is_unsupported(form: str) -> None:
    assert code(saved(form)) == Code.IMAGE_FORMAT_UNSUPPORTED


def test_decode_pixels_at_the_limit_are_read_and_one_more_is_refused(
    png: Callable[[int, int], bytes],
) -> None:
    assert code(png(30, 40), max_pixels=1200) is None
    assert code(png(1201, 1), max_pixels=1200) == Code.IMAGE_TOO_LARGE


@pytest.mark.parametrize("text", ["a", "aGk=\n", "aGk", "a b=", "a-_=", "data:image/png,aGk="])
def test_decode_sloppy_base64_is_refused(text: str) -> None:
    assert code(text) == Code.IMAGE_NOT_BASE64


def test_decode_nothing_is_empty() -> None:
    assert code("") == code(b"") == Code.IMAGE_EMPTY


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + checksum


def _png(width: int, height: int, *extra: bytes) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(b"\0"))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + pixels + _chunk(b"IEND", b"")


BOMBS = {
    "huge": _png(100_000, 100_000),
    "largest": _png(2**31 - 1, 2**31 - 1),
    "text": _png(8, 8, *[_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))] * 3),
    "profile": _png(8, 8, _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(50_000_000)))),
    "frames": _png(8, 8, _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
}


@pytest.mark.parametrize("name", BOMBS)
def test_decode_bomb_is_an_error_object(name: str) -> None:
    assert code(BOMBS[name]) in {Code.IMAGE_TOO_LARGE, Code.IMAGE_UNREADABLE}


def test_decode_bad_file_never_raises_and_answers_with_pixels_or_a_code(bad_file: BadFile) -> None:
    answer = decode(bad_file.make(), is_upright=True, max_pixels=LIMIT)
    if "error" in answer:
        assert set(answer) == {"error"}
        assert Code(answer["error"]).value.startswith("image_")
    else:
        assert len(answer["pixels"]) == 3 * answer["width"] * answer["height"]
