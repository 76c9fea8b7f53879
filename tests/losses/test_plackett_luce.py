from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch

from visreward.core.errors import ShapeError, UnknownNameError
from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.plackett_luce import Ties, plackett_luce_loss

HANDLINGS: tuple[Ties, ...] = ("drop", "both-directions")
SCORES = torch.randn(3, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
RANKS = torch.tensor([[1, 2, 3, 4], [2, 1, 2, 3], [1, 1, 2, 0]])


def loss(scores: list[float], ranks: list[int], ties: Ties = "drop") -> float:
    return plackett_luce_loss(
        torch.tensor([scores], dtype=torch.float64), ranks=torch.tensor([ranks]), ties=ties
    ).item()


def test_plackett_luce_three_images_match_hand_computation() -> None:
    # exp(score) 2, 3, 5, best first: 2/10 of all, then 3/8 of what is left, then 5/5.
    logs = [math.log(value) for value in (2, 3, 5)]
    assert loss(logs, [1, 2, 3]) == pytest.approx(-math.log(2 / 10 * 3 / 8))


@pytest.mark.parametrize("ties", HANDLINGS)
def test_plackett_luce_all_orders_of_a_group_have_probability_one(ties: Ties) -> None:
    total = sum(
        math.exp(-loss([0.4, -1.0, 2.0, 0.1], list(ranks), ties))
        for ranks in permutations((1, 2, 3, 4))
    )
    assert total == pytest.approx(1)


def test_plackett_luce_dropped_tie_is_not_compared() -> None:
    # The tied two, exp 2 and 3, beat the last, exp 5, and do not meet: 2/7 and 3/8.
    logs = [math.log(value) for value in (2, 3, 5)]
    assert loss(logs, [1, 1, 2]) == pytest.approx(-math.log(2 / 7 * 3 / 8))


def test_plackett_luce_tie_in_both_directions_matches_hand_computation() -> None:
    # Each of the tied two beats all others: 2/10 and 3/10.
    logs = [math.log(value) for value in (2, 3, 5)]
    assert loss(logs, [1, 1, 2], "both-directions") == pytest.approx(-math.log(2 / 10 * 3 / 10))


def test_plackett_luce_groups_of_two_give_bradley_terry() -> None:
    chosen, rejected = SCORES[0], SCORES[1]
    expected = bradley_terry_loss(score_chosen=chosen, score_rejected=rejected)
    pairs, ranks = torch.stack([chosen, rejected], dim=1), torch.tensor([[1, 2]]).expand(4, 2)
    found = plackett_luce_loss(pairs, ranks=ranks)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    backward = bradley_terry_loss(score_chosen=rejected, score_rejected=chosen)
    tied = plackett_luce_loss(pairs, ranks=torch.ones_like(ranks), ties="both-directions")
    assert tied.item() == pytest.approx((expected + backward).item(), rel=1e-12)


@pytest.mark.parametrize("ties", HANDLINGS)
def test_plackett_luce_order_of_columns_and_size_of_ranks_do_not_matter(ties: Ties) -> None:
    expected = plackett_luce_loss(SCORES, ranks=RANKS, ties=ties).item()
    places = [2, 0, 3, 1]
    moved = plackett_luce_loss(SCORES[:, places], ranks=RANKS[:, places], ties=ties)
    assert moved.item() == pytest.approx(expected, rel=1e-12)
    assert plackett_luce_loss(SCORES, ranks=10 * RANKS, ties=ties).item() == expected


@pytest.mark.parametrize("ties", HANDLINGS)
def test_plackett_luce_absent_images_do_not_count(ties: Ties) -> None:
    scores = torch.tensor([[0.3, 1.0, -0.5, 99.0]], requires_grad=True)
    padded = plackett_luce_loss(scores, ranks=torch.tensor([[2, 1, 2, 0]]), ties=ties)
    assert padded.item() == pytest.approx(loss([0.3, 1.0, -0.5], [2, 1, 2], ties), abs=1e-6)
    torch.autograd.backward(padded)
    assert scores.grad is not None
    assert scores.grad[0, 3].item() == 0


def test_plackett_luce_mean_is_over_groups_with_an_order() -> None:
    ranks = torch.tensor([[1, 2, 3, 4], [1, 1, 1, 1], [1, 0, 0, 0]])
    alone = plackett_luce_loss(SCORES[:1], ranks=ranks[:1]).item()
    assert plackett_luce_loss(SCORES, ranks=ranks).item() == pytest.approx(alone, rel=1e-12)
    assert plackett_luce_loss(SCORES[1:], ranks=ranks[1:]).item() == 0


def test_plackett_luce_gradient_raises_the_best_and_lowers_the_worst() -> None:
    scores = torch.zeros(1, 3, requires_grad=True)
    torch.autograd.backward(plackett_luce_loss(scores, ranks=torch.tensor([[1, 2, 3]])))
    assert scores.grad is not None
    # 1/3 - 1, 1/3 + 1/2 - 1, 1/3 + 1/2
    assert scores.grad[0].tolist() == pytest.approx([-2 / 3, -1 / 6, 5 / 6], abs=1e-6)


@pytest.mark.parametrize("ties", HANDLINGS)
def test_plackett_luce_gradient_is_that_of_finite_differences(ties: Ties) -> None:
    scores = SCORES.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda each: plackett_luce_loss(each, ranks=RANKS, ties=ties), scores
    )


def test_plackett_luce_bfloat16_is_computed_in_float32() -> None:
    found = plackett_luce_loss(SCORES.bfloat16(), ranks=RANKS)
    assert found.dtype == torch.float32
    exact = plackett_luce_loss(SCORES.bfloat16().double(), ranks=RANKS)
    assert found.item() == pytest.approx(exact.item(), rel=1e-5)


def test_plackett_luce_far_scores_stay_finite_and_nan_is_not_hidden() -> None:
    far = (1e4 * SCORES).requires_grad_()
    found = plackett_luce_loss(far, ranks=RANKS)
    torch.autograd.backward(found)
    assert found.isfinite()
    assert far.grad is not None
    assert far.grad.isfinite().all()
    broken = SCORES.clone()
    broken[1, 2] = torch.nan
    assert plackett_luce_loss(broken, ranks=RANKS).isnan()


def test_plackett_luce_bad_arguments_are_refused() -> None:
    with pytest.raises(ShapeError, match="ranks"):
        plackett_luce_loss(SCORES, ranks=RANKS[:, :3])
    with pytest.raises(ShapeError, match="scores"):
        plackett_luce_loss(SCORES[0], ranks=RANKS[0])
    with pytest.raises(UnknownNameError, match="ties"):
        plackett_luce_loss(SCORES, ranks=RANKS, ties="average")  # type: ignore[arg-type]
