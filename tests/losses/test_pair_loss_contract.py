"""What every loss of pairs does: shapes, precision, gradients, one pair, NaN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from visreward.core.errors import ShapeError
from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.bradley_terry_ties import bradley_terry_ties_loss
from visreward.losses.likelihood_displacement import likelihood_displacement_loss
from visreward.losses.pair_softmax import pair_softmax_loss
from visreward.losses.uncertainty import sampled_uncertainty_loss, uncertainty_loss
from visreward.losses.vote_shares import vote_share_loss, vote_share_uncertainty_loss

Loss = Callable[..., Tensor]
NUM_PAIRS = 7


def repeated_samples(**arguments: Any) -> Tensor:  # Any: keyword arguments
    return sampled_uncertainty_loss(
        **arguments, generator=torch.Generator().manual_seed(5), num_samples=50
    )


@dataclass(frozen=True)
class Case:
    """A loss, and what it takes beside two scores."""

    loss: Loss
    is_gaussian: bool = False
    has_votes: bool = False
    has_ties: bool = False

    def learned(self) -> dict[str, Tensor]:
        names = ["score_chosen", "score_rejected"]
        if self.is_gaussian:
            names = ["mu_chosen", "mu_rejected", "log_sigma_chosen", "log_sigma_rejected"]
        generator = torch.Generator().manual_seed(11)
        return {
            name: torch.randn(NUM_PAIRS, generator=generator, dtype=torch.float64) for name in names
        }

    def given(self) -> dict[str, Tensor]:
        found = {}
        if self.has_votes:
            found["votes_chosen"] = torch.tensor([9, 7, 5, 12, 6, 8, 4])
            found["votes_rejected"] = torch.tensor([3, 0, 5, 1, 5, 7, 3])
        if self.has_ties:
            found["is_tie"] = torch.tensor([False, True, False, False, True, False, False])
        return found


CASES = {
    "bradley-terry": Case(partial(bradley_terry_loss, margin=0.57)),
    "ties": Case(bradley_terry_ties_loss, has_ties=True),
    "displacement": Case(likelihood_displacement_loss),
    "softmax": Case(pair_softmax_loss),
    "softmax-released": Case(partial(pair_softmax_loss, fidelity="released")),
    "votes": Case(vote_share_loss, has_votes=True),
    "uncertainty": Case(uncertainty_loss, is_gaussian=True),
    "uncertainty-released": Case(
        partial(uncertainty_loss, fidelity="released", margin=0.57), is_gaussian=True
    ),
    "samples": Case(repeated_samples, is_gaussian=True),
    "samples-paper": Case(partial(repeated_samples, fidelity="paper"), is_gaussian=True),
    "gaussian-votes": Case(vote_share_uncertainty_loss, is_gaussian=True, has_votes=True),
    "gaussian-votes-released": Case(
        partial(vote_share_uncertainty_loss, fidelity="released"), is_gaussian=True, has_votes=True
    ),
}
every_loss = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@every_loss
def test_pair_loss_gradient_is_that_of_finite_differences(case: Case) -> None:
    learned = {name: each.requires_grad_() for name, each in case.learned().items()}

    def loss(*values: Tensor) -> Tensor:
        return case.loss(**dict(zip(learned, values, strict=True)), **case.given())

    assert torch.autograd.gradcheck(loss, tuple(learned.values()))


@every_loss
def test_pair_loss_float32_and_bfloat16_stay_close_to_float64(case: Case) -> None:
    exact = case.loss(**case.learned(), **case.given())
    assert exact.dtype == torch.float64
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        rounded = {name: each.to(dtype) for name, each in case.learned().items()}
        loss = case.loss(**rounded, **case.given())
        assert loss.dtype == torch.float32
        assert loss.shape == ()
        assert loss.item() == pytest.approx(exact.item(), rel=tolerance)


@every_loss
def test_pair_loss_gradient_raises_chosen_and_lowers_rejected_of_a_won_pair(case: Case) -> None:
    learned = {name: each.requires_grad_() for name, each in case.learned().items()}
    torch.autograd.backward(case.loss(**learned, **case.given()))
    kind = "mu" if case.is_gaussian else "score"
    up, down = learned[f"{kind}_chosen"].grad, learned[f"{kind}_rejected"].grad
    assert up is not None
    assert down is not None
    # A tie and a divided vote can pull either way; the second pair of a vote is unanimous.
    won = slice(1, 2) if case.has_votes else ~case.given().get("is_tie", torch.zeros(7).bool())
    assert (up[won] < 0).all()
    assert (down[won] > 0).all()


@every_loss
def test_pair_loss_batch_of_one_is_its_share_of_the_batch(case: Case) -> None:
    if case.loss in (CASES["samples"].loss, CASES["samples-paper"].loss):
        pytest.skip("another batch size draws other noise")
    arguments = {**case.learned(), **case.given()}
    alone = [
        case.loss(**{name: each[pair : pair + 1] for name, each in arguments.items()}).item()
        for pair in range(NUM_PAIRS)
    ]
    is_sum = case is CASES["softmax-released"]
    expected = sum(alone) / (1 if is_sum else NUM_PAIRS)
    assert case.loss(**arguments).item() == pytest.approx(expected, rel=1e-12)


@every_loss
def test_pair_loss_tensor_of_another_shape_is_refused(case: Case) -> None:
    arguments = {**case.learned(), **case.given()}
    for name, each in arguments.items():
        for wrong in (each[:3], each[:, None], each[:0]):
            with pytest.raises(ShapeError):
                case.loss(**{**arguments, name: wrong})


@every_loss
def test_pair_loss_nan_in_a_score_is_not_hidden(case: Case) -> None:
    for name in case.learned():
        learned = case.learned()
        learned[name][2] = torch.nan
        assert case.loss(**learned, **case.given()).isnan()


@every_loss
def test_pair_loss_far_scores_stay_finite(case: Case) -> None:
    learned = case.learned()
    for name in learned:
        if not name.startswith("log_sigma"):
            learned[name] = (1e4 * learned[name]).float().requires_grad_()
    loss = case.loss(**learned, **case.given())
    torch.autograd.backward(loss)
    assert loss.isfinite()
    for each in learned.values():
        assert each.grad is None or each.grad.isfinite().all()
