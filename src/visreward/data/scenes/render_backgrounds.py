"""Walls and sceneries: what is painted before the things.

Each scenery has a sky above the horizon and a textured ground below it; the ground's texture is
squeezed towards the horizon. Canvas: (H, W, 3) float32, 0 to 1 as displayed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from visreward.data.scenes.grammar import Scene
from visreward.data.scenes.lighting import Colour, Light, light_of
from visreward.data.scenes.noise import Plane, fractal_noise
from visreward.data.scenes.render_objects import Picture

HORIZON = 0.30
"""Height of the horizon from the top; every thing's foot is below it."""


@dataclass(frozen=True, slots=True)
class View:
    """What a scenery painter gets.

    Attributes:
        size: Side in pixels.
        seed: Layout seed of the scene.
        draws: (8,) floats in [0, 1) that vary the scenery.
        light: The light of the scene.
        horizon: Height of the horizon, from the top, as a share of the side.
    """

    size: int
    seed: int
    draws: Plane
    light: Light
    horizon: float

    @property
    def x(self) -> Plane:
        """Return (1, size) pixel centres from the left, 0 to 1."""
        return _centres(self.size)[None, :]

    @property
    def y(self) -> Plane:
        """Return (size, 1) pixel centres from the top, 0 to 1."""
        return _centres(self.size)[:, None]

    def noise(self, stream: int, **settings: float) -> Plane:
        """Return an upright texture; see `fractal_noise`."""
        return fractal_noise((self.seed, 10 + stream), self.size, **settings)  # type: ignore[arg-type]  # base is a whole number at each call

    def floor_noise(self, stream: int, **settings: float) -> Plane:
        """Return a texture that lies on the ground, squeezed towards the horizon."""
        depth = (_centres(self.size) - self.horizon) / (1 - self.horizon)
        rows = np.clip(depth, 0, 1) ** 0.6 * (self.size - 1)
        lying: Plane = self.noise(stream, **settings)[np.rint(rows).astype(np.intp)]
        return lying

    def soft_below(self, line: Plane | float) -> Plane:
        """Return (size, size or 1) 1 below a line of heights, 0 above it, antialiased."""
        below: Plane = np.clip((self.y - line) * self.size + 0.5, 0, 1).astype(np.float32)
        return below


def paint_background(scene: Scene, size: int) -> Picture:
    """Return the canvas with the background of a scene, deterministic.

    Args:
        scene: The scene; its things are not painted.
        size: Side in pixels.

    Returns:
        (size, size, 3) float32, 0 to 1.
    """
    draws = np.random.default_rng([scene.layout, 2]).random(8).astype(np.float32)
    horizon = HORIZON + 0.05 * (float(draws[0]) - 0.5)
    view = View(size, scene.layout, draws, light_of(scene.light), horizon)
    if not scene.rich:
        return _wall(view)
    return _SCENERIES[scene.background](view)


def _wall(view: View) -> Picture:
    """Return a gently graded wall of a muted tone that contrasts with white and with black."""
    tone = 0.36 + 0.34 * view.draws[1]
    hue = np.array(view.draws[2:5] - view.draws[2:5].mean(), np.float32)
    colour = np.clip(tone + 0.11 * hue, 0.25, 0.78)
    slope = 0.12 * (view.draws[5] - 0.5) * (view.y - 0.5) + 0.12 * (view.draws[6] - 0.5) * (
        view.x - 0.5
    )
    grain = 0.012 * view.noise(0, base=8)
    wall: Picture = colour + (slope + grain)[..., None]
    return wall


def _meadow(view: View) -> Picture:
    sky = _sky(view)
    hills = view.horizon - 0.035 - 0.03 * np.sin(2 * np.pi * (1.3 * view.x + view.draws[1]))
    hill = (
        _tinted(view, (0.36, 0.52, 0.44))
        * (1 + 0.10 * view.noise(1, base=12, octaves=2))[..., None]
    )
    blades = view.floor_noise(2, base=24, stretch=0.5, persistence=0.9)
    patches = view.floor_noise(3, base=3, stretch=2.0, octaves=2)
    mix = np.clip(0.5 + 0.16 * blades + 0.22 * patches, 0, 1)[..., None]
    grass = _blend(_tinted(view, (0.17, 0.33, 0.09)), _tinted(view, (0.50, 0.62, 0.24)), mix)
    return _stack(view, sky, (hills, hill), (view.horizon, grass))


def _desert(view: View) -> Picture:
    sky = _sky(view)
    far = view.horizon - 0.05 * np.abs(np.sin(np.pi * (1.7 * view.x + view.draws[1])))
    dune = (
        _tinted(view, (0.72, 0.52, 0.34))
        * (1 + 0.06 * view.noise(1, base=12, octaves=2))[..., None]
    )
    swell = view.floor_noise(2, base=3, octaves=3)
    depth = np.clip(view.y - view.horizon + 0.03, 0, 1) ** 0.6
    ripple = np.sin(60 * depth + 1.6 * swell + 5 * view.x * (view.draws[2] - 0.5))
    dust = view.floor_noise(3, base=16, persistence=0.9)
    mix = np.clip(0.5 + 0.20 * ripple + 0.14 * swell + 0.10 * dust, 0, 1)[..., None]
    sand = _blend(_tinted(view, (0.66, 0.46, 0.28)), _tinted(view, (0.90, 0.74, 0.52)), mix)
    return _stack(view, sky, (far, dune), (view.horizon, sand))


def _beach(view: View) -> Picture:
    sky = _sky(view)
    waves = view.floor_noise(1, base=4, stretch=6.0, persistence=0.9)
    sea_mix = np.clip(0.45 + 0.28 * waves, 0, 1)[..., None]
    sea = _blend(_tinted(view, (0.05, 0.30, 0.42)), _tinted(view, (0.36, 0.66, 0.70)), sea_mix)
    shore = view.horizon + 0.13 + 0.02 * np.sin(2 * np.pi * (view.x * 1.4 + view.draws[1]))
    shore = shore + 0.006 * waves
    grains = view.floor_noise(2, base=16, persistence=0.92)
    wet = np.clip(1 - (view.y - shore) / 0.10, 0, 1)
    mix = np.clip(0.6 + 0.13 * grains - 0.35 * wet, 0, 1)[..., None]
    sand = _blend(_tinted(view, (0.55, 0.45, 0.34)), _tinted(view, (0.88, 0.80, 0.66)), mix)
    foam = np.exp(-(((view.y - shore) / 0.014) ** 2)) * np.clip(0.7 + 0.4 * grains, 0, 1)
    ground = _stack(view, sky, (view.horizon, sea), (shore, sand))
    return _blend(ground, _tinted(view, (0.92, 0.94, 0.95)), foam[..., None])


def _snow_field(view: View) -> Picture:
    sky = _sky(view)
    teeth = np.abs(((view.x * 14 + 0.7 * np.sin(9 * view.x) + view.draws[1]) % 1.0) - 0.5)
    trees = view.horizon - 0.02 - 0.13 * (0.5 - teeth) * (1 + 0.5 * np.sin(23 * view.x))
    forest = (
        _tinted(view, (0.16, 0.25, 0.25))
        * (1 + 0.22 * view.noise(1, base=16, octaves=2))[..., None]
    )
    drifts = view.floor_noise(2, base=3, stretch=3.0, octaves=3)
    crystals = view.floor_noise(3, base=24, persistence=0.95)
    mix = np.clip(0.45 + 0.25 * drifts + 0.10 * crystals, 0, 1)[..., None]
    snow = _blend(_tinted(view, (0.60, 0.68, 0.82)), _tinted(view, (0.90, 0.93, 0.97)), mix)
    return _stack(view, sky, (trees, forest), (view.horizon, snow))


def _night_sky(view: View) -> Picture:
    haze = view.noise(1, base=3, persistence=0.75)
    arm = np.exp(-(((view.x * 0.5 + view.y - 0.32 - 0.2 * view.draws[1]) / 0.13) ** 2))
    glow = np.clip(0.25 + 0.30 * haze, 0, 1) * (0.35 + arm)
    top, low = _colour((0.03, 0.04, 0.13)), _colour((0.16, 0.15, 0.34))
    share = np.clip(view.y / view.horizon, 0, 1)[..., None] ** 1.4
    sky = _blend(top, low, share) + glow[..., None] * _colour((0.42, 0.30, 0.56))
    ridge = view.horizon - 0.03 - 0.02 * haze[:1]
    rock = view.floor_noise(2, base=6, persistence=0.88)
    moss = view.floor_noise(3, base=3, octaves=2)
    mix = np.clip(0.45 + 0.17 * rock + 0.12 * moss, 0, 1)[..., None]
    ground = _blend(_colour((0.16, 0.18, 0.27)), _colour((0.46, 0.48, 0.58)), mix)
    return _stack(view, sky, (ridge, ground))


def _studio(view: View) -> Picture:
    warm = _colour((0.10, 0.02, -0.08)) * (2 * view.draws[1] - 1)
    wall = _colour((0.44, 0.45, 0.48)) + warm
    lamp_x = 0.25 + 0.5 * view.draws[2]
    pool = np.exp(-(((view.x - lamp_x) / 0.45) ** 2) - ((view.y - 0.20) / 0.40) ** 2)
    cloth = view.noise(1, base=5, persistence=0.8)
    back = wall * (0.55 + 0.75 * pool + 0.05 * cloth)[..., None]
    planks = np.abs(((view.x - 0.5) / (view.y + 0.25) * 5.5 + view.draws[3]) % 1.0 - 0.5)
    seam = 1 - 0.35 * np.exp(-((planks / (0.012 + 0.4 / view.size)) ** 2))
    fibre = view.floor_noise(2, base=20, stretch=0.4, persistence=0.9)
    shine = np.exp(-(((view.x - lamp_x) / 0.35) ** 2) - ((view.y - 0.52) / 0.30) ** 2)
    level = (0.62 + 0.30 * shine + 0.07 * fibre) * seam
    oak = _tinted(view, (0.70, 0.60, 0.50)) + 0.5 * warm
    floor = oak * level[..., None]
    return _stack(view, back * np.asarray(view.light.ground), (view.horizon + 0.02, floor))


def _sky(view: View) -> Picture:
    """Return a graded sky with a sun or moon glow and faint high haze."""
    share = np.clip(view.y / view.horizon, 0, 1) ** 0.9
    base = _blend(_colour(view.light.sky_top), _colour(view.light.sky_low), share[..., None])
    sun_x = 0.5 + 0.45 * float(np.sign(view.light.direction[0])) * (0.4 + 0.5 * view.draws[6])
    sun_y = 0.08 + 0.10 * view.draws[7]
    squared = (view.x - sun_x) ** 2 + (view.y - sun_y) ** 2
    disc = np.clip((0.045 - np.sqrt(squared)) * view.size + 0.5, 0, 1)
    glow = 0.35 * np.exp(-squared / 0.05) + view.light.disc * disc
    haze = 0.05 * view.noise(0, base=4, stretch=2.0, octaves=4)
    shine: Picture = glow[..., None] * (_colour(view.light.sky_low) * np.float32(0.8))
    shine += haze[..., None]
    return base + shine


def _stack(view: View, base: Picture, *layers: tuple[Plane | float, Picture]) -> Picture:
    """Return the base covered, from each line down, by the layers in turn."""
    for line, layer in layers:
        base = _blend(base, layer, view.soft_below(line)[..., None])
    return base


def _tinted(view: View, colour: Colour) -> Picture:
    return _colour(colour) * _colour(view.light.ground)


def _blend(first: Picture, second: Picture, share: Picture) -> Picture:
    return first + (second - first) * share


def _colour(values: Colour) -> Picture:
    return np.array(values, np.float32)


def _centres(size: int) -> Plane:
    return (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)


_SCENERIES: dict[str, Callable[[View], Picture]] = {
    "meadow": _meadow,
    "desert": _desert,
    "beach": _beach,
    "snow field": _snow_field,
    "night sky": _night_sky,
    "studio": _studio,
}
