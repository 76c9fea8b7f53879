"""Calibration of preference probabilities, on pairs drawn from a known law."""

from __future__ import annotations

import math

import numpy as np
import pytest

from visreward.core.errors import DataError
from visreward.core.preference import expected_sigmoid
from visreward.core.types import Score
from visreward.evaluation.calibration import fit_calibration


def pairs(
    scale: float, sigma_scale: float, *, num: int = 6_000, sigma: bool = True
) -> tuple[list[Score], list[Score]]:
    """Return pairs whose winners are drawn with the probability that a calibration says."""
    rng = np.random.default_rng(5)
    means = rng.normal(0, 2, (num, 2))
    sigmas = rng.uniform(0.1, 4, (num, 2)) if sigma else np.zeros((num, 2))
    spread = np.hypot(*sigmas.T)
    chance = expected_sigmoid(scale * (means[:, 0] - means[:, 1]), scale * sigma_scale * spread)
    first_wins = rng.uniform(size=num) < chance
    scores = [
        [Score(value=m, sigma=s if sigma else None) for m, s in zip(*row, strict=True)]
        for row in zip(means.tolist(), sigmas.tolist(), strict=True)
    ]
    ordered = [row if wins else row[::-1] for row, wins in zip(scores, first_wins, strict=True)]
    return [row[0] for row in ordered], [row[1] for row in ordered]


@pytest.mark.parametrize("scale", [0.4, 2.5])
def test_scale_of_a_model_without_sigma_is_found(scale: float) -> None:
    found = fit_calibration(*pairs(scale, 1.0, sigma=False))
    assert found.calibration.scale == pytest.approx(scale, rel=0.1)
    assert found.calibration.sigma_scale == 1
    assert found.loss < found.loss_before


def test_both_scales_are_found() -> None:
    found = fit_calibration(*pairs(1.5, 2.0))
    assert found.calibration.scale == pytest.approx(1.5, rel=0.25)
    assert found.calibration.sigma_scale == pytest.approx(2.0, rel=0.25)
    assert found.loss < found.loss_before < math.log(2) + 0.1


def test_pairs_that_fix_no_scale_are_refused() -> None:
    high, low = [Score(value=1.0)] * 3, [Score(value=0.0)] * 3
    with pytest.raises(DataError, match="All 3 pairs are ordered rightly"):
        fit_calibration(high, low)
    with pytest.raises(DataError, match="All 3 pairs are ordered wrongly"):
        fit_calibration(low, high)
    with pytest.raises(DataError, match="3 chosen and 2 rejected"):
        fit_calibration(high, low[:2])
    with pytest.raises(DataError, match="0 chosen"):
        fit_calibration([], [])
