from __future__ import annotations

import math

import pytest
import torch

from visreward.core.errors import UnknownNameError
from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.pair_softmax import pair_softmax_loss

SCORES = torch.randn(2, 9, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def test_pair_softmax_paper_is_bradley_terry() -> None:
    chosen, rejected = SCORES
    expected = -torch.log_softmax(SCORES.T, dim=1)[:, 0].mean()
    loss = pair_softmax_loss(score_chosen=chosen, score_rejected=rejected)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    known = bradley_terry_loss(score_chosen=chosen, score_rejected=rejected)
    assert loss.item() == known.item()


def test_pair_softmax_released_two_pairs_match_hand_computation() -> None:
    # Scores log 3 and 0: probabilities 0.75 and 0.25. Right way round the second softmax gives
    # 1 / (1 + e^-0.5) = 0.622459, the other way 0.377541; the loss is a sum.
    gap = math.log(3)
    loss = pair_softmax_loss(
        score_chosen=torch.tensor([gap, 0.0]),
        score_rejected=torch.tensor([0.0, gap]),
        fidelity="released",
    )
    assert loss.item() == pytest.approx(-math.log(0.622459) - math.log(0.377541), abs=1e-5)


def test_pair_softmax_released_is_bounded_and_loses_its_gradient() -> None:
    losses, slopes = [], []
    for gap in (-40.0, 40.0):
        chosen = torch.tensor([gap], requires_grad=True)
        loss = pair_softmax_loss(
            score_chosen=chosen, score_rejected=torch.zeros(1), fidelity="released"
        )
        torch.autograd.backward(loss)
        assert chosen.grad is not None
        losses.append(loss.item())
        slopes.append(chosen.grad.item())
    assert losses == pytest.approx([math.log(1 + math.e), math.log(1 + 1 / math.e)], abs=1e-6)
    assert slopes == pytest.approx([0, 0], abs=1e-6)


def test_pair_softmax_released_swapped_pair_differs_by_twice_the_probability() -> None:
    chosen, rejected = SCORES
    forward = pair_softmax_loss(score_chosen=chosen, score_rejected=rejected, fidelity="released")
    backward = pair_softmax_loss(score_chosen=rejected, score_rejected=chosen, fidelity="released")
    expected = (2 * torch.sigmoid(chosen - rejected) - 1).sum()
    assert (backward - forward).item() == pytest.approx(expected.item(), rel=1e-12)


def test_pair_softmax_unknown_fidelity_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="fidelity"):
        pair_softmax_loss(
            score_chosen=torch.zeros(1),
            score_rejected=torch.zeros(1),
            fidelity="exact",  # type: ignore[arg-type]
        )
