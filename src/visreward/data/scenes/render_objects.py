"""Materials, shadows, and the painting of things onto a canvas.

Canvas: (H, W, 3) float32, 0 to 1 as displayed. A stamp is what one copy of a thing does to the
canvas under it: canvas * keep + add.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visreward.data.scenes.grammar import Thing
from visreward.data.scenes.layout import Placement
from visreward.data.scenes.lighting import Light
from visreward.data.scenes.render_shapes import EXTENT, Plane, Surface, coverage, surface_of

Picture = NDArray[np.floating]

COLOUR_VALUES: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.08, 0.10),
    "orange": (1.00, 0.50, 0.03),
    "yellow": (1.00, 0.88, 0.10),
    "green": (0.10, 0.62, 0.18),
    "blue": (0.10, 0.28, 0.90),
    "purple": (0.56, 0.14, 0.74),
    "white": (0.97, 0.97, 0.96),
    "black": (0.075, 0.075, 0.085),
}
_BARK = np.array((0.36, 0.20, 0.09), np.float32)
_STRIPES = 2.0
"""Grain lines per radius: about 3 pixels each on the smallest thing at 64 pixels."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What one copy does to the canvas, and where its centre lies.

    Attributes:
        keep: (h, w, 3) factor on what is behind.
        add: (h, w, 3) light that the thing sends.
        left: Columns from the left edge of the stamp to the centre of the thing, in pixels.
        top: Rows from the top edge of the stamp to the centre of the thing, in pixels.
    """

    keep: Picture
    add: Picture
    left: float
    top: float


def paint_things(
    canvas: Picture, things: tuple[Thing, ...], placed: tuple[Placement, ...], light: Light
) -> None:
    """Paint all copies of all things onto the canvas in place, the far ones first."""
    stamps = {}
    for placement in placed:
        if placement.thing not in stamps:
            stamps[placement.thing] = _stamp(things[placement.thing], placement, canvas, light)
    if light.shadow:
        for placement in placed:
            _paint_shadow(canvas, things[placement.thing], placement, light)
    for placement in sorted(placed, key=lambda p: p.y + p.radius):
        stamp = stamps[placement.thing]
        size = canvas.shape[0]
        left = round(placement.x * size - stamp.left)
        top = round(placement.y * size - stamp.top)
        _apply(canvas, stamp.keep, stamp.add, left, top)


def _stamp(thing: Thing, placement: Placement, canvas: Picture, light: Light) -> Stamp:
    """Return the stamp of a thing at the sub-pixel position of its first copy."""
    size = canvas.shape[0]
    radius = placement.radius * size
    left = int(np.floor(placement.x * size - EXTENT * radius)) - 1
    top = int(np.floor(placement.y * size - EXTENT * radius)) - 1
    side = int(np.ceil(2 * EXTENT * radius)) + 3
    at = np.arange(side, dtype=np.float32) + np.float32(0.5)
    u = ((at + np.float32(left - placement.x * size)) / np.float32(radius))[None, :]
    v = ((at + np.float32(top - placement.y * size)) / np.float32(radius))[:, None]
    pixel = 1 / radius
    surface = surface_of(thing.shape, u, v, pixel)
    cover = coverage(surface.distance, pixel)[..., None]
    colour = np.array(COLOUR_VALUES[thing.colour], np.float32)
    seen, behind = _MATERIALS[thing.material](surface, colour, light, pixel)
    keep = 1 - cover * (1 - behind)
    return Stamp(
        np.ascontiguousarray(np.broadcast_to(keep, seen.shape)),
        np.clip(seen, 0, 1.2) * cover,
        placement.x * size - left,
        placement.y * size - top,
    )


Look = tuple[Picture, "Picture | np.float32"]
"""Light sent, (h, w, 3), and the share of what is behind that shines through."""


def _rubber(surface: Surface, colour: Picture, light: Light, pixel: float) -> Look:
    del pixel
    shade = _diffuse(surface, light) * (0.70 + 0.30 * surface.nz)[..., None]
    sheen = 0.10 * _highlight(surface, light, 6)
    return shade * colour + _sent(sheen, light), np.float32(0)


def _wooden(surface: Surface, colour: Picture, light: Light, pixel: float) -> Look:
    lines = surface.grain + 0.10 * np.sin(2.6 * surface.along + 0.7)
    stripe = 0.5 + 0.5 * np.sin(np.float32(2 * np.pi * _STRIPES) * lines)
    fade = np.float32(np.exp(-((3.2 * _STRIPES * pixel) ** 2)))
    fine = fade * 0.22 * np.sin(np.float32(2 * np.pi * 3.2 * _STRIPES) * lines + 3 * surface.along)
    mix = np.clip(0.85 * stripe**1.5 + fine, 0, 1)[..., None]
    pale = 0.86 * colour + 0.14 * np.array((0.72, 0.50, 0.28), np.float32)
    dark = 0.38 * colour + 0.62 * _BARK * (0.50 + 0.70 * colour.mean())
    shade = _diffuse(surface, light) * (0.75 + 0.25 * surface.nz)[..., None]
    return shade * (pale + (dark - pale) * mix), np.float32(0)


def _metal(surface: Surface, colour: Picture, light: Light, pixel: float) -> Look:
    """Return a mirror: a bright sky, a dark band at the horizon and a mid-bright ground."""
    del pixel
    up = -2 * surface.nz * surface.ny
    aside = 2 * surface.nz * surface.nx
    sky = 0.55 + 0.75 * np.clip(up + 0.15, 0, 1)
    ground = 0.38 + 0.70 * np.clip(-up, 0, 1)
    band = np.exp(-(((up - 0.02 + 0.2 * aside) / 0.17) ** 2)) * (1 - aside * aside)
    lamp = np.exp(-(((aside + 0.62) / 0.26) ** 2)) - 0.55 * np.exp(-(((aside - 0.5) / 0.3) ** 2))
    mirror = np.where(up > 0, sky, ground) * (1 - 0.68 * np.clip(band, 0, 1)) + 0.40 * lamp
    mirror = np.clip(mirror, 0.16, 1.4)
    tone = np.asarray(light.ambient, np.float32) + 0.60 * np.asarray(light.key, np.float32)
    body = mirror[..., None] * (0.90 * colour + 0.10) * tone
    glare = 0.28 * np.clip(up - 0.30, 0, 1) + 1.25 * _highlight(surface, light, 40)
    return body + _sent(glare, light), np.float32(0)


def _glass(surface: Surface, colour: Picture, light: Light, pixel: float) -> Look:
    """Return a tinted see-through body with a coloured rim, a glint and a bright far side."""
    del pixel
    rim = np.clip(1 - surface.nz, 0, 1) ** 1.5
    outline = np.exp(-((surface.distance / 0.10) ** 2))
    thick = np.clip(0.22 + 0.48 * rim + 0.45 * outline, 0, 1)[..., None]
    tint = 0.15 + 0.85 * colour
    behind = tint * (1 - thick)
    far_side = np.clip(0.8 * surface.ny - 0.5 * surface.nx * light.direction[0] - 0.1, 0, 1)
    lamp = np.asarray(light.ambient, np.float32) + 0.55 * np.asarray(light.key, np.float32)
    body = colour * lamp * thick * 0.95
    glow = (0.45 * far_side)[..., None] * (0.35 + 0.65 * colour) * lamp
    glint = 1.3 * _highlight(surface, light, 55) + 0.30 * outline * np.clip(-surface.ny, 0, 1)
    return body + glow + _sent(glint, light), behind


def _diffuse(surface: Surface, light: Light) -> Picture:
    x, y, z = light.direction
    facing = np.clip(surface.nx * x + surface.ny * y + surface.nz * z, 0, 1)
    key = np.asarray(light.key, np.float32)
    lit: Picture = facing[..., None] * key + np.asarray(light.ambient, np.float32)
    return lit


def _highlight(surface: Surface, light: Light, sharpness: float) -> Plane:
    """Return a Blinn highlight: the normal against the half vector, to a power."""
    half = np.asarray(light.direction, np.float32) + np.array((0, 0, 1), np.float32)
    half /= np.sqrt(half @ half)
    facing = np.clip(surface.nx * half[0] + surface.ny * half[1] + surface.nz * half[2], 0, 1)
    shine: Plane = np.float32(light.gloss) * facing**sharpness
    return shine


def _sent(amount: Plane, light: Light) -> Picture:
    key = np.asarray(light.key, np.float32)
    sent: Picture = amount[..., None] * (key / key.max())
    return sent


def _paint_shadow(canvas: Picture, thing: Thing, placement: Placement, light: Light) -> None:
    """Darken the ground at the foot of a copy, away from the light."""
    size = canvas.shape[0]
    radius = placement.radius * size
    x = placement.x * size - light.direction[0] * 0.55 * radius
    y = placement.y * size + 0.88 * radius
    wide, flat = 1.15 * radius, 0.36 * radius
    left, top = int(np.floor(x - 2 * wide)), int(np.floor(y - 2 * flat))
    columns = left + np.arange(int(4 * wide) + 2, dtype=np.float32) + np.float32(0.5 - x)
    rows = top + np.arange(int(4 * flat) + 2, dtype=np.float32) + np.float32(0.5 - y)
    profile = np.exp(-((columns / np.float32(wide * 0.85)) ** 2))[None, :]
    dark = np.exp(-((rows / np.float32(flat * 0.85)) ** 2))[:, None] * profile
    strength = np.float32(light.shadow * (0.6 if thing.material == "glass" else 1.0))
    keep = np.broadcast_to((1 - strength * dark)[..., None], (*dark.shape, 3))
    _apply(canvas, keep, np.float32(0), left, top)


def _apply(canvas: Picture, keep: Picture, add: Picture | np.float32, left: int, top: int) -> None:
    """Do canvas * keep + add in place where the patch lies on the canvas."""
    height, width = canvas.shape[:2]
    y0, x0 = max(0, -top), max(0, -left)
    y1, x1 = min(keep.shape[0], height - top), min(keep.shape[1], width - left)
    if y1 <= y0 or x1 <= x0:
        return
    under = canvas[top + y0 : top + y1, left + x0 : left + x1]
    under *= keep[y0:y1, x0:x1]
    under += add if isinstance(add, np.float32) else add[y0:y1, x0:x1]


_MATERIALS: dict[str, Callable[[Surface, Picture, Light, float], Look]] = {
    "rubber": _rubber,
    "metal": _metal,
    "glass": _glass,
    "wooden": _wooden,
}
