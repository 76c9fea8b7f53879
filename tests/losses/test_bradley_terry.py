from __future__ import annotations

import math

import pytest
import torch

from visreward.core.errors import ShapeError
from visreward.losses.bradley_terry import bradley_terry_loss


def test_bradley_terry_two_pairs_matches_hand_computation() -> None:
    # Gaps of 2 and -1: -log sigmoid gives 0.126928 and 1.313262.
    loss = bradley_terry_loss(
        score_chosen=torch.tensor([3.0, 0.0]), score_rejected=torch.tensor([1.0, 1.0])
    )
    assert loss.item() == pytest.approx((0.126928 + 1.313262) / 2, abs=1e-5)


def test_bradley_terry_margin_shifts_the_gap() -> None:
    one, other = torch.tensor([1.3]), torch.tensor([0.2])
    loss = bradley_terry_loss(score_chosen=one, score_rejected=other, margin=0.57)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-(1.1 - 0.57))), abs=1e-6)


def test_bradley_terry_swapped_pair_differs_by_the_gap() -> None:
    chosen, rejected = torch.randn(2, 20, dtype=torch.float64).unbind()
    forward = bradley_terry_loss(score_chosen=chosen, score_rejected=rejected)
    backward = bradley_terry_loss(score_chosen=rejected, score_rejected=chosen)
    # log sigmoid(z) - log sigmoid(-z) = z
    assert (backward - forward).item() == pytest.approx((chosen - rejected).mean().item())


def test_bradley_terry_gradient_raises_chosen_and_lowers_rejected() -> None:
    chosen = torch.zeros(1, requires_grad=True)
    rejected = torch.zeros(1, requires_grad=True)
    torch.autograd.backward(bradley_terry_loss(score_chosen=chosen, score_rejected=rejected))
    assert (chosen.grad, rejected.grad) == (torch.tensor([-0.5]), torch.tensor([0.5]))


def test_bradley_terry_bfloat16_is_computed_in_float32() -> None:
    scores = torch.tensor([1.0, 0.25], dtype=torch.bfloat16)
    loss = bradley_terry_loss(score_chosen=scores[:1], score_rejected=scores[1:])
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-0.75)), abs=1e-6)


def test_bradley_terry_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ShapeError, match="score_rejected"):
        bradley_terry_loss(score_chosen=torch.zeros(3), score_rejected=torch.zeros(2))
