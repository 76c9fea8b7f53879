"""The difference of two Gaussian scores, and what its order costs.

With s ~ N(mu, sigma^2) for both images of a pair, independent, the difference chosen - rejected is
z ~ N(mu_c - mu_r, sigma_c^2 + sigma_r^2).

Shape letters: B pairs, Q points of the quadrature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from visreward.core.types import Fidelity
from visreward.losses.checks import require_fidelity, require_shape

_REACH: Final = 9.0
"""Beyond so many deviations lies less than 1e-18 of a Gaussian."""
_POINTS: Final = 577
"""A trapezoidal sum, which converges exponentially here: exact to 1e-12 up to a deviation of 20
of z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianDifference:
    """Score differences of B pairs, each a Gaussian.

    Attributes:
        mean: (B,) float, at least float32.
        deviation: (B,) float above 0, same dtype.
    """

    mean: Tensor
    deviation: Tensor

    def reversed(self) -> GaussianDifference:
        """Return the differences rejected - chosen."""
        return GaussianDifference(mean=-self.mean, deviation=self.deviation)


def gaussian_difference(
    *,
    mu_chosen: Tensor,
    log_sigma_chosen: Tensor,
    mu_rejected: Tensor,
    log_sigma_rejected: Tensor,
    margin: float = 0.0,
) -> GaussianDifference:
    """Return chosen - rejected - margin of a batch of preference pairs.

    Args:
        mu_chosen: (B,) float, higher is better.
        log_sigma_chosen: (B,) float.
        mu_rejected: (B,) float, same order.
        log_sigma_rejected: (B,) float, same order.
        margin: Gap in score units; 0 asks for none.

    Returns:
        The differences, differentiable.

    Raises:
        ShapeError: if the inputs are not of one shape (B,).
    """
    require_shape(
        ("B",),
        mu_chosen=mu_chosen,
        log_sigma_chosen=log_sigma_chosen,
        mu_rejected=mu_rejected,
        log_sigma_rejected=log_sigma_rejected,
    )
    dtype = torch.promote_types(mu_chosen.dtype, torch.float32)
    mean = (mu_chosen - mu_rejected).to(dtype) - margin
    log_sigmas = torch.stack([log_sigma_chosen, log_sigma_rejected]).to(dtype)
    deviation = torch.logsumexp(2 * log_sigmas, dim=0).mul(0.5).exp()
    return GaussianDifference(mean=mean, deviation=deviation)


def order_losses(difference: GaussianDifference, fidelity: Fidelity) -> Tensor:
    """Return what the order chosen over rejected costs, by quadrature.

    paper: -log E[sigmoid(z)]. released: E[-log sigmoid(z)].

    Args:
        difference: The differences z of B pairs.
        fidelity: `paper` or `released`.

    Returns:
        (B,) float, 0 or more, differentiable, deterministic.

    Raises:
        UnknownNameError: if the fidelity is unknown.
    """
    require_fidelity(fidelity)
    mean, deviation = difference.mean, difference.deviation
    points = torch.linspace(-_REACH, _REACH, _POINTS, dtype=mean.dtype, device=mean.device)
    log_weights = torch.log_softmax(-(points**2) / 2, dim=0)
    log_sigmoids = logsigmoid(mean[:, None] + deviation[:, None] * points)
    if fidelity == "released":
        return -(log_sigmoids @ log_weights.exp())
    return -torch.logsumexp(log_sigmoids + log_weights, dim=1)


def sampled_order_losses(
    difference: GaussianDifference,
    fidelity: Fidelity,
    *,
    num_samples: int,
    generator: torch.Generator,
) -> Tensor:
    """Return what the order chosen over rejected costs, from samples of z.

    Args:
        difference: The differences z of B pairs.
        fidelity: `paper` or `released`, see `order_losses`.
        num_samples: Samples for each pair, 1 or more.
        generator: Where the noise comes from, on the device of the scores.

    Returns:
        (B,) float, 0 or more, differentiable, the same for the same state of the generator.

    Raises:
        UnknownNameError: if the fidelity is unknown.
    """
    require_fidelity(fidelity)
    mean, deviation = difference.mean, difference.deviation
    noise = torch.randn(
        (len(mean), num_samples), generator=generator, dtype=torch.float32, device=mean.device
    ).to(mean.dtype)
    log_sigmoids = logsigmoid(mean[:, None] + deviation[:, None] * noise)
    if fidelity == "released":
        return -log_sigmoids.mean(dim=1)
    return math.log(num_samples) - torch.logsumexp(log_sigmoids, dim=1)
