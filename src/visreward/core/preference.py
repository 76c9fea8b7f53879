"""How likely one image is preferred to another, from two Gaussian scores.

With scores s_a ~ N(mu_a, sigma_a^2) and s_b ~ N(mu_b, sigma_b^2), independent, the difference is
N(m, s^2) with m = mu_a - mu_b and s^2 = sigma_a^2 + sigma_b^2, and

    P(a beats b) = E[sigmoid(m + s u)], u ~ N(0, 1)

Paper: EditReward (ICLR 2026, arXiv 2509.26346), section 4: the double integral over both scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import UsageError
from visreward.core.types import Score

Method = Literal["quadrature", "probit"]

_REACH = 9.0
"""Beyond so many deviations lies less than 1e-18 of a Gaussian."""

_MAX_VALUES = 1 << 22
"""How many values of the integrand are held at once: 32 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How to read a model's scores as probabilities, fitted on pairs that it was not trained on.

    Attributes:
        scale: What differences of mu are multiplied with.
        sigma_scale: What sigmas are multiplied with, before that.
    """

    scale: float = 1.0
    sigma_scale: float = 1.0

    def __post_init__(self) -> None:
        is_scale = math.isfinite(self.scale) and self.scale > 0
        if not (is_scale and math.isfinite(self.sigma_scale) and self.sigma_scale >= 0):
            raise UsageError(
                f"The calibration has scale = {self.scale} and sigma_scale = {self.sigma_scale}. "
                "Give a finite scale above 0 and a finite sigma_scale of 0 or more."
            )


def expected_sigmoid(
    mean: ArrayLike, deviation: ArrayLike, *, method: Method = "quadrature"
) -> NDArray[np.float64]:
    """Return E[sigmoid(z)] for z ~ N(mean, deviation^2); deterministic.

    Args:
        mean: Finite numbers, any shape.
        deviation: Numbers of 0 or more, of the same shape or one that broadcasts.
        method: `quadrature` is exact to 1e-12: a trapezoidal sum, which converges exponentially
            here. `probit` is sigmoid(mean / sqrt(1 + pi deviation^2 / 8)), within 0.02 of it.

    Returns:
        Values in [0, 1], float64, of the common shape.

    Raises:
        UsageError: if there is no such method.
    """
    means, deviations = np.broadcast_arrays(
        np.asarray(mean, dtype=np.float64), np.asarray(deviation, dtype=np.float64)
    )
    if method == "probit":
        return _sigmoid(means / np.sqrt(1 + np.pi * deviations**2 / 8))
    if method != "quadrature":
        raise UsageError(f"The method is {method!r}. Give 'quadrature' or 'probit'.")
    step = min(0.25, 0.5 / max(float(deviations.max(initial=0)), 1e-9))
    num = math.ceil(_REACH / step)
    points = np.arange(-num, num + 1) * step
    weights = np.exp(-(points**2) / 2)
    weights /= weights.sum()
    rows = max(1, _MAX_VALUES // len(points))
    found = [
        _sigmoid(
            means.ravel()[start : start + rows, None]
            + deviations.ravel()[start : start + rows, None] * points
        )
        @ weights
        for start in range(0, means.size, rows)
    ]
    return np.concatenate(found or [np.empty(0)]).reshape(means.shape)


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(values / 2))


def preference(
    a: Score, b: Score, *, method: Method = "quadrature", calibration: Calibration | None = None
) -> float:
    """Return the probability that `a` beats `b`, in (0, 1).

    Args:
        a: A score; without a sigma it counts as certain.
        b: A score of the same model and revision.
        method: See `expected_sigmoid`.
        calibration: How to read the scores, or None for as they are.

    Raises:
        UsageError: if the scores are of two models or revisions.
    """
    if (a.model, a.revision) != (b.model, b.revision):
        raise UsageError(
            f"The scores are of '{a.model}' {a.revision} and '{b.model}' {b.revision}. Compare "
            "scores of one model and one revision."
        )
    reading = calibration or Calibration()
    deviation = math.hypot(a.sigma or 0.0, b.sigma or 0.0) * reading.sigma_scale
    difference = reading.scale * (a.value - b.value)
    return float(expected_sigmoid(difference, reading.scale * deviation, method=method))
