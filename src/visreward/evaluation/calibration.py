"""Preference probabilities that are right as often as they say, from held-out pairs.

Shape letters: M pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import DataError, missing_extra
from visreward.core.preference import Calibration, expected_sigmoid
from visreward.core.types import Score

_REACH = 12.0
"""The fit looks at scales between exp(-12) and exp(12)."""

_MOST = 100.0
"""A wider spread of the difference says no more: the probability is that of its sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCalibration:
    """What a fit found.

    Attributes:
        calibration: How to read the scores.
        loss: Mean of -log P(chosen beats rejected) on the pairs, read so.
        loss_before: The same with the scores as they are.
    """

    calibration: Calibration
    loss: float
    loss_before: float


def fit_calibration(chosen: Sequence[Score], rejected: Sequence[Score]) -> FittedCalibration:
    """Fit how differences of a model's scores become probabilities, by maximum likelihood.

    P(chosen beats rejected) = E[sigmoid(scale (m + sigma_scale s u))]: two numbers, or the scale
    alone for models without a sigma. Deterministic.

    Args:
        chosen: M scores of what people preferred, on pairs that the model was not trained on.
        rejected: M scores of what it was preferred to, in the same order.

    Raises:
        DataError: if the numbers of scores differ or are 0, or every pair is ordered rightly, or
            every pair wrongly: then no finite scale fits best.
        MissingExtraError: if scipy is not installed.
    """
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise missing_extra("scipy", "bench") from error
    if len(chosen) != len(rejected) or not chosen:
        raise DataError(
            f"There are {len(chosen)} chosen and {len(rejected)} rejected scores. Give one of each "
            "for every pair, and at least one pair."
        )
    margin = np.array([a.value - b.value for a, b in zip(chosen, rejected, strict=True)])
    if (margin > 0).all() or (margin <= 0).all():
        kind = "rightly" if margin[0] > 0 else "wrongly"
        raise DataError(
            f"All {len(margin)} pairs are ordered {kind}, so that no finite scale fits best. Give "
            "more pairs."
        )
    sigma = np.array(
        [np.hypot(a.sigma or 0.0, b.sigma or 0.0) for a, b in zip(chosen, rejected, strict=True)]
    )
    has_sigma = bool(sigma.any())

    def loss(logs: NDArray[np.float64]) -> float:
        return _loss(margin, sigma, _reading(logs))

    start = np.zeros(2 if has_sigma else 1)
    found = minimize(
        loss,
        start,
        method="Nelder-Mead",
        bounds=[(-_REACH, _REACH)] * len(start),
        options={"xatol": 1e-5, "fatol": 1e-10},
    )
    return FittedCalibration(
        calibration=_reading(found.x), loss=float(found.fun), loss_before=loss(start)
    )


def _reading(logs: NDArray[np.float64]) -> Calibration:
    scales = np.exp(logs).tolist()
    return Calibration(scale=scales[0], sigma_scale=scales[1] if len(scales) > 1 else 1.0)


def read_chance(margin: ArrayLike, sigma: ArrayLike, reading: Calibration) -> NDArray[np.float64]:
    """Return how likely the first of each pair is better: E[sigmoid(scale (m + sigma_scale s u))].

    Args:
        margin: (M,) differences of mu.
        sigma: (M,) deviations of those differences, 0 where the model has none.
        reading: How to read them.

    Returns:
        (M,) probabilities; deterministic.
    """
    deviation = reading.scale * reading.sigma_scale * np.asarray(sigma, dtype=np.float64)
    return expected_sigmoid(
        reading.scale * np.asarray(margin, dtype=np.float64), np.minimum(deviation, _MOST)
    )


def _loss(margin: NDArray[np.float64], sigma: NDArray[np.float64], reading: Calibration) -> float:
    chance = read_chance(margin, sigma, reading)
    return float(-np.log(np.clip(chance, 1e-12, 1)).mean())
