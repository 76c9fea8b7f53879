"""The texture that all sceneries are made of."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from visreward.data.scenes.noise import fractal_noise


def test_fractal_noise_same_seed_is_equal_and_other_stream_is_not() -> None:
    first = fractal_noise((3, 1), 64)
    assert np.array_equal(first, fractal_noise((3, 1), 64))
    assert np.abs(first - fractal_noise((3, 2), 64)).mean() > 0.3


def test_fractal_noise_has_mean_zero_and_spread_one() -> None:
    planes = [fractal_noise((seed, 0), 256, base=8) for seed in range(30)]
    assert np.mean(planes) == pytest.approx(0, abs=0.1)
    assert np.mean([plane.std() for plane in planes]) == pytest.approx(0.9, abs=0.2)


def test_fractal_noise_large_made_smaller_is_the_small_one() -> None:
    large = Image.fromarray(fractal_noise((5, 0), 256)).resize((64, 64), Image.Resampling.BOX)
    small = fractal_noise((5, 0), 64)
    assert np.corrcoef(np.asarray(large).ravel(), small.ravel())[0, 1] > 0.95


def test_fractal_noise_few_octaves_are_smoother() -> None:
    def roughness(octaves: int) -> float:
        plane = fractal_noise((1, 0), 128, octaves=octaves)
        return float(np.abs(np.diff(plane, axis=0)).mean())

    assert roughness(2) < 0.6 * roughness(8)


def test_fractal_noise_stretched_varies_faster_down_than_across() -> None:
    plane = fractal_noise((1, 0), 128, stretch=6.0, octaves=3)
    assert np.abs(np.diff(plane, axis=0)).mean() > 2 * np.abs(np.diff(plane, axis=1)).mean()


@pytest.mark.parametrize("persistence", [0.6, 0.9])
def test_fractal_noise_power_falls_with_the_persistence(persistence: float) -> None:
    power = np.zeros(129)
    for seed in range(20):
        plane = fractal_noise((seed, 0), 256, persistence=persistence)
        power += (np.abs(np.fft.rfft(plane, axis=1)) ** 2).mean(axis=0)
    frequencies = np.arange(4, 64)
    slope = np.polyfit(np.log(frequencies), np.log(power[4:64]), 1)[0]
    # Along a line, an octave of variance a^2 spread over its octave falls like 1/f * a^(2 log2 f).
    assert slope == pytest.approx(-1 + 2 * np.log2(persistence), abs=0.35)
