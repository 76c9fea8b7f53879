from __future__ import annotations

import hashlib

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from visreward.core.resizing import are_rows_first, resized

sides = st.integers(1, 90)


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng([width, height])
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def one_way(image: Image.Image, size: tuple[int, int], *, rows_first: bool) -> bytes:
    middle = (image.width, size[1]) if rows_first else (size[0], image.height)
    bicubic = Image.Resampling.BICUBIC
    return image.resize(middle, bicubic).resize(size, bicubic).tobytes()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((220, 70), (252, 56), True),  # wider and lower
        ((220, 70), (112, 28), False),
        ((100, 200), (90, 180), False),  # exactly twice as many rows
        ((100, 200), (90, 179), True),
        ((100, 200), (100, 199), True),
        ((100, 100), (90, 120), False),
        ((100, 100), (120, 130), False),
    ],
)
def test_are_rows_first_where_more_than_twice_as_many_rows_go(
    before: tuple[int, int], after: tuple[int, int], expected: bool
) -> None:
    assert are_rows_first(before, after) is expected


@settings(deadline=None, max_examples=150)
@given(sides, sides, sides, sides)
def test_resized_is_one_pass_after_the_other(w: int, h: int, width: int, height: int) -> None:
    image, size = noise(w, h), (width, height)
    found = resized(image, size, Image.Resampling.BICUBIC)
    first = are_rows_first(image.size, size)
    assert found.tobytes() == one_way(image, size, rows_first=first)
    plain = image.resize(size, Image.Resampling.BICUBIC).tobytes()
    assert plain in {one_way(image, size, rows_first=each) for each in (True, False)}
    if int(PIL.__version__.split(".")[0]) >= 13:
        assert found.tobytes() == plain


def test_resized_wider_and_lower_has_the_pixels_of_pillow_13() -> None:
    # Made once with Pillow 13.0.0's own resize; Pillow 12.3.0's is another.
    image = noise(220, 70)
    found = resized(image, (252, 56), Image.Resampling.BICUBIC)
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == "809482a96c1d088d"


def test_resized_box_is_the_part_of_the_whole() -> None:
    image = noise(40, 30)
    part = resized(image, (20, 12), Image.Resampling.BICUBIC, box=(10, 6, 30, 18))
    assert part.tobytes() == image.crop((10, 6, 30, 18)).tobytes()
