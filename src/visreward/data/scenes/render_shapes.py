"""The six shapes as signed distances and surface normals on a pixel grid.

Local coordinates: u to the right and v down, in radii from the centre; h and w are the sides of
the grid. Normals point right, down and towards the viewer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating]

EXTENT = 1.12
"""No shape reaches further than this from its centre, in radii."""


@dataclass(frozen=True, slots=True)
class Surface:
    """What a shape looks like before it has a material.

    Attributes:
        distance: (h, w) signed distance to the outline in radii, negative inside.
        nx: (h, w) normal to the right.
        ny: (h, w) normal downwards.
        nz: (h, w) normal towards the viewer, 0 to 1.
        grain: (h, w) coordinate across the grain of wood, in radii.
        along: (h, w) coordinate along the grain, in radii.
    """

    distance: Plane
    nx: Plane
    ny: Plane
    nz: Plane
    grain: Plane
    along: Plane


def surface_of(shape: str, u: Plane, v: Plane, pixel: float) -> Surface:
    """Return the surface of a shape.

    Args:
        shape: One of the grammar's SHAPES.
        u: (1, w) float32, to the right in radii.
        v: (h, 1) float32, down in radii.
        pixel: Width of a pixel in radii; softens the edges between faces.
    """
    u, v = np.broadcast_arrays(u, v)
    return _SHAPES[shape](u, v, pixel)


def coverage(distance: Plane, pixel: float) -> Plane:
    """Return how much of each pixel lies inside, 0 to 1, from a signed distance in radii."""
    inside: Plane = np.clip(0.5 - distance / np.float32(pixel), 0, 1)
    return inside


def _ball(u: Plane, v: Plane, pixel: float) -> Surface:
    del pixel
    squared = u * u + v * v
    nz = np.sqrt(np.maximum(1 - squared, 0))
    grain = 0.92 * v + 0.38 * u + 0.30 * u * u
    return Surface(np.sqrt(squared) - 1, u, v, nz, grain, u - 0.3 * v)


def _cube(u: Plane, v: Plane, pixel: float) -> Surface:
    """Return a box in oblique projection: a front, a top and a right face."""
    edge, far = np.float32(0.46), np.float32(0.90)
    corner = np.float32(np.sqrt(0.5))
    distance = np.maximum(np.maximum(np.abs(u), np.abs(v)) - far, (-far - edge - u - v) * corner)
    distance = np.maximum(distance, (u + v - far - edge) * corner)
    return _faces(distance, u, v, pixel, edge)


def _faces(distance: Plane, u: Plane, v: Plane, pixel: float, edge: np.float32) -> Surface:
    is_back = np.maximum(coverage(v + edge, pixel), coverage(edge - u, pixel))
    is_top = coverage(u + v, pixel * 1.4) * is_back
    is_side = is_back - is_top
    is_front = 1 - is_back
    nx = 0.30 * (u + 0.2) * is_front + (0.25 * u) * is_top + 0.90 * is_side
    ny = (0.10 + 0.30 * (v - 0.2)) * is_front - 0.93 * is_top + (0.10 + 0.3 * v) * is_side
    nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0.02, 1))
    grain = v * is_front + (1.6 * v + 0.4) * is_top + (u + v) * is_side
    along = u * is_front + (u + v) * is_top + 1.5 * u * is_side
    return Surface(distance, nx, ny, nz, grain, along)


def _cylinder(u: Plane, v: Plane, pixel: float) -> Surface:
    half, reach, flat = np.float32(0.70), np.float32(0.74), np.float32(0.25)
    top = _ellipse(u, v + reach, half, flat)
    bottom = _ellipse(u, v - reach, half, flat)
    body = np.maximum(np.abs(u) - half, np.abs(v) - reach)
    distance = np.minimum(np.minimum(body, bottom), top)
    lid = coverage(top, pixel)
    across = np.clip(u / half, -1, 1)
    nx = across * (1 - lid) + 0.30 * u * lid
    ny = 0.06 * (1 - lid) + (0.5 * (v + reach) - 0.90) * lid
    nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0, 1))
    rings = np.sqrt((u / half) ** 2 + ((v + reach) / flat) ** 2) * 0.75
    grain = np.arcsin(across) * 0.70 * (1 - lid) + rings * lid
    return Surface(distance, nx, ny, nz, grain, v * (1 - lid))


def _cone(u: Plane, v: Plane, pixel: float) -> Surface:
    del pixel
    half, base, flat, tip = np.float32(0.94), np.float32(0.76), np.float32(0.22), np.float32(-1.04)
    slope = half / (base - tip)
    lean = 1 / np.sqrt(1 + slope * slope)
    sides = (np.abs(u) - (v - tip) * slope) * lean
    distance = np.minimum(np.maximum(sides, v - base), _ellipse(u, v - base, half, flat))
    width = np.maximum((v - tip) * slope, 0.02)
    across = np.clip(u / width, -1, 1)
    nx = across * 0.92
    ny = np.full_like(u, -0.34)
    nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0, 1))
    return Surface(distance, nx, ny, nz, np.arcsin(across) * 0.55, v)


def _ring(u: Plane, v: Plane, pixel: float) -> Surface:
    del pixel
    middle, tube = np.float32(0.72), np.float32(0.28)
    reach = np.maximum(np.sqrt(u * u + v * v), 1e-4)
    across = np.clip((reach - middle) / tube, -1, 1)
    nx, ny = across * u / reach, across * v / reach
    nz = np.sqrt(np.maximum(1 - across * across, 0))
    return Surface(np.abs(reach - middle) - tube, nx, ny, nz, v + 0.25 * u, u)


def _star(u: Plane, v: Plane, pixel: float) -> Surface:
    """Return a five-pointed star with a ridge along each ray, like folded paper."""
    outer, inner = np.float32(1.10), np.float32(0.50)
    step = np.float32(2 * np.pi / 5)
    v = v - np.float32(0.06)
    angle = np.arctan2(u, -v)
    turn = np.round(angle / step) * step
    reach = np.sqrt(u * u + v * v)
    side = reach * np.sin(angle - turn)
    forth = reach * np.cos(angle - turn)
    valley_x, valley_y = inner * np.sin(step / 2), inner * np.cos(step / 2)
    length = np.hypot(valley_x, outer - valley_y)
    out_side, out_forth = (outer - valley_y) / length, valley_x / length
    distance = np.abs(side) * out_side + (forth - outer) * out_forth
    face = np.clip(side / np.float32(pixel), -0.5, 0.5) * 2
    tilt = np.float32(0.72)
    cos, sin = np.cos(turn), np.sin(turn)
    nx = tilt * (cos * face * out_side + sin * out_forth)
    ny = tilt * (sin * face * out_side - cos * out_forth)
    nz = np.full_like(u, np.sqrt(1 - tilt * tilt))
    return Surface(distance, nx, ny, nz, v + 0.15 * u, u)


def _ellipse(u: Plane, v: Plane, half: np.float32, flat: np.float32) -> Plane:
    """Return the first-order distance to an ellipse: its equation over its gradient."""
    a, b = u / half, v / flat
    gradient = np.sqrt((a / half) ** 2 + (b / flat) ** 2)
    return (a * a + b * b - 1) / (2 * gradient + np.float32(1e-3))


_SHAPES: dict[str, Callable[[Plane, Plane, float], Surface]] = {
    "ball": _ball,
    "cube": _cube,
    "cylinder": _cylinder,
    "cone": _cone,
    "ring": _ring,
    "star": _star,
}
