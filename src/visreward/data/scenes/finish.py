"""A photographic finish: natural texture, focus and tone, laid over pictures alike.

Renders have clean surfaces, even focus and full colours; photographs do not, and a model that
has seen renders only takes fur, grass or a soft background for flaws. All pictures of a triplet
get the same finish, before any flaw, so that it tells nothing about which of them is better.

Pictures are (H, W, 3) with equal sides; inside this module float32, 0 to 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from visreward.data.scenes.noise import fractal_noise

Pixels = NDArray[np.uint8]
Picture = NDArray[np.floating]

_LEAVES_SHARE, _FOCUS_SHARE, _GREY_SHARE = 0.5, 0.35, 0.06
_NUM_LEAVES = (40, 160)
_LEAF_RADII = (0.02, 0.25)
"""As shares of the side; the density falls with the cube, as sizes do in photographs."""


def finish(image: Pixels, seed: int) -> Pixels:
    """Return a picture with a photographic finish; deterministic, one seed is one finish.

    Args:
        image: (S, S, 3) uint8, RGB.
        seed: Which finish, at least 0. Its coarse part is the same at every size.

    Returns:
        (S, S, 3) uint8; the input is left as it is.
    """
    rng = np.random.default_rng([seed, 0])
    picture: Picture = image.astype(np.float32) / np.float32(255)
    picture = _textured(picture, rng, seed)
    if rng.random() < _FOCUS_SHARE:
        picture = _focused(picture, rng, seed)
    picture = _toned(picture, rng)
    return (np.clip(picture, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)


def _textured(picture: Picture, rng: np.random.Generator, seed: int) -> Picture:
    """Lay a texture over everything: fibres and clouds, or leaves that hide each other."""
    side = picture.shape[0]
    if rng.random() < _LEAVES_SHARE:
        texture, strength = _leaves(rng, side), rng.uniform(0.15, 0.8)
    else:
        base, persistence = int(rng.choice((3, 6, 12, 24))), rng.uniform(0.65, 0.9)
        stretch = float(np.exp(rng.uniform(-1.4, 1.4)))
        plane = fractal_noise((seed, 1), side, base=base, stretch=stretch, persistence=persistence)
        tint = 1 + np.float32(rng.uniform(0, 0.3)) * rng.standard_normal(3).astype(np.float32)
        texture, strength = plane[..., None] * tint, rng.uniform(0.05, 0.3)
    textured: Picture = picture * (1 + np.float32(strength) * texture)
    textured += np.float32(0.15 * strength) * texture
    return textured


def _leaves(rng: np.random.Generator, side: int) -> Picture:
    """Return (side, side, 3) values around 0: discs of all sizes, each hiding what lies below."""
    canvas = np.broadcast_to(rng.uniform(-1, 1, 3).astype(np.float32), (side, side, 3)).copy()
    number = int(rng.integers(*_NUM_LEAVES))
    low, high = (radius**-2 for radius in _LEAF_RADII)
    radii = (high + (low - high) * rng.random(number)) ** -0.5 * side
    centres, slants = rng.uniform(0, side, (number, 2)), rng.uniform(0.45, 1, number)
    angles = rng.uniform(0, np.pi, number)
    greys, tints = rng.uniform(-1, 1, (number, 1)), rng.uniform(-0.35, 0.35, (number, 3))
    for radius, (x, y), slant, angle, value in zip(
        radii, centres, slants, angles, (greys + tints).astype(np.float32), strict=True
    ):
        top, left = max(0, int(y - radius)), max(0, int(x - radius))
        patch = canvas[top : int(y + radius) + 2, left : int(x + radius) + 2]
        down = np.arange(patch.shape[0], dtype=np.float32)[:, None] + np.float32(top + 0.5 - y)
        right = np.arange(patch.shape[1], dtype=np.float32)[None, :] + np.float32(left + 0.5 - x)
        along = right * np.float32(np.cos(angle)) + down * np.float32(np.sin(angle))
        across = down * np.float32(np.cos(angle)) - right * np.float32(np.sin(angle))
        distance = np.hypot(along, across / np.float32(slant)) - np.float32(radius)
        cover = np.clip(np.float32(0.5) - distance, 0, 1)[..., None]
        patch += cover * (value - patch)
    return canvas


def _focused(picture: Picture, rng: np.random.Generator, seed: int) -> Picture:
    """Leave one region sharp and soften the rest, as a lens does."""
    side = picture.shape[0]
    softness = rng.uniform(0.006, 0.025) * side
    as_image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    soft = np.asarray(as_image.filter(ImageFilter.GaussianBlur(softness)), np.float32) / 255
    region = fractal_noise((seed, 2), side, base=2, octaves=2) * np.float32(1.5)
    share = np.clip(region + np.float32(rng.uniform(0, 0.9)), 0, 1)[..., None]
    focused: Picture = soft + share * (picture - soft)
    return focused


def _toned(picture: Picture, rng: np.random.Generator) -> Picture:
    """Change gamma, contrast, brightness and saturation."""
    toned: Picture = np.clip(picture, 0, 1) ** np.float32(np.exp(rng.uniform(-0.45, 0.45)))
    contrast, lift = rng.uniform(0.6, 1.1), rng.uniform(-0.06, 0.06)
    toned = (toned - np.float32(0.5)) * np.float32(contrast) + np.float32(0.5 + lift)
    red, green, blue = (toned[..., k : k + 1] for k in range(3))
    grey = np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue
    saturation = 0.0 if rng.random() < _GREY_SHARE else rng.uniform(0.3, 1.15)
    faded: Picture = grey + np.float32(saturation) * (toned - grey)
    return faded
