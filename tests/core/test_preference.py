"""Preference probabilities of Gaussian scores."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from visreward.core.errors import UsageError
from visreward.core.preference import Calibration, Method, expected_sigmoid, preference
from visreward.core.types import Score

MEANS = st.floats(-8, 8)
DEVIATIONS = st.floats(0, 20)


@pytest.mark.parametrize("mean", [-3.0, 0.0, 0.7, 25.0])
@pytest.mark.parametrize("deviation", [0.0, 0.01, 1.0, 6.0, 80.0])
def test_quadrature_is_the_integral(mean: float, deviation: float) -> None:
    def integrand(point: float) -> float:
        sigmoid = 0.5 * (1 + math.tanh((mean + deviation * point) / 2))
        return sigmoid * math.exp(-(point**2) / 2) / math.sqrt(2 * math.pi)

    edge = 0.0 if deviation == 0 else -mean / deviation
    breaks = [edge] if abs(edge) < 9 else None
    expected, _ = quad(integrand, -9, 9, points=breaks, epsabs=1e-13, limit=400)
    assert expected_sigmoid(mean, deviation) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize(("mean", "deviation"), [(0.8, 0.5), (-1.5, 2.0), (3.0, 4.0)])
def test_both_methods_agree_with_sampling(mean: float, deviation: float) -> None:
    drawn = np.random.default_rng(7).normal(mean, deviation, 400_000)
    values = 1 / (1 + np.exp(-drawn))
    error = values.std() / math.sqrt(len(values))
    assert abs(expected_sigmoid(mean, deviation) - values.mean()) < 5 * error
    assert abs(expected_sigmoid(mean, deviation, method="probit") - values.mean()) < 0.02


@given(MEANS, DEVIATIONS)
def test_probit_is_within_two_hundredths(mean: float, deviation: float) -> None:
    probit = expected_sigmoid(mean, deviation, method="probit")
    assert probit == pytest.approx(expected_sigmoid(mean, deviation), abs=0.02)


def score(value: float, sigma: float | None = None, *, model: str = "m") -> Score:
    return Score(value=value, sigma=sigma, model=model, revision="r")


@given(MEANS, MEANS, DEVIATIONS, DEVIATIONS)
def test_one_of_two_is_preferred(one: float, other: float, s_one: float, s_other: float) -> None:
    a, b = score(one, s_one), score(other, s_other)
    assert preference(a, b) + preference(b, a) == pytest.approx(1, abs=1e-12)


def test_without_sigma_it_is_bradley_terry_and_sigma_draws_towards_a_half() -> None:
    sure = preference(score(2.0), score(0.5))
    assert sure == pytest.approx(1 / (1 + math.exp(-1.5)))
    assert 0.5 < preference(score(2.0, 3.0), score(0.5, 4.0)) < sure
    both = expected_sigmoid(1.5, 5.0)
    assert preference(score(2.0, 3.0), score(0.5, 4.0)) == pytest.approx(both)


def test_calibration_scales_differences_and_sigmas() -> None:
    reading = Calibration(scale=0.5, sigma_scale=3.0)
    found = preference(score(2.0, 0.3), score(0.0, 0.4), calibration=reading)
    assert found == pytest.approx(expected_sigmoid(1.0, 0.75))


@pytest.mark.parametrize(("scale", "sigma_scale"), [(0, 1), (-1, 1), (math.nan, 1), (1, -0.1)])
def test_calibration_refuses_what_makes_no_probability(scale: float, sigma_scale: float) -> None:
    with pytest.raises(UsageError, match=r"finite scale above 0"):
        Calibration(scale=scale, sigma_scale=sigma_scale)


def test_scores_of_two_models_are_refused() -> None:
    with pytest.raises(UsageError, match="one model and one revision"):
        preference(score(1.0), score(0.0, model="n"))


def test_unknown_method_is_refused() -> None:
    with pytest.raises(UsageError, match="'quadrature' or 'probit'"):
        expected_sigmoid(0, 1, method=cast("Method", "sampling"))
