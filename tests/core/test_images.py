"""Images: the pixels that each reading rule gives."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from visreward.core.errors import ImageError
from visreward.core.images import (
    AS_RELEASED,
    UPRIGHT,
    ReadingRule,
    content_key,
    read_image,
)
from visreward.core.types import ImageSource

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


def opened(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


# Orientation


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image_of_each_orientation_is_upright(
    plain: Image.Image, orientation: int, form: str
) -> None:
    # From the EXIF standard: where row 0 and column 0 of the stored pixels belong.
    stored = {
        1: lambda picture: picture,
        2: lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda picture: picture.rotate(180),
        4: lambda picture: picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda picture: picture.transpose(Image.Transpose.TRANSPOSE),
        6: lambda picture: picture.rotate(90, expand=True),
        7: lambda picture: picture.transpose(Image.Transpose.TRANSVERSE),
        8: lambda picture: picture.rotate(-90, expand=True),
    }[orientation](plain)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, form, exif=exif, quality=100 if form != "PNG" else 0, lossless=True)
    body = buffer.getvalue()
    tolerance = 8 if form == "JPEG" else 0
    assert mean_difference(read_image(body), plain) <= tolerance
    assert mean_difference(read_image(opened(body)), plain) <= tolerance
    assert read_image(body, rule=AS_RELEASED).size == stored.size
    only_turned = ReadingRule(apply_orientation=True, alpha="drop")
    assert read_image(body, rule=only_turned).tobytes() == read_image(body).tobytes()


def test_read_image_result_cannot_be_turned_twice(corpus: dict[str, bytes]) -> None:
    image = read_image(corpus["exif_turned.jpg"])
    assert image.info == {}
    assert dict(image.getexif()) == {}


def test_read_image_unknown_orientation_is_left_as_stored(plain: Image.Image) -> None:
    for orientation in (0, 9, 77):
        exif = Image.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        plain.save(buffer, "PNG", exif=exif)
        assert read_image(buffer.getvalue()).tobytes() == plain.tobytes()


# Modes


def test_read_image_16_bit_ramp_keeps_every_step(corpus: dict[str, bytes]) -> None:
    image = read_image(corpus["grey_16_bits.png"])
    assert list(image.getchannel(0).tobytes()) == list(range(256))
    assert image.getchannel(0).tobytes() == image.getchannel(2).tobytes()


def test_read_image_16_bit_ramp_as_released_is_clipped(corpus: dict[str, bytes]) -> None:
    image = read_image(corpus["grey_16_bits.png"], rule=AS_RELEASED)
    assert list(image.getchannel(0).tobytes()) == [0] + [255] * 255


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_read_image_16_bit_picture_takes_the_high_byte(mode: str) -> None:
    order: Literal["big", "little"] = "big" if mode.endswith("B") else "little"
    values = [0, 255, 256, 0x7FFF, 0x8000, 65535]
    body = b"".join(value.to_bytes(2, order) for value in values)
    picture = Image.frombytes(mode, (6, 1), body)
    assert list(read_image(picture).getchannel(0).tobytes()) == [0, 0, 1, 127, 128, 255]


def test_read_image_16_bit_transparent_grey_is_white(plain: Image.Image) -> None:
    values = [0x1234, 0x1235, 0x1334, 0x1234]
    body = b"".join(value.to_bytes(2, "little") for value in values)
    picture = Image.frombytes("I;16", (4, 1), body)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=0x1234)
    image = read_image(buffer.getvalue())
    assert list(image.getchannel(0).tobytes()) == [255, 0x12, 0x13, 255]


@pytest.mark.parametrize("name", ["cmyk_adobe.jpg", "cmyk_without_marker.jpg", "ycck.jpg"])
def test_read_image_cmyk_jpeg_is_close_to_the_rgb_picture(
    corpus: dict[str, bytes], plain: Image.Image, name: str
) -> None:
    assert opened(corpus[name]).mode == "CMYK"
    assert mean_difference(read_image(corpus[name]), plain) < 8


def test_read_image_palette_with_clear_index_shows_white(corpus: dict[str, bytes]) -> None:
    image = read_image(corpus["palette_one_clear.png"])
    assert (image.getpixel((0, 0)), image.getpixel((31, 23))) == (WHITE, BLUE)
    released = read_image(corpus["palette_one_clear.png"], rule=AS_RELEASED)
    assert (released.getpixel((0, 0)), released.getpixel((31, 23))) == (RED, BLUE)


def test_read_image_palette_with_half_alpha_blends_with_white(corpus: dict[str, bytes]) -> None:
    image = read_image(corpus["palette_half_clear.png"])
    assert image.getpixel((0, 0)) == (255, 127, 127)
    assert image.getpixel((31, 23)) == BLUE


@pytest.mark.parametrize(
    "name", ["alpha.png", "grey_alpha.png", "lossless_alpha.webp", "one_clear.gif"]
)
def test_read_image_alpha_is_composited_on_white(
    corpus: dict[str, bytes], plain: Image.Image, name: str
) -> None:
    image = read_image(corpus[name])
    left, right = (0, 0, 16, 24), (16, 0, 32, 24)
    assert image.crop(left).getcolors() == [(16 * 24, WHITE)]
    released = read_image(corpus[name], rule=AS_RELEASED)
    assert image.crop(right).tobytes() == released.crop(right).tobytes()
    if name != "lossless_alpha.webp":  # the encoder blackens what cannot be seen
        assert released.crop(left).getcolors() != [(16 * 24, WHITE)]


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa", "PA"])
def test_read_image_given_picture_with_alpha_shows_white_where_clear(mode: str) -> None:
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (90, 90, 90, 255))
    if mode == "La":
        picture = picture.convert("LA")
    image = read_image(picture.convert(mode))
    assert [image.getpixel((0, 0)), image.getpixel((1, 0))] == [WHITE, (90, 90, 90)]


@pytest.mark.parametrize("key", ["colour_key.png", "grey_key.png"])
def test_read_image_key_colour_shows_white(corpus: dict[str, bytes], key: str) -> None:
    stored = opened(corpus[key])
    clear = stored.info["transparency"]
    stored.load()
    stored.putpixel((3, 2), clear)
    assert read_image(stored).getpixel((3, 2)) == WHITE
    assert read_image(stored, rule=AS_RELEASED).getpixel((3, 2)) != WHITE


@settings(max_examples=50, deadline=None)
@given(
    colour=st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)),
    alpha=st.integers(0, 255),
)
def test_read_image_any_colour_and_alpha_is_the_blend_with_white(
    colour: tuple[int, int, int], alpha: int
) -> None:
    image = read_image(Image.new("RGBA", (1, 1), (*colour, alpha)))
    pixel = image.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    for got, value in zip(pixel, colour, strict=True):
        assert abs(got - (value * alpha + 255 * (255 - alpha)) / 255) <= 1


@pytest.mark.parametrize("mode", ["I", "F"])
def test_read_image_mode_without_range_is_refused(mode: str) -> None:
    with pytest.raises(ImageError, match=f"is in mode '{mode}', whose values have no fixed range"):
        read_image(Image.new(mode, (2, 2)))
    released = read_image(Image.new(mode, (2, 2), 300), rule=AS_RELEASED)
    assert released.getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_read_image_opaque_mode_agrees_with_plain_convert(plain: Image.Image, mode: str) -> None:
    picture = plain.convert("RGB" if mode == "RGBX" else mode)
    assert read_image(picture).tobytes() == picture.convert("RGB").tobytes()


# Given pictures and animations


@pytest.mark.parametrize("name", ["animated.png", "animated.webp", "animated.gif"])
def test_read_image_animation_shows_first_frame(
    corpus: dict[str, bytes], plain: Image.Image, name: str
) -> None:
    stored = opened(corpus[name])
    assert getattr(stored, "n_frames", 1) == 2
    assert mean_difference(read_image(corpus[name]), plain) < 8


def test_read_image_given_picture_is_copied_and_left_alone(corpus: dict[str, bytes]) -> None:
    picture = opened(corpus["palette_half_clear.png"])
    picture.load()
    info, pixels = dict(picture.info), picture.tobytes()
    for rule in (UPRIGHT, AS_RELEASED):
        image = read_image(picture, rule=rule)
        image.paste((1, 2, 3), (0, 0, 32, 24))
    assert (picture.info, picture.tobytes(), picture.mode) == (info, pixels, "P")


def test_read_image_given_rgb_picture_is_a_copy(plain: Image.Image) -> None:
    image = read_image(plain)
    image.putpixel((0, 0), (1, 2, 3))
    assert plain.getpixel((0, 0)) != (1, 2, 3)


def test_read_image_given_truncated_picture_is_refused(corpus: dict[str, bytes]) -> None:
    with pytest.raises(ImageError, match="Image <picture> is truncated"):
        read_image(opened(corpus["cut_half.jpg"]))


@pytest.mark.parametrize("read", [read_image, content_key])
def test_given_picture_without_pixels_is_refused(
    read: Callable[[ImageSource], object],
) -> None:
    with pytest.raises(ImageError, match=r"has no pixels \(0 x 5\)"):
        read(Image.new("RGB", (0, 5)))
