"""Small things of the scenery: clouds, birds and stars above, flowers, pebbles and leaves below."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from visreward.data.scenes.grammar import DECORATIONS, Scene
from visreward.data.scenes.lighting import Colour, Light, light_of
from visreward.data.scenes.noise import Plane, fractal_noise
from visreward.data.scenes.render_backgrounds import HORIZON
from visreward.data.scenes.render_objects import Picture

_PETALS: tuple[Colour, ...] = ((0.96, 0.72, 0.86), (0.97, 0.94, 0.98), (0.80, 0.70, 0.95))
_STONES: tuple[Colour, ...] = ((0.56, 0.55, 0.54), (0.42, 0.41, 0.42), (0.66, 0.62, 0.57))
_FOLIAGE: tuple[Colour, ...] = ((0.58, 0.36, 0.14), (0.46, 0.26, 0.12), (0.62, 0.50, 0.20))


def paint_decorations(canvas: Picture, scene: Scene) -> None:
    """Paint the decorations of a rich scene onto its background in place; deterministic."""
    for name in scene.decorations:
        rng = np.random.default_rng([scene.layout, 30 + DECORATIONS.index(name)])
        _DECORATIONS[name](canvas, rng, light_of(scene.light))


def _clouds(canvas: Picture, rng: np.random.Generator, light: Light) -> None:
    size = canvas.shape[0]
    rows = int(np.ceil(1.15 * HORIZON * size))
    puffs = fractal_noise(
        (int(rng.integers(2**31)), 0), size, base=4, stretch=2.5, persistence=0.62
    )
    height = ((np.arange(rows, dtype=np.float32) + 0.5) / rows)[:, None]
    band = np.exp(-(((height - 0.42) / 0.30) ** 2))
    cover = np.clip((puffs[:rows] + 0.25) * 1.3, 0, 1) * band
    tone = 0.55 * np.array(light.sky_low, np.float32) + 0.48 * np.array(light.key, np.float32)
    shade = (1.04 - 0.25 * height * np.clip(puffs[:rows], 0, 1))[..., None]
    top = canvas[:rows]
    top += (tone * shade - top) * (0.92 * cover)[..., None]


def _birds(canvas: Picture, rng: np.random.Generator, light: Light) -> None:
    ink = 0.10 + 0.12 * np.array(light.ground, np.float32)
    for _ in range(int(rng.integers(4, 7))):
        x, y = rng.uniform(0.08, 0.92), rng.uniform(0.05, 0.20)
        span = rng.uniform(0.028, 0.042)
        u, v, rows, columns = _patch(canvas, x, y, span)
        wing = np.abs(v + 0.55 - 1.3 * np.abs(np.abs(u) - 0.45))
        cover = _soft(0.17 - wing, span * canvas.shape[0]) * (np.abs(u) < 1)
        _cover(canvas, rows, columns, ink, cover)


def _stars(canvas: Picture, rng: np.random.Generator, light: Light) -> None:
    del light
    for _ in range(int(rng.integers(18, 26))):
        x, y = rng.uniform(0.02, 0.98), rng.uniform(0.01, HORIZON - 0.06)
        radius = rng.uniform(0.010, 0.026)
        u, v, rows, columns = _patch(canvas, x, y, 2 * radius)
        glow = np.exp(-18 * (u * u + v * v)) + 0.5 * np.exp(-9 * np.abs(u) - 30 * np.abs(v))
        glow = glow + 0.5 * np.exp(-9 * np.abs(v) - 30 * np.abs(u))
        _cover(canvas, rows, columns, np.array((1.0, 0.98, 0.90), np.float32), np.clip(glow, 0, 1))


def _flowers(canvas: Picture, rng: np.random.Generator, light: Light) -> None:
    for x, y, near in _ground_spots(rng, 13):
        radius = 0.010 + 0.014 * near
        petal = _lit(_PETALS[int(rng.integers(3))], light)
        u, v, rows, columns = _patch(canvas, x, y, radius)
        reach = np.sqrt(u * u + v * v)
        lobes = 0.72 + 0.22 * np.cos(5 * np.arctan2(v, u) + rng.uniform(0, 6))
        scale = radius * canvas.shape[0]
        _cover(canvas, rows, columns, petal, _soft(lobes - reach, scale))
        _cover(canvas, rows, columns, _lit((0.86, 0.62, 0.16), light), _soft(0.25 - reach, scale))


def _pebbles(canvas: Picture, rng: np.random.Generator, light: Light) -> None:
    for x, y, near in _ground_spots(rng, 14):
        radius = (0.012 + 0.018 * near) * rng.uniform(0.7, 1.2)
        stone = _lit(_STONES[int(rng.integers(3))], light)
        u, v, rows, columns = _patch(canvas, x, y, radius)
        cover = _soft(0.95 - np.sqrt(u * u + (1.6 * v) ** 2), radius * canvas.shape[0])
        shadow = _soft(0.98 - np.sqrt(u * u + (1.6 * v - 0.4) ** 2), radius * canvas.shape[0])
        _cover(canvas, rows, columns, 0.25 * stone, 0.6 * shadow)
        shade = (0.95 - 0.5 * v + 0.25 * light.direction[0] * u)[..., None]
        _cover(canvas, rows, columns, stone * shade, cover)


def _leaves(canvas: Picture, rng: np.random.Generator, light: Light) -> None:
    for x, y, near in _ground_spots(rng, 13):
        radius = 0.016 + 0.018 * near
        leaf = _lit(_FOLIAGE[int(rng.integers(3))], light)
        u, v, rows, columns = _patch(canvas, x, y, radius)
        turn = rng.uniform(0, np.pi)
        along = u * np.cos(turn) + 1.5 * v * np.sin(turn)
        across = 1.5 * v * np.cos(turn) - u * np.sin(turn)
        blade = 0.42 * (1 - along * along) - np.abs(across)
        scale = radius * canvas.shape[0]
        vein = 1 - 0.35 * _soft(0.06 - np.abs(across), scale)
        _cover(canvas, rows, columns, leaf * vein[..., None], _soft(blade, scale))


def _ground_spots(rng: np.random.Generator, count: int) -> list[tuple[float, float, float]]:
    """Return places on the ground as x, y and nearness (0 at the horizon, 1 at the bottom)."""
    near = np.sort(rng.random(count)) ** 0.8
    xs = rng.uniform(0.02, 0.98, count)
    low = HORIZON + 0.06
    return [
        (float(x), low + (0.97 - low) * float(n), float(n)) for x, n in zip(xs, near, strict=True)
    ]


def _patch(canvas: Picture, x: float, y: float, radius: float) -> tuple[Plane, Plane, slice, slice]:
    """Return local coordinates in radii, (1, w) and (h, 1), and the slices they belong to."""
    size = canvas.shape[0]
    reach = radius * size + 1
    rows = slice(max(0, int(y * size - reach)), min(size, int(y * size + reach) + 1))
    columns = slice(max(0, int(x * size - reach)), min(size, int(x * size + reach) + 1))
    at_x = np.arange(columns.start, columns.stop, dtype=np.float32) + np.float32(0.5 - x * size)
    at_y = np.arange(rows.start, rows.stop, dtype=np.float32) + np.float32(0.5 - y * size)
    scale = np.float32(radius * size)
    return (at_x / scale)[None, :], (at_y / scale)[:, None], rows, columns


def _soft(inside: Plane, scale: float) -> Plane:
    """Return coverage from a distance inside, in units of `scale` pixels."""
    cover: Plane = np.clip(inside * np.float32(scale) + np.float32(0.5), 0, 1)
    return cover


def _lit(colour: Colour, light: Light) -> Picture:
    return np.array(colour, np.float32) * np.array(light.ground, np.float32)


def _cover(canvas: Picture, rows: slice, columns: slice, colour: Picture, cover: Plane) -> None:
    under = canvas[rows, columns]
    under += (colour - under) * cover[..., None]


_DECORATIONS: dict[str, Callable[[Picture, np.random.Generator, Light], None]] = {
    "clouds": _clouds,
    "birds": _birds,
    "stars": _stars,
    "flowers": _flowers,
    "pebbles": _pebbles,
    "leaves": _leaves,
}
