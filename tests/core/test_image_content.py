"""Images: keys of their content, thumbnails, and the cost of the import."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from PIL import Image, ImageChops, ImageStat

from visreward.core.errors import ImageError, UsageError
from visreward.core.images import (
    AS_RELEASED,
    content_key,
    read_image,
    thumbnail_data_uri,
)

if TYPE_CHECKING:
    from tests.core.conftest import RunPython

WHITE = (255, 255, 255)


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


def opened(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


# Keys


def test_content_key_of_file_is_sha256_under_any_name(
    corpus: dict[str, bytes], tmp_path: Path
) -> None:
    body = corpus["plain.jpg"]
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_bytes(body)
        assert content_key(tmp_path / name) == hashlib.sha256(body).hexdigest()
    assert content_key(body) == content_key(str(tmp_path / "a.jpg"))
    assert content_key(body) != content_key(corpus["plain.png"])


@pytest.mark.parametrize(("name", "phrase"), [("none.png", "does not exist"), ("", "directory")])
def test_content_key_of_missing_file_is_refused(tmp_path: Path, name: str, phrase: str) -> None:
    with pytest.raises(ImageError, match=phrase):
        content_key(tmp_path / name)


def test_content_key_of_equal_pictures_is_equal(plain: Image.Image) -> None:
    assert content_key(plain) == content_key(plain.copy())


def test_content_key_of_pictures_that_read_differently_differs(plain: Image.Image) -> None:
    palette = Image.new("P", (32, 24))
    palette.putpalette([1, 2, 3])
    other_palette = Image.new("P", (32, 24))
    other_palette.putpalette([3, 2, 1])
    clear = palette.copy()
    clear.info["transparency"] = 0
    turned = plain.copy()
    turned.getexif()[0x0112] = 6
    pictures = [
        plain,
        turned,
        plain.convert("L"),
        plain.resize((24, 32)),
        plain.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        palette,
        other_palette,
        clear,
        Image.new("L", (2, 3)),
        Image.new("L", (3, 2)),
    ]
    assert len({content_key(picture) for picture in pictures}) == len(pictures)


def test_content_key_is_stable_when_the_picture_is_read(corpus: dict[str, bytes]) -> None:
    picture = opened(corpus["palette_half_clear.png"])
    key = content_key(picture)
    read_image(picture)
    read_image(picture, rule=AS_RELEASED)
    assert content_key(picture) == key


# Thumbnails


@pytest.mark.parametrize("encoding", ["jpeg", "webp"])
def test_thumbnail_data_uri_holds_a_small_picture_of_the_same_shape(
    plain: Image.Image, encoding: Literal["jpeg", "webp"]
) -> None:
    uri = thumbnail_data_uri(plain, max_side=16, encoding=encoding)
    head, body = uri.split(",")
    assert head == f"data:image/{encoding};base64"
    small = opened(base64.b64decode(body, validate=True))
    assert (small.format, small.size) == (encoding.upper(), (16, 12))
    assert mean_difference(small.convert("RGB"), plain.resize((16, 12))) < 12
    assert uri == thumbnail_data_uri(plain, max_side=16, encoding=encoding)


def test_thumbnail_data_uri_keeps_small_and_thin_pictures_whole(plain: Image.Image) -> None:
    for size, expected in (((32, 24), (32, 24)), ((600, 1), (64, 1)), ((1, 600), (1, 64))):
        uri = thumbnail_data_uri(plain.resize(size), max_side=64)
        assert opened(base64.b64decode(uri.split(",")[1])).size == expected


def test_thumbnail_data_uri_shows_transparency_as_white() -> None:
    uri = thumbnail_data_uri(Image.new("RGBA", (8, 8)), max_side=4)
    assert opened(base64.b64decode(uri.split(",")[1])).getpixel((0, 0)) == WHITE


def test_thumbnail_data_uri_without_a_side_is_refused(plain: Image.Image) -> None:
    with pytest.raises(UsageError, match="max_side is 0"):
        thumbnail_data_uri(plain, max_side=0)


# Cost


def test_images_module_imports_neither_torch_nor_numpy(run_python: RunPython) -> None:
    code = "import sys, visreward.core.images as i; print({'torch', 'numpy'} & set(sys.modules))"
    assert run_python(code).strip() == "set()"
