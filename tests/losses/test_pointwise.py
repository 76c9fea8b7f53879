from __future__ import annotations

import pytest
import torch

from visreward.core.errors import ShapeError
from visreward.losses.pointwise import pointwise_loss


def test_pointwise_two_images_match_hand_computation() -> None:
    # Ratings 6 and 2 with offset 4.5 become 1.5 and -2.5: errors -1.5 and 3.5.
    loss = pointwise_loss(torch.tensor([0.0, 1.0]), ratings=torch.tensor([6.0, 2.0]), offset=4.5)
    assert loss.item() == pytest.approx((1.5**2 + 3.5**2) / 2)


def test_pointwise_gradient_moves_scores_towards_their_ratings() -> None:
    scores = torch.tensor([0.0, 5.0], requires_grad=True)
    torch.autograd.backward(pointwise_loss(scores, ratings=torch.tensor([3.0, 3.0])))
    assert scores.grad is not None
    assert scores.grad.tolist() == [-3.0, 2.0]


def test_pointwise_gradient_is_that_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(6, generator=generator, dtype=torch.float64, requires_grad=True)
    ratings = torch.arange(6).double()
    assert torch.autograd.gradcheck(lambda each: pointwise_loss(each, ratings=ratings), scores)


def test_pointwise_swapped_signs_give_the_same_loss() -> None:
    scores, ratings = torch.tensor([0.3, 2.0]), torch.tensor([1.0, 4.0])
    loss = pointwise_loss(scores, ratings=ratings)
    assert loss.item() == pointwise_loss(-scores, ratings=-ratings).item()


def test_pointwise_bfloat16_and_whole_ratings_are_computed_in_float32() -> None:
    loss = pointwise_loss(
        torch.tensor([1.0], dtype=torch.bfloat16), ratings=torch.tensor([4]), offset=4.5
    )
    assert loss.dtype == torch.float32
    assert loss.item() == 2.25


def test_pointwise_column_of_scores_is_refused() -> None:
    with pytest.raises(ShapeError, match="scores"):
        pointwise_loss(torch.zeros(4, 1), ratings=torch.zeros(4))
    with pytest.raises(ShapeError, match="ratings"):
        pointwise_loss(torch.zeros(4), ratings=torch.zeros(3))
