from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from visreward.core.errors import UsageError
from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.bradley_terry_ties import bradley_terry_ties_loss


def loss(gap: float, *, is_tie: bool, k: float = 5.0) -> float:
    return bradley_terry_ties_loss(
        score_chosen=torch.tensor([gap], dtype=torch.float64),
        score_rejected=torch.zeros(1, dtype=torch.float64),
        is_tie=torch.tensor([is_tie]),
        k=k,
    ).item()


def test_btt_loss_three_outcomes_match_hand_computation() -> None:
    # Scores 1 and 0, k = 5: e / (e + 5) = 0.352187, 1 / (1 + 5 e) = 0.068533,
    # and 24 times their product = 0.579279.
    assert math.exp(-loss(1.0, is_tie=False)) == pytest.approx(0.352187, abs=1e-6)
    assert math.exp(-loss(-1.0, is_tie=False)) == pytest.approx(0.068533, abs=1e-6)
    assert math.exp(-loss(1.0, is_tie=True)) == pytest.approx(0.579279, abs=1e-5)


@pytest.mark.parametrize("gap", [-3.0, 0.0, 0.4, 20.0])
@pytest.mark.parametrize("k", [1.01, 2.0, 5.0])
def test_btt_loss_three_outcomes_sum_to_one(gap: float, k: float) -> None:
    outcomes = (loss(gap, is_tie=False, k=k), loss(-gap, is_tie=False, k=k))
    total = sum(math.exp(-each) for each in (*outcomes, loss(gap, is_tie=True, k=k)))
    assert total == pytest.approx(1, abs=1e-12)


def test_btt_loss_equal_scores_tie_is_k_minus_one_times_as_likely() -> None:
    assert math.exp(loss(0, is_tie=False) - loss(0, is_tie=True)) == pytest.approx(4)


def test_btt_loss_tied_pair_is_symmetric() -> None:
    assert loss(1.7, is_tie=True) == loss(-1.7, is_tie=True)


def test_btt_loss_untied_pair_differs_from_its_swap() -> None:
    assert loss(1.7, is_tie=False) < loss(-1.7, is_tie=False)


def test_btt_loss_gradient_pulls_a_tie_together() -> None:
    scores = [torch.tensor([0.8], requires_grad=True), torch.tensor([0.1], requires_grad=True)]
    torch.autograd.backward(
        bradley_terry_ties_loss(
            score_chosen=scores[0], score_rejected=scores[1], is_tie=torch.tensor([True])
        )
    )
    higher, lower = (each.grad for each in scores)
    assert higher is not None
    assert lower is not None
    assert higher.item() > 0 > lower.item()


def test_btt_loss_k_near_one_is_bradley_terry_for_untied_pairs() -> None:
    expected = bradley_terry_loss(
        score_chosen=torch.tensor([0.3]), score_rejected=torch.tensor([0.0])
    )
    assert loss(0.3, is_tie=False, k=1 + 1e-9) == pytest.approx(expected.item(), abs=1e-6)


def test_btt_loss_each_pair_has_its_own_mask() -> None:
    chosen, is_tie = torch.tensor([0.5, -2.0, 1.0]), torch.tensor([True, False, True])
    together = bradley_terry_ties_loss(
        score_chosen=chosen, score_rejected=torch.zeros(3), is_tie=is_tie
    )
    alone = [
        loss(gap, is_tie=tied) for gap, tied in zip(chosen.tolist(), is_tie.tolist(), strict=True)
    ]
    assert together.item() == pytest.approx(sum(alone) / 3, abs=1e-6)


@pytest.mark.parametrize(
    ("is_tie", "k", "message"),
    [
        (torch.tensor([1.0]), 5.0, "is_tie has dtype"),
        (torch.tensor([True]), 1.0, "k is 1.0"),
        (torch.tensor([True]), math.nan, "k is nan"),
        (torch.tensor([True]), math.inf, "k is inf"),
    ],
)
def test_btt_loss_bad_arguments_are_refused(is_tie: Tensor, k: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bradley_terry_ties_loss(
            score_chosen=torch.zeros(1), score_rejected=torch.zeros(1), is_tie=is_tie, k=k
        )
