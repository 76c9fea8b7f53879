"""Textures with the 1/f spectrum of natural pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.floating]

_LATTICE_VARIANCE = 0.6 / 12
"""A flat draw has variance 1 / 12, of which bicubic interpolation keeps 0.6 (measured)."""


def fractal_noise(
    seed: tuple[int, int],
    size: int,
    *,
    base: int = 4,
    stretch: float = 1.0,
    persistence: float = 0.8,
    octaves: int = 8,
) -> Plane:
    """Return smooth random texture whose coarse part is the same at every size.

    Octaves of random lattices are added, coarse to fine, until the lattice is as fine as the
    pixels. Amplitudes that hardly fall (persistence near 1) give power close to 1 / frequency^2,
    as photographs have it.

    Args:
        seed: Picture seed and stream number.
        size: Side in pixels.
        base: Cells along a row of the coarsest lattice.
        stretch: Cells along a column as a multiple of `base`; above 1 gives horizontal streaks.
        persistence: Amplitude of an octave relative to the coarser one, 0 to 1.
        octaves: Number of octaves at most; few give smooth patches.

    Returns:
        (size, size) float32, mean about 0, standard deviation about 1 at full depth.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros((size, size), np.float32)
    amplitude, power = 1.0, 0.0
    for octave in range(octaves):
        columns, rows = base << octave, max(1, round((base << octave) * stretch))
        power += amplitude**2
        if columns <= size and rows <= 2 * size:
            lattice = rng.random((rows, columns), dtype=np.float32) - np.float32(0.5)
            fine = Image.fromarray(lattice).resize((size, size), Image.Resampling.BICUBIC)
            total += np.float32(amplitude) * np.asarray(fine)
        amplitude *= persistence
    total /= np.float32(np.sqrt(_LATTICE_VARIANCE * power))
    return total
