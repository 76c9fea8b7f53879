"""Turn a scene into a picture of any size from 64 to 512 pixels."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from visreward.core.errors import UsageError
from visreward.data.scenes.grammar import Scene
from visreward.data.scenes.layout import place
from visreward.data.scenes.lighting import light_of
from visreward.data.scenes.render_backgrounds import paint_background
from visreward.data.scenes.render_decorations import paint_decorations
from visreward.data.scenes.render_objects import Picture, paint_things

MIN_SIZE, MAX_SIZE = 64, 512


def render(scene: Scene, size: int, *, hidden: Collection[int] = ()) -> NDArray[np.uint8]:
    """Return the picture of a scene; deterministic, alike at every size.

    Outlines are antialiased by the share of each pixel that lies inside a signed distance.

    Args:
        scene: What to paint.
        size: Side in pixels, 64 to 512.
        hidden: Indices of things that are left out; the others stand where they stood.

    Returns:
        (size, size, 3) uint8, RGB.

    Raises:
        UsageError: if the size is outside 64 to 512.
    """
    check_size(size)
    canvas = paint_background(scene, size).astype(np.float32, copy=False)
    paint_decorations(canvas, scene)
    if scene.rich:
        _shade_corners(canvas, scene)
    shown = tuple(spot for spot in place(scene) if spot.thing not in hidden)
    paint_things(canvas, scene.things, shown, light_of(scene.light))
    return (np.clip(canvas, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)


def check_size(size: int) -> None:
    """Raise UsageError if `size` is no side, in pixels, that pictures can be painted at."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise UsageError(
            f"The image size is {size} pixels. Give a size from {MIN_SIZE} to {MAX_SIZE}."
        )


def _shade_corners(canvas: Picture, scene: Scene) -> None:
    """Darken the scenery towards the corners, and brighten the pool of a spotlight, in place."""
    size, light = canvas.shape[0], light_of(scene.light)
    at = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size) - np.float32(0.5)
    across, down = (at**2)[None, :], at[:, None] - np.float32(0.10)
    squared = across + down * down
    shade = 1 - np.float32(light.vignette) * np.clip(squared / np.float32(0.5), 0, 1)
    if light.pool:
        shade += np.float32(light.pool) * np.exp(-(across + 2 * down * down) / np.float32(0.07))
    canvas *= shade[..., None]
