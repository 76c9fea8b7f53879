"""Which files count as images: known by their first bytes, checked up to their last ones.

A file's name says nothing here: a JPEG called `a.png` is read as the JPEG that it is.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO, Final, Literal, TypeAlias

ImageFormat: TypeAlias = Literal["JPEG", "PNG", "WebP", "BMP", "GIF"]

ACCEPTED_FORMATS: Final = "JPEG, PNG, WebP, BMP or GIF"
"""The formats that are read, for error messages."""

HEAD_BYTES: Final = 512
"""How many first bytes `image_format_of` and `describe_foreign` want to see."""

_BLOCK_BYTES: Final = 1 << 16

_SIGNATURES: Final[tuple[tuple[bytes, ImageFormat], ...]] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
)

_BMP_HEADER_BYTES: Final = (12, 40, 52, 56, 64, 108, 124)

_FOREIGN: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"II*\0", "a TIFF file"),
    (0, b"MM\0*", "a TIFF file"),
    (0, b"II+\0", "a BigTIFF file"),
    (0, b"MM\0+", "a BigTIFF file"),
    (0, b"\0\0\1\0", "an ICO file"),
    (0, b"\0\0\2\0", "a CUR file"),
    (0, b"icns", "an ICNS file"),
    (0, b"8BPS", "a PSD file"),
    (0, b"%PDF", "a PDF file"),
    (0, b"%!PS", "an EPS or PostScript file"),
    (4, b"ftypavif", "an AVIF file"),
    (4, b"ftypavis", "an AVIF file"),
    (4, b"ftyphei", "a HEIC file"),
    (4, b"ftyphev", "a HEIC file"),
    (4, b"ftypmif1", "a HEIF file"),
    (4, b"ftyp", "a video file"),
    (0, b"\x1aE\xdf\xa3", "a video file"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (0, b"\xff\x0a", "a JPEG XL file"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
    (0, b"P1\n", "a PBM file"),
    (0, b"P2\n", "a PGM file"),
    (0, b"P3\n", "a PPM file"),
    (0, b"P4\n", "a PBM file"),
    (0, b"P5\n", "a PGM file"),
    (0, b"P6\n", "a PPM file"),
    (0, b"DDS ", "a DDS file"),
    (0, b"qoif", "a QOI file"),
    (0, b"v/1\x01", "an OpenEXR file"),
    (0, b"#?RADIANCE", "a Radiance HDR file"),
    (0, b"\x8aMNG", "an MNG file"),
    (0, b"RIFF", "a RIFF file without a WebP picture"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the image itself (run: git lfs pull)"),
)


def image_format_of(head: bytes) -> ImageFormat | None:
    """Return the accepted format whose signature the first bytes carry, or None.

    Args:
        head: The file's first `HEAD_BYTES` bytes, or all of a shorter file.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES:
        return "BMP"
    return next((name for signature, name in _SIGNATURES if head.startswith(signature)), None)


def describe_foreign(head: bytes) -> str:
    """Return what a file that is not accepted looks like, as in `a TIFF file`.

    Args:
        head: The file's first `HEAD_BYTES` bytes, or all of a shorter file.
    """
    for offset, signature, description in _FOREIGN:
        if head[offset : offset + len(signature)] == signature:
            return description
    if not _is_text(head):
        return "in no format that is known here"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        return "an SVG file"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page (HTML), not an image"
    return "text, not an image"


def find_damage(stream: BinaryIO, image_format: ImageFormat, *, pixels_start: int) -> str | None:
    """Return what is missing between a file's header and its end, or None.

    Pillow accepts some files whose last bytes are lost or zeroed and makes up the rest of
    the picture. This reads the container once, without decoding, in blocks: PNG chunks up to
    IEND with the checksums of the critical ones, the JPEG end-of-image marker, the length in
    the WebP header. BMP and GIF have no such mark; there the decoder notices.

    Args:
        stream: Seekable; its position afterwards is not defined.
        image_format: From `image_format_of`.
        pixels_start: Offset in bytes where the header of a JPEG ends, behind which its
            end-of-image marker must be. Other formats ignore it.

    Returns:
        The end of a sentence, such as `is truncated: ...` or `is corrupt: ...`, or None for
        a container that is whole. The compressed pixels may still be damaged.
    """
    if image_format == "PNG":
        return _png_damage(stream)
    if image_format == "JPEG":
        return _jpeg_damage(stream, pixels_start)
    if image_format == "WebP":
        return _webp_damage(stream)
    return None


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    # A multi-byte letter may be cut at the end of the head: up to 3 bytes of it are there.
    for num_cut in range(min(4, len(head))):
        try:
            text = head[: len(head) - num_cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return all(letter.isprintable() or letter.isspace() for letter in text.lstrip("\ufeff"))
    return False


def _png_damage(stream: BinaryIO) -> str | None:
    stream.seek(0)
    if stream.read(8) != b"\x89PNG\r\n\x1a\n":
        return "is corrupt: its line ends were changed, as by a transfer in text mode"
    has_pixels = False
    while len(header := stream.read(8)) == 8:
        num_left, kind = struct.unpack(">I4s", header)
        checksum = zlib.crc32(kind)
        while num_left and (block := stream.read(min(num_left, _BLOCK_BYTES))):
            checksum = zlib.crc32(block, checksum)
            num_left -= len(block)
        written = stream.read(4)
        if num_left or len(written) < 4:
            break
        is_critical = not kind[0] & 0x20
        if is_critical and checksum != int.from_bytes(written, "big"):
            return f"is corrupt: the checksum of its {kind.decode('latin-1')!r} chunk is wrong"
        if kind == b"acTL" and has_pixels:
            return "is corrupt: its 'acTL' chunk comes after the pixels"
        if kind == b"IEND":
            return None
        has_pixels = has_pixels or kind == b"IDAT"
    return "is truncated: it stops before its 'IEND' chunk"


def _jpeg_damage(stream: BinaryIO, pixels_start: int) -> str | None:
    stream.seek(pixels_start)
    last_byte = b""
    while block := stream.read(_BLOCK_BYTES):
        if b"\xff\xd9" in last_byte + block:
            return None
        last_byte = block[-1:]
    return "is truncated: it has no end-of-image marker"


def _webp_damage(stream: BinaryIO) -> str | None:
    num_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(4)
    num_claimed = 8 + int.from_bytes(stream.read(4), "little")
    if num_claimed > num_bytes:
        return f"is truncated: it has {num_bytes:,} of {num_claimed:,} bytes"
    return None
