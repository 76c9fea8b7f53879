"""Losses of preference pairs with soft labels: how many annotators chose each image.

With share = votes_chosen / (votes_chosen + votes_rejected), both losses are the cross-entropy of
the preference probability P with the share of votes,

    loss = -mean(share log P(chosen beats rejected) + (1 - share) log P(rejected beats chosen))

Shape letters: B pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from visreward.core.types import Fidelity
from visreward.losses.checks import require_shape
from visreward.losses.gaussian_difference import gaussian_difference, order_losses
from visreward.losses.precision import at_least_float32


def vote_share_loss(
    *, score_chosen: Tensor, score_rejected: Tensor, votes_chosen: Tensor, votes_rejected: Tensor
) -> Tensor:
    """Return the cross-entropy of Bradley-Terry with the share of votes.

    P(chosen beats rejected) = sigmoid(score_chosen - score_rejected)
    Source: the form of "Human Preference Score v2" (arXiv 2306.09341), section on training, with
    counts for labels. The EditReward and HPSv3 releases have no loss of this kind: votes drop
    pairs there, or mark them as ties. It is least where the gap is log(votes_chosen /
    votes_rejected), so a pair on which all agree has no finite best gap, and a tied vote pulls two
    scores together.

    Args:
        score_chosen: (B,) float, higher is better.
        score_rejected: (B,) float, same order as `score_chosen`.
        votes_chosen: (B,) float or int, 0 or more: votes for the image in `score_chosen`.
        votes_rejected: (B,) float or int, 0 or more. A pair without a vote gives NaN.

    Returns:
        Scalar float tensor, differentiable in the scores, deterministic, at least float32. NaN in
        an input gives NaN: the caller stops.

    Raises:
        ShapeError: if the inputs are not of one shape (B,).
    """
    require_shape(
        ("B",),
        score_chosen=score_chosen,
        score_rejected=score_rejected,
        votes_chosen=votes_chosen,
        votes_rejected=votes_rejected,
    )
    difference = at_least_float32(score_chosen) - at_least_float32(score_rejected)
    share = _share(votes_chosen=votes_chosen, votes_rejected=votes_rejected, dtype=difference.dtype)
    return (share * softplus(-difference) + (1 - share) * softplus(difference)).mean()


def vote_share_uncertainty_loss(
    *,
    mu_chosen: Tensor,
    log_sigma_chosen: Tensor,
    mu_rejected: Tensor,
    log_sigma_rejected: Tensor,
    votes_chosen: Tensor,
    votes_rejected: Tensor,
    fidelity: Fidelity = "paper",
) -> Tensor:
    """Return the cross-entropy of the uncertainty loss's probability with the share of votes.

    paper: P(chosen beats rejected) = E[sigmoid(z)], see `uncertainty_loss`.
    released: E[-log sigmoid(z)] stands in for -log P, as in the EditReward and HPSv3 releases,
    which have no form with votes; sigma is pushed towards 0.

    Args:
        mu_chosen: (B,) float, higher is better.
        log_sigma_chosen: (B,) float.
        mu_rejected: (B,) float, same order.
        log_sigma_rejected: (B,) float, same order.
        votes_chosen: (B,) float or int, 0 or more: votes for the image in `mu_chosen`.
        votes_rejected: (B,) float or int, 0 or more. A pair without a vote gives NaN.
        fidelity: `paper` or `released`.

    Returns:
        Scalar float tensor, differentiable in the scores, deterministic, at least float32. NaN in
        an input gives NaN: the caller stops.

    Raises:
        ShapeError: if the inputs are not of one shape (B,).
        UnknownNameError: if the fidelity is unknown.
    """
    require_shape(
        ("B",), mu_chosen=mu_chosen, votes_chosen=votes_chosen, votes_rejected=votes_rejected
    )
    difference = gaussian_difference(
        mu_chosen=mu_chosen,
        log_sigma_chosen=log_sigma_chosen,
        mu_rejected=mu_rejected,
        log_sigma_rejected=log_sigma_rejected,
    )
    forward = order_losses(difference, fidelity)
    backward = order_losses(difference.reversed(), fidelity)
    share = _share(votes_chosen=votes_chosen, votes_rejected=votes_rejected, dtype=forward.dtype)
    return (share * forward + (1 - share) * backward).mean()


def _share(*, votes_chosen: Tensor, votes_rejected: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (B,) shares in [0, 1], NaN where nobody voted."""
    votes = votes_chosen.to(dtype)
    return votes / (votes + votes_rejected.to(dtype))
