"""Image formats: first bytes that are known, and ends that are missing."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visreward.core.image_formats import describe_foreign, find_damage, image_format_of


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"GIF87a", "GIF"),
        (b"GIF89a", "GIF"),
        (b"BM" + bytes(12) + b"\x28\0\0\0", "BMP"),
        (b"RIFF\0\0\0\0AVI LIST", None),
        (b"BM" + bytes(12) + b"\x29\0\0\0", None),
        (b"GIF90a", None),
        (b" \xff\xd8\xff", None),
        (b"", None),
    ],
)
def test_image_format_of_first_bytes_is_the_format_or_none(
    head: bytes, expected: str | None
) -> None:
    assert image_format_of(head) == expected


@given(head=st.binary(max_size=600))
def test_describe_foreign_of_any_bytes_is_one_phrase(head: bytes) -> None:
    assert describe_foreign(head).split()[0] in {"a", "an", "in", "text,"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words", "text, not an image"),
        ("\ufeffwords behind a mark", "text, not an image"),
        ("line\r\n\ttab", "text, not an image"),
        ("漢字", "text, not an image"),
        ("  \n<SVG>", "an SVG file"),
        ("<html lang='en'>", "a web page (HTML), not an image"),
        ("<?xml version='1.0'?><feed/>", "text, not an image"),
    ],
)
def test_describe_foreign_of_text_names_its_kind(text: str, expected: str) -> None:
    assert describe_foreign(text.encode()) == expected


@pytest.mark.parametrize("head", [b"\x80\x81", b"a\0b", b"\xe6", b"bell \x07", b""])
def test_describe_foreign_of_other_bytes_is_not_called_text(head: bytes) -> None:
    assert describe_foreign(head) == "in no format that is known here"


@pytest.mark.parametrize("num_before", [0, 1, 65534, 65535, 65536, 131071])
def test_find_damage_jpeg_marker_at_any_place_is_found(num_before: int) -> None:
    whole = io.BytesIO(bytes(num_before) + b"\xff\xd9")
    assert find_damage(whole, "JPEG", pixels_start=0) is None
    cut = io.BytesIO(bytes(num_before) + b"\xff")
    assert find_damage(cut, "JPEG", pixels_start=0) is not None


def test_find_damage_jpeg_marker_of_a_thumbnail_in_the_header_does_not_count() -> None:
    stream = io.BytesIO(b"\xff\xd8 thumbnail \xff\xd9 pixels")
    assert find_damage(stream, "JPEG", pixels_start=0) is None
    damage = find_damage(stream, "JPEG", pixels_start=15)
    assert damage == "is truncated: it has no end-of-image marker"


def test_find_damage_webp_with_bytes_behind_its_end_is_whole() -> None:
    body = b"RIFF\x04\0\0\0WEBP"
    assert find_damage(io.BytesIO(body + b"more"), "WebP", pixels_start=0) is None
    damage = find_damage(io.BytesIO(body[:-1]), "WebP", pixels_start=0)
    assert damage == "is truncated: it has 11 of 12 bytes"


def test_find_damage_formats_without_an_end_mark_are_left_to_the_decoder() -> None:
    assert find_damage(io.BytesIO(b"GIF89a"), "GIF", pixels_start=0) is None
    assert find_damage(io.BytesIO(b"BM"), "BMP", pixels_start=0) is None
