"""The loss of preference pairs whose scores are Gaussians; see `gaussian_difference` for z.

Shape letters: B pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from visreward.core.errors import UsageError
from visreward.core.types import Fidelity
from visreward.losses.gaussian_difference import (
    gaussian_difference,
    order_losses,
    sampled_order_losses,
)


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
    difference = gaussian_difference(
        mu_chosen=mu_chosen,
        log_sigma_chosen=log_sigma_chosen,
        mu_rejected=mu_rejected,
        log_sigma_rejected=log_sigma_rejected,
        margin=margin,
    )
    return order_losses(difference, fidelity).mean()


def sampled_uncertainty_loss(
    *,
    mu_chosen: Tensor,
    log_sigma_chosen: Tensor,
    mu_rejected: Tensor,
    log_sigma_rejected: Tensor,
    generator: torch.Generator,
    num_samples: int = 1000,
    fidelity: Fidelity = "released",
    margin: float = 0.0,
) -> Tensor:
    """Return the uncertainty loss of a batch of preference pairs, from samples of z.

    released: -mean(log sigmoid(z_s - margin)) over pairs and samples s, without bias. The
    EditReward and HPSv3 releases draw 1,000 samples in float32 and round them to float16; here
    they stay in float32.
    paper: -mean(log mean_s(sigmoid(z_s - margin))). The logarithm of a mean over few samples is
    too small on average (Jensen), so each pair costs more than it should by about
    Var[sigmoid(z)] / (2 num_samples E[sigmoid(z)]^2). `uncertainty_loss` has neither noise nor
    bias, at 577 points a pair.

    Args:
        mu_chosen: (B,) float, higher is better.
        log_sigma_chosen: (B,) float.
        mu_rejected: (B,) float, same order.
        log_sigma_rejected: (B,) float, same order.
        generator: Where the noise comes from, on the device of the scores; it moves on.
        num_samples: Samples for each pair, 1 or more.
        fidelity: `released` or `paper`.
        margin: Gap in score units; 0 asks for none.

    Returns:
        Scalar float tensor, differentiable, at least float32, the same for the same state of the
        generator. NaN in an input gives NaN: the caller stops.

    Raises:
        ShapeError: if the scores are not of one shape (B,).
        UnknownNameError: if the fidelity is unknown.
        UsageError: if there is no sample.
    """
    if num_samples < 1:
        raise UsageError(f"num_samples is {num_samples}. Give 1 or more.")
    difference = gaussian_difference(
        mu_chosen=mu_chosen,
        log_sigma_chosen=log_sigma_chosen,
        mu_rejected=mu_rejected,
        log_sigma_rejected=log_sigma_rejected,
        margin=margin,
    )
    return sampled_order_losses(
        difference, fidelity, num_samples=num_samples, generator=generator
    ).mean()
