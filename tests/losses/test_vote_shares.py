from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from visreward.core.errors import UnknownNameError
from visreward.core.preference import expected_sigmoid
from visreward.core.types import Fidelity
from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.uncertainty import uncertainty_loss
from visreward.losses.vote_shares import vote_share_loss, vote_share_uncertainty_loss

FIDELITIES: tuple[Fidelity, ...] = ("paper", "released")
VOTES: dict[str, Any] = {  # Any: keyword arguments
    "votes_chosen": torch.tensor([12, 7, 3, 5]),
    "votes_rejected": torch.tensor([7, 0, 6, 5]),
}
SWAPPED_VOTES: dict[str, Any] = {
    "votes_chosen": VOTES["votes_rejected"],
    "votes_rejected": VOTES["votes_chosen"],
}


def scores() -> dict[str, Any]:  # Any: keyword arguments
    chosen, rejected = torch.randn(
        2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    return {"score_chosen": chosen, "score_rejected": rejected}


def gaussians() -> dict[str, Any]:  # Any: keyword arguments
    values = torch.randn(4, 4, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    names = ("mu_chosen", "log_sigma_chosen", "mu_rejected", "log_sigma_rejected")
    return dict(zip(names, values, strict=True))


def swapped(given: dict[str, Tensor]) -> dict[str, Any]:  # Any: keyword arguments
    other = {"chosen": "rejected", "rejected": "chosen"}
    renamed = {}
    for name, each in given.items():
        kind, _, side = name.rpartition("_")
        renamed[f"{kind}_{other[side]}"] = each
    return renamed


def test_vote_share_one_pair_matches_hand_computation() -> None:
    # 3 of 4 votes, a gap of log 9: probabilities 0.9 and 0.1.
    loss = vote_share_loss(
        score_chosen=torch.tensor([math.log(9)]),
        score_rejected=torch.zeros(1),
        votes_chosen=torch.tensor([3]),
        votes_rejected=torch.tensor([1]),
    )
    assert loss.item() == pytest.approx(-0.75 * math.log(0.9) - 0.25 * math.log(0.1), abs=1e-6)


def test_vote_share_unanimous_votes_give_bradley_terry() -> None:
    ones, zeros = torch.ones(4), torch.zeros(4)
    loss = vote_share_loss(**scores(), votes_chosen=ones, votes_rejected=zeros)
    assert loss.item() == pytest.approx(bradley_terry_loss(**scores()).item(), rel=1e-12)
    for fidelity in FIDELITIES:
        soft = vote_share_uncertainty_loss(
            **gaussians(), votes_chosen=ones, votes_rejected=zeros, fidelity=fidelity
        )
        hard = uncertainty_loss(**gaussians(), fidelity=fidelity)
        assert soft.item() == pytest.approx(hard.item(), rel=1e-12)


def test_vote_share_swapped_images_and_votes_give_the_same_loss() -> None:
    one = vote_share_loss(**scores(), **VOTES)
    other = vote_share_loss(**swapped(scores()), **SWAPPED_VOTES)
    assert one.item() == pytest.approx(other.item(), rel=1e-12)
    for fidelity in FIDELITIES:
        one = vote_share_uncertainty_loss(**gaussians(), **VOTES, fidelity=fidelity)
        other = vote_share_uncertainty_loss(
            **swapped(gaussians()), **SWAPPED_VOTES, fidelity=fidelity
        )
        assert one.item() == pytest.approx(other.item(), rel=1e-12)


def test_vote_share_gradient_is_zero_where_odds_equal_votes() -> None:
    chosen = torch.tensor([math.log(12 / 7)], dtype=torch.float64, requires_grad=True)
    torch.autograd.backward(
        vote_share_loss(
            score_chosen=chosen,
            score_rejected=torch.zeros(1, dtype=torch.float64),
            votes_chosen=torch.tensor([12]),
            votes_rejected=torch.tensor([7]),
        )
    )
    assert chosen.grad is not None
    assert chosen.grad.item() == pytest.approx(0, abs=1e-12)


def test_vote_share_pair_without_votes_gives_nan() -> None:
    none = torch.zeros(4)
    assert vote_share_loss(**scores(), votes_chosen=none, votes_rejected=none).isnan()


def test_vote_share_uncertainty_paper_is_the_cross_entropy_of_the_probability() -> None:
    given = {name: each.numpy() for name, each in gaussians().items()}
    deviation = np.hypot(np.exp(given["log_sigma_chosen"]), np.exp(given["log_sigma_rejected"]))
    chance = expected_sigmoid(given["mu_chosen"] - given["mu_rejected"], deviation)
    share = np.array([12 / 19, 1, 3 / 9, 0.5])
    expected = -(share * np.log(chance) + (1 - share) * np.log(1 - chance)).mean()
    loss = vote_share_uncertainty_loss(**gaussians(), **VOTES)
    assert loss.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_vote_share_uncertainty_certain_scores_give_the_plain_form(fidelity: Fidelity) -> None:
    certain = torch.full((4,), -30.0, dtype=torch.float64)
    plain = scores()
    loss = vote_share_uncertainty_loss(
        mu_chosen=plain["score_chosen"],
        log_sigma_chosen=certain,
        mu_rejected=plain["score_rejected"],
        log_sigma_rejected=certain,
        **VOTES,
        fidelity=fidelity,
    )
    assert loss.item() == pytest.approx(vote_share_loss(**plain, **VOTES).item(), rel=1e-12)


def test_vote_share_uncertainty_unknown_fidelity_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="fidelity"):
        vote_share_uncertainty_loss(
            **gaussians(),
            **VOTES,
            fidelity="exact",  # type: ignore[arg-type]
        )
