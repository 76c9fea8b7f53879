"""Where the copies of each thing stand: pure geometry, the same at every image size."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from visreward.data.scenes.grammar import Scene, Thing

RADIUS = {"small": 0.095, "large": 0.172}
"""Radius as a share of the image's side before scaling: 12 and 22 pixels across at 64."""
MAX_SCALE = 1.2
"""A small thing scaled up (0.114) stays clearly below a large thing in a crowd (0.13)."""
LEFT, RIGHT, TOP, BOTTOM = 0.035, 0.965, 0.09, 0.975
GAP = 0.055
STEP = 1.15
"""Half the distance between neighbours of a cluster, in radii."""

Offsets = tuple[tuple[float, float], ...]

ARRANGEMENTS: dict[int, tuple[Offsets, ...]] = {
    1: (((0.0, 0.0),),),
    2: (
        ((-STEP, 0.0), (STEP, 0.0)),
        ((0.0, -STEP), (0.0, STEP)),
        ((-0.95, -0.62), (0.95, 0.62)),
        ((-0.95, 0.62), (0.95, -0.62)),
    ),
    3: (
        ((-STEP, 0.98), (STEP, 0.98), (0.0, -0.98)),
        ((-STEP, -0.98), (STEP, -0.98), (0.0, 0.98)),
        ((-2 * STEP, 0.0), (0.0, 0.0), (2 * STEP, 0.0)),
        ((0.0, -2 * STEP), (0.0, 0.0), (0.0, 2 * STEP)),
    ),
    4: (
        ((-STEP, -STEP), (STEP, -STEP), (-STEP, STEP), (STEP, STEP)),
        ((-1.6, -1.0), (0.7, -1.0), (-0.7, 1.0), (1.6, 1.0)),
        ((-3 * STEP, 0.0), (-STEP, 0.0), (STEP, 0.0), (3 * STEP, 0.0)),
    ),
}


@dataclass(frozen=True, slots=True)
class Placement:
    """One copy of one thing on the screen.

    Attributes:
        thing: Index into the things of the scene.
        x: Centre from the left, as a share of the side.
        y: Centre from the top, as a share of the side.
        radius: Share of the side.
    """

    thing: int
    x: float
    y: float
    radius: float


def place(scene: Scene) -> tuple[Placement, ...]:
    """Return a placement for each copy of each thing, deterministic.

    Depends on sizes, counts, relation and the layout seed only, so that a swap of colour, shape
    or material moves nothing.
    """
    rng = np.random.default_rng([scene.layout, 1])
    draws = rng.random(8)
    if len(scene.named) == 1:
        placed = _place_one(scene.things[0], draws)
    else:
        placed = _place_two(scene, draws)
    if scene.extra is not None:
        placed.append(_place_extra(len(scene.named), placed))
    return tuple(placed)


def has_room_for_extra(scene: Scene) -> bool:
    """Return whether an extra thing would stand clear of the named things."""
    placed = [p for p in place(scene) if p.thing < len(scene.named)]
    return _clearance(_place_extra(len(scene.named), placed), placed) > 0.01


def _place_one(thing: Thing, draws: np.ndarray) -> list[Placement]:
    options = ARRANGEMENTS[thing.count]
    limits = [_scale_limit(RADIUS[thing.size], _extent(offsets)) for offsets in options]
    index = _choose(limits, draws[0])
    radius = RADIUS[thing.size] * _scale(limits[index], draws[1])
    width, height = (radius * side for side in _extent(options[index]))
    x = _between(LEFT + width / 2, RIGHT - width / 2, 0.15 + 0.7 * draws[2])
    y = _between(TOP + height / 2, BOTTOM - height / 2, 0.3 + 0.6 * draws[3])
    return _copies(0, options[index], x, y, radius)


def _place_two(scene: Scene, draws: np.ndarray) -> list[Placement]:
    first, second = scene.named
    is_horizontal = scene.relation in ("left of", "right of")
    is_first_low = scene.relation in ("left of", "above")
    options = list(product(ARRANGEMENTS[first.count], ARRANGEMENTS[second.count]))
    radii = (RADIUS[first.size], RADIUS[second.size])
    limits = [_pair_limit(radii, pair, is_horizontal) for pair in options]
    index = _choose(limits, draws[0])
    scale = _scale(limits[index], draws[1])
    boxes = []
    for radius, offsets in zip(radii, options[index], strict=True):
        width, height = (radius * scale * side for side in _extent(offsets))
        boxes.append((width, height) if is_horizontal else (height, width))
    along = (LEFT, RIGHT) if is_horizontal else (TOP, BOTTOM)
    across = (TOP, BOTTOM) if is_horizontal else (LEFT, RIGHT)
    order = (0, 1) if is_first_low else (1, 0)
    spare = along[1] - along[0] - boxes[0][0] - boxes[1][0] - GAP
    margin = spare * (0.15 + 0.35 * draws[2])
    gap = GAP + spare * (0.1 + 0.2 * draws[3])
    start = along[0] + margin
    middle = _between(*across, 0.42 + 0.16 * draws[4])
    placed = []
    for position, thing in enumerate(order):
        length, breadth = boxes[thing]
        low, high = across[0] + breadth / 2, across[1] - breadth / 2
        side = min(max(middle + 0.07 * (draws[5 + position] - 0.5), low), high)
        centre = start + length / 2
        start += length + gap
        x, y = (centre, side) if is_horizontal else (side, centre)
        placed += _copies(thing, options[index][thing], x, y, radii[thing] * scale)
    return sorted(placed, key=lambda p: p.thing)


def _place_extra(thing: int, placed: list[Placement]) -> Placement:
    """Return the spot with most free room around it, far spots first."""
    radius = 0.95 * RADIUS["small"]
    spots = [
        Placement(thing, x, y, radius)
        for y in (0.30, 0.42, 0.62, 0.84)
        for x in (0.12, 0.88, 0.31, 0.69, 0.5)
    ]
    free = [spot for spot in spots if _clearance(spot, placed) > 0.03]
    return free[0] if free else max(spots, key=lambda spot: _clearance(spot, placed))


def _clearance(spot: Placement, placed: list[Placement]) -> float:
    return min(float(np.hypot(spot.x - p.x, spot.y - p.y)) - spot.radius - p.radius for p in placed)


def _copies(thing: int, offsets: Offsets, x: float, y: float, radius: float) -> list[Placement]:
    return [Placement(thing, x + radius * dx, y + radius * dy, radius) for dx, dy in offsets]


def _extent(offsets: Offsets) -> tuple[float, float]:
    xs, ys = zip(*offsets, strict=True)
    return max(xs) - min(xs) + 2, max(ys) - min(ys) + 2


def _scale_limit(radius: float, extent: tuple[float, float]) -> float:
    return min((RIGHT - LEFT) / extent[0], (BOTTOM - TOP) / extent[1]) / radius


def _pair_limit(
    radii: tuple[float, float], pair: tuple[Offsets, Offsets], is_horizontal: bool
) -> float:
    (w0, h0), (w1, h1) = (_extent(offsets) for offsets in pair)
    widths, heights = (radii[0] * w0, radii[1] * w1), (radii[0] * h0, radii[1] * h1)
    if is_horizontal:
        return min((RIGHT - LEFT - GAP) / sum(widths), (BOTTOM - TOP) / max(heights))
    return min((RIGHT - LEFT) / max(widths), (BOTTOM - TOP - GAP) / sum(heights))


def _choose(limits: list[float], draw: float) -> int:
    """Return the index of one arrangement among those that need no shrinking, or the roomiest."""
    enough = min(1.12, max(limits))
    good = [index for index, limit in enumerate(limits) if limit >= enough - 1e-9]
    return good[int(draw * len(good))]


def _scale(limit: float, draw: float) -> float:
    top = min(limit, MAX_SCALE)
    return _between(min(top, max(1.0, 0.9 * top)), top, draw)


def _between(low: float, high: float, share: float) -> float:
    return float(low + (high - low) * share)
