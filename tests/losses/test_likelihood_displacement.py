from __future__ import annotations

import math

import pytest
import torch

from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.likelihood_displacement import likelihood_displacement_loss

SCORES = torch.randn(2, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_likelihood_displacement_one_pair_matches_hand_computation() -> None:
    # 1.2 - 0.5 * 0.6 = 0.9
    loss = likelihood_displacement_loss(
        score_chosen=torch.tensor([1.2]), score_rejected=torch.tensor([0.6])
    )
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-0.9)), abs=1e-6)


def test_likelihood_displacement_tau_of_one_is_bradley_terry() -> None:
    chosen, rejected = SCORES
    loss = likelihood_displacement_loss(score_chosen=chosen, score_rejected=rejected, tau=1.0)
    expected = bradley_terry_loss(score_chosen=chosen, score_rejected=rejected)
    assert loss.item() == expected.item()


def test_likelihood_displacement_gradient_of_rejected_is_tau_times_that_of_chosen() -> None:
    chosen, rejected = (each.clone().requires_grad_() for each in SCORES)
    torch.autograd.backward(
        likelihood_displacement_loss(score_chosen=chosen, score_rejected=rejected, tau=0.3)
    )
    assert chosen.grad is not None
    assert rejected.grad is not None
    torch.testing.assert_close(rejected.grad, -0.3 * chosen.grad)


def test_likelihood_displacement_shifted_scores_act_as_a_larger_gap() -> None:
    chosen, rejected = SCORES
    shifted = likelihood_displacement_loss(score_chosen=chosen + 1, score_rejected=rejected + 1)
    widened = likelihood_displacement_loss(score_chosen=chosen + 0.5, score_rejected=rejected)
    assert shifted.item() == pytest.approx(widened.item(), rel=1e-12)
