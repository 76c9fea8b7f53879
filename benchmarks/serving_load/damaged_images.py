"""Image files that are damaged, are no images, or are far larger than they look."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

_SIDE = 48
_BOMB_SIDE = 30_000
_FORMATS = ("JPEG", "PNG", "WebP")
_OTHER_FORMATS = ("GIF", "BMP", "TIFF", "PPM", "ICO", "EPS", "TGA", "PCX", "SGI")
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def damaged_images(num: int, *, seed: int) -> list[bytes]:
    """Return files that a decoder should refuse, or survive; the same ones for one seed.

    Bits are flipped, bytes cut out, doubled or replaced, and ends cut off, in JPEG, PNG and WebP
    files of several modes; others are bombs by their header or by a compressed chunk, animations,
    files of other formats, or no files at all.
    """
    rng = np.random.default_rng(seed)
    whole = [_encoded(rng, name, mode) for name in _FORMATS for mode in ("RGB", "L", "RGBA", "P")]
    found = [*_bombs(), *_animations(rng), *_others(rng), b"", b"\0", _PNG_HEAD, b"\xff\xd8\xff"]
    ways = (_flip, _cut, _end_early, _double, _replace, _shuffle_sizes)
    while len(found) < num:
        content = whole[int(rng.integers(len(whole)))]
        for _ in range(int(rng.integers(1, 4))):
            content = ways[int(rng.integers(len(ways)))](content, rng)
        found.append(content)
    return found[:num]


def _encoded(rng: np.random.Generator, name: str, mode: str) -> bytes:
    """Return a whole file of noise; JPEG has no transparency and no palette."""
    pixels = rng.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).convert("RGB" if name == "JPEG" and mode != "L" else mode)
    buffer = io.BytesIO()
    picture.save(buffer, format=name)
    return buffer.getvalue()


def _bombs() -> list[bytes]:
    """Return small files that would be large pictures, or large comments."""
    rows = zlib.compress(bytes(10_000_000), 9)
    sizes = [(100_000, 100_000), (_BOMB_SIDE, _BOMB_SIDE), (2**31 - 1, 1), (1, 2**31 - 1), (0, 0)]
    pngs = [
        _PNG_HEAD + _header(width, height) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")
        for width, height in sizes
    ]
    large_text = zlib.compress(bytes(64_000_000), 9)
    texts = [
        _PNG_HEAD
        + _header(8, 8)
        + _chunk(kind, b"x\0\0" + large_text)
        + _chunk(b"IDAT", zlib.compress(bytes(8 * 25)))
        + _chunk(b"IEND", b"")
        for kind in (b"zTXt", b"iCCP", b"iTXt")
    ]
    return pngs + texts


def _animations(rng: np.random.Generator) -> list[bytes]:
    frames = [Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(200)]
    found = []
    for name in ("PNG", "WebP", "GIF"):
        buffer = io.BytesIO()
        frames[0].save(buffer, format=name, save_all=True, append_images=frames[1:])
        found.append(buffer.getvalue())
    return found


def _others(rng: np.random.Generator) -> list[bytes]:
    pixels = rng.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
    found = []
    for name in _OTHER_FORMATS:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format=name)
        found.append(buffer.getvalue())
        found.append(_PNG_HEAD + buffer.getvalue())
    found += [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.4\n1 0 obj<<>>endobj",
        b"8BPS\0\1" + bytes(40),
        b"SIMPLE  =",
    ]
    return [*found, b"\x80\x04\x95pickle.", rng.bytes(300)]


def _header(width: int, height: int) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


Damage = Callable[[bytes, np.random.Generator], bytes]


def _place(content: bytes, rng: np.random.Generator) -> int:
    return int(rng.integers(max(1, len(content))))


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 20))):
        if changed:
            changed[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    start = _place(content, rng)
    return content[:start] + content[start + int(rng.integers(1, 64)) :]


def _end_early(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: _place(content, rng)]


def _double(content: bytes, rng: np.random.Generator) -> bytes:
    start, end = sorted((_place(content, rng), _place(content, rng)))
    return content[:end] + content[start:]


def _replace(content: bytes, rng: np.random.Generator) -> bytes:
    start, length = _place(content, rng), int(rng.integers(1, 32))
    return content[:start] + rng.bytes(length) + content[start + length :]


def _shuffle_sizes(content: bytes, rng: np.random.Generator) -> bytes:
    """Write a large number where formats keep their sizes: near the beginning."""
    start = int(rng.integers(4, 40))
    return content[:start] + struct.pack(">I", int(rng.integers(2**32))) + content[start + 4 :]
