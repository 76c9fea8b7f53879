"""Technical flaws of graded severity, for renders and for photographs of any size.

Lengths are shares of the image's shorter side, so that a flaw looks equally bad on a 64 pixel
render and a 512 pixel photograph. Inside this module a picture is (H, W, 3) float32, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from visreward.core.errors import ShapeError, UnknownNameError, UsageError

Pixels = NDArray[np.uint8]
Picture = NDArray[np.floating]

MIN_SIDE = 16
SEVERITIES = (1, 2, 3, 4, 5)
_COARSE_SIDE = 64
"""Grain and compression blocks are made at this side and enlarged."""


def apply_flaw(image: Pixels, kind: str, severity: int, rng: np.random.Generator) -> Pixels:
    """Return the image with a technical flaw; deterministic given `rng`.

    Args:
        image: (H, W, 3) uint8, RGB, both sides at least 16.
        kind: A name in FLAWS.
        severity: 1 (barely visible) to 5 (gross).
        rng: Source of randomness.

    Returns:
        (H, W, 3) uint8; the input is left as it is.

    Raises:
        UnknownNameError: if the kind is unknown.
        UsageError: if the severity is not 1 to 5.
        ShapeError: if the image is not (H, W, 3) uint8 with sides of at least 16.
    """
    if kind not in FLAWS:
        raise UnknownNameError(f"Unknown flaw {kind!r}. Use one of: {', '.join(FLAWS)}")
    if severity not in SEVERITIES:
        raise UsageError(f"The severity is {severity}. Give a whole number from 1 to 5.")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(
            f"The image has shape {image.shape} and type {image.dtype}. Give (H, W, 3) uint8."
        )
    if min(image.shape[:2]) < MIN_SIDE:
        raise ShapeError(
            f"The image has shape {image.shape}. Both sides must have {MIN_SIDE} pixels or more."
        )
    changed = FLAWS[kind](image.astype(np.float32), severity - 1, rng)
    return (np.clip(changed, 0, 255) + np.float32(0.5)).astype(np.uint8)


def _blur(image: Picture, level: int, rng: np.random.Generator) -> Picture:
    share = (0.008, 0.013, 0.019, 0.028, 0.042)[level] * rng.uniform(0.9, 1.1)
    soft = _as_image(image).filter(ImageFilter.GaussianBlur(share * _side(image)))
    return np.asarray(soft, np.float32)


def _noise(image: Picture, level: int, rng: np.random.Generator) -> Picture:
    spread = (5.0, 10.0, 19.0, 33.0, 52.0)[level]
    grey_share = rng.uniform(0.3, 0.8)
    rows, columns = _coarse_shape(image)
    grain = rng.standard_normal((rows, columns, 3), dtype=np.float32)
    grain = (1 - grey_share) * grain + grey_share * grain[..., :1]
    return image + np.float32(spread) * _enlarged(grain, image, Image.Resampling.BICUBIC)


def _jpeg_blocks(image: Picture, level: int, rng: np.random.Generator) -> Picture:
    """Add what JPEG does to a small copy, enlarged: blocks of an eighth of that copy."""
    quality = (68, 40, 20, 10, 3)[level] + int(rng.integers(0, 3))
    rows, columns = _coarse_shape(image)
    small = _as_image(image).resize((columns, rows), Image.Resampling.BOX)
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=quality, subsampling=2 if level else 0)
    damage = np.asarray(Image.open(buffer), np.float32) - np.asarray(small, np.float32)
    return image + _enlarged(damage, image, Image.Resampling.NEAREST)


def _banding(image: Picture, level: int, rng: np.random.Generator) -> Picture:
    step = (16.0, 26.0, 40.0, 60.0, 86.0)[level] * rng.uniform(0.92, 1.08)
    offset = rng.uniform(0, step)
    rounded: Picture = np.round((image - offset) / step) * np.float32(step) + np.float32(offset)
    return rounded


def _colour_cast(image: Picture, level: int, rng: np.random.Generator) -> Picture:
    strength = (0.06, 0.12, 0.20, 0.31, 0.45)[level]
    angle = rng.uniform(0, 2 * np.pi)
    thirds = angle + np.array((0, 2, 4)) * np.pi / 3
    direction = np.cos(thirds).astype(np.float32)
    tinted: Picture = image * (1 + np.float32(strength) * direction)
    tinted += np.float32(40 * strength) * direction
    return tinted


def _bad_crop(image: Picture, level: int, rng: np.random.Generator) -> Picture:
    """Shift the content out of the frame; the gap repeats the border or is empty."""
    share = (0.04, 0.09, 0.17, 0.28, 0.42)[level] * rng.uniform(0.9, 1.1)
    angle = rng.uniform(0, 2 * np.pi)
    down = round(share * float(np.sin(angle)) * image.shape[0])
    right = round(share * float(np.cos(angle)) * image.shape[1])
    shifted = _shifted(image, down, right)
    style = int(rng.integers(3))
    if style == 0:
        return shifted
    rows, columns = np.arange(image.shape[0]) - down, np.arange(image.shape[1]) - right
    is_in_rows = (rows >= 0) & (rows < image.shape[0])
    is_in_columns = (columns >= 0) & (columns < image.shape[1])
    inside = (is_in_rows[:, None] & is_in_columns[None, :])[..., None]
    fill = np.float32(0 if style == 1 else rng.uniform(60, 250))
    return np.where(inside, shifted, fill)


def _blown_highlights(image: Picture, level: int, rng: np.random.Generator) -> Picture:
    """Expose so that a share of the pixels clips to white, and let the light spread."""
    clipped = (0.03, 0.10, 0.22, 0.38, 0.58)[level]
    least = (1.06, 1.15, 1.30, 1.55, 2.00)[level] * rng.uniform(0.97, 1.03)
    most = (1.12, 1.30, 1.60, 2.20, 3.50)[level]
    bright = image.max(axis=2)
    white_point = max(float(np.quantile(bright, 1 - clipped)), 40.0)
    gain = min(max(least, 255.0 / white_point), most)
    exposed: Picture = np.clip(image * np.float32(gain), 0, 255)
    spread = _as_image(exposed).filter(ImageFilter.GaussianBlur(0.03 * _side(image)))
    glow = np.asarray(spread, np.float32) - 160
    exposed += np.float32(0.06 * (level + 1)) * np.clip(glow, 0, None)
    return exposed


def _ghosting(image: Picture, level: int, rng: np.random.Generator) -> Picture:
    weight = (0.16, 0.26, 0.36, 0.44, 0.50)[level]
    share = (0.030, 0.042, 0.058, 0.080, 0.110)[level] * rng.uniform(0.9, 1.15)
    angle = rng.uniform(0, 2 * np.pi)
    offset = max(1.0, share * _side(image))
    down, right = round(offset * float(np.sin(angle))), round(offset * float(np.cos(angle)))
    ghost = _shifted(image, down, right if (down, right) != (0, 0) else 1)
    return image + np.float32(weight) * (ghost - image)


def _seams(image: Picture, level: int, rng: np.random.Generator) -> Picture:
    """Cut the image into tiles, move each a little, change its brightness, show the joints."""
    move = (0.008, 0.016, 0.028, 0.045, 0.070)[level] * _side(image)
    step = (4.0, 8.0, 14.0, 22.0, 34.0)[level]
    line = (0.06, 0.12, 0.20, 0.30, 0.45)[level]
    tiles = int(rng.integers(2, 5))
    result = image.copy()
    height, width = image.shape[:2]
    row_edges = np.linspace(0, height, tiles + 1).round().astype(int)
    column_edges = np.linspace(0, width, tiles + 1).round().astype(int)
    thick = max(1, round(0.012 * _side(image)))
    for i in range(tiles):
        rows = np.arange(row_edges[i], row_edges[i + 1])
        for j in range(tiles):
            columns = np.arange(column_edges[j], column_edges[j + 1])
            down, right = np.rint(rng.uniform(-move, move, 2)).astype(int)
            from_rows = np.clip(rows + down, 0, height - 1)
            from_columns = np.clip(columns + right, 0, width - 1)
            tile = image[np.ix_(from_rows, from_columns)] + np.float32(rng.uniform(-step, step))
            tile[:thick] *= np.float32(1 - line) if i else 1
            tile[:, :thick] *= np.float32(1 - line) if j else 1
            result[np.ix_(rows, columns)] = tile
    return result


def _side(image: Picture) -> int:
    return int(min(image.shape[:2]))


def _coarse_shape(image: Picture) -> tuple[int, int]:
    """Return rows and columns of a copy whose shorter side is at most 64."""
    factor = min(1.0, _COARSE_SIDE / _side(image))
    return round(image.shape[0] * factor), round(image.shape[1] * factor)


def _enlarged(coarse: Picture, image: Picture, how: Image.Resampling) -> Picture:
    size = (image.shape[1], image.shape[0])
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(coarse[..., k])).resize(size, how))
        for k in range(3)
    ]
    return np.stack(planes, axis=2)


def _shifted(image: Picture, down: int, right: int) -> Picture:
    """Return the image moved by whole pixels; the border is repeated."""
    rows = np.clip(np.arange(image.shape[0]) - down, 0, image.shape[0] - 1)
    columns = np.clip(np.arange(image.shape[1]) - right, 0, image.shape[1] - 1)
    moved: Picture = image[rows][:, columns]
    return moved


def _as_image(image: Picture) -> Image.Image:
    return Image.fromarray((np.clip(image, 0, 255) + np.float32(0.5)).astype(np.uint8))


FLAWS: dict[str, Callable[[Picture, int, np.random.Generator], Picture]] = {
    "blur": _blur,
    "noise": _noise,
    "jpeg blocks": _jpeg_blocks,
    "banding": _banding,
    "colour cast": _colour_cast,
    "bad crop": _bad_crop,
    "blown highlights": _blown_highlights,
    "ghosting": _ghosting,
    "seams": _seams,
}
"""Each flaw by name: (picture, severity - 1, rng) -> picture, not yet clipped."""
