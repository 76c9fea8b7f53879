"""Textures with the 1/f spectrum of natural pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.float32]


def fractal_noise(
    seed: tuple[int, int],
    size: int,
    *,
    base: int = 4,
    stretch: float = 1.0,
    persistence: float = 0.8,
) -> Plane:
    """Return smooth random texture whose coarse part is the same at every size.

    Octaves of random lattices are added until the lattice is as fine as the pixels. Equal
    amplitudes (persistence 1) give power proportional to 1 / frequency^2, as in photographs.

    Args:
        seed: Picture seed and stream number.
        size: Side in pixels.
        base: Cells along a row of the coarsest lattice.
        stretch: Cells along a column as a multiple of `base`; above 1 gives horizontal streaks.
        persistence: Amplitude of an octave relative to the coarser one.

    Returns:
        (size, size) float32, mean about 0, standard deviation about 1 at full depth.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros((size, size), np.float32)
    columns, amplitude, power = base, 1.0, 0.0
    rows = max(1, round(base * stretch))
    while columns <= size and rows <= 2 * size:
        lattice = rng.standard_normal((rows, columns), dtype=np.float32)
        fine = Image.fromarray(lattice).resize((size, size), Image.Resampling.BICUBIC)
        total += np.float32(amplitude) * np.asarray(fine)
        power += amplitude**2
        columns, rows, amplitude = columns * 2, rows * 2, amplitude * persistence
    # Bicubic interpolation keeps about 0.6 of a lattice's variance; the sum over all octaves
    # (not over those that fit this size) keeps the coarse part equal at every size.
    endless = 1 / (1 - persistence**2) if persistence < 1 else power
    return total / np.float32(np.sqrt(0.6 * endless))
