"""The loss of preference pairs whose scores are Gaussians.

With s ~ N(mu, sigma^2) for both images of a pair, independent, the difference chosen - rejected is
z ~ N(mu_c - mu_r, sigma_c^2 + sigma_r^2).

Shape letters: B pairs, Q points of the quadrature.
"""

from __future__ import annotations

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


def uncertainty_loss(
    *,
    mu_chosen: Tensor,
    log_sigma_chosen: Tensor,
    mu_rejected: Tensor,
    log_sigma_rejected: Tensor,
    fidelity: Fidelity = "paper",
    margin: float = 0.0,
) -> Tensor:
    """Return the uncertainty loss of a batch of preference pairs, by quadrature.

    paper: -mean(log E[sigmoid(z - margin)]), the likelihood of EditReward (ICLR 2026, arXiv
    2509.26346), section 4. A larger sigma costs less where the order is wrong, so sigma learns
    how sure the model may be.
    released: mean(E[-log sigmoid(z - margin)]), what the EditReward and HPSv3 releases compute
    (`uncertainty`, `uncertainty_with_margin`), there with 1,000 samples for each pair. It grows
    with sigma for every pair, right or wrong, so sigma is pushed towards 0.

    Args:
        mu_chosen: (B,) float, higher is better.
        log_sigma_chosen: (B,) float.
        mu_rejected: (B,) float, same order.
        log_sigma_rejected: (B,) float, same order.
        fidelity: `paper` or `released`.
        margin: Gap in score units; 0 asks for none.

    Returns:
        Scalar float tensor, differentiable, deterministic, at least float32. NaN in an input
        gives NaN: the caller stops.

    Raises:
        ShapeError: if the inputs are not of one shape (B,).
        UnknownNameError: if the fidelity is unknown.
    """
    require_fidelity(fidelity)
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
    points = torch.linspace(-_REACH, _REACH, _POINTS, dtype=dtype, device=mean.device)
    log_weights = torch.log_softmax(-(points**2) / 2, dim=0)
    log_sigmoids = logsigmoid(mean[:, None] + deviation[:, None] * points)
    if fidelity == "released":
        return -(log_sigmoids @ log_weights.exp()).mean()
    return -torch.logsumexp(log_sigmoids + log_weights, dim=1).mean()
