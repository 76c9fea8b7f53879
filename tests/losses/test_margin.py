from __future__ import annotations

import math

import pytest
import torch

from visreward.core.errors import ShapeError, UnknownNameError
from visreward.core.types import Fidelity
from visreward.losses.margin import (
    hp_loss,
    ict_hp_loss,
    ict_hp_scores,
    margin_ranking_loss,
)

FIDELITIES: tuple[Fidelity, ...] = ("released", "paper")


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize(("reduction", "expected"), [("mean", 0.9), ("sum", 2.7)])
def test_margin_ranking_loss_three_pairs_matches_hand_computation(
    reduction: str, expected: float
) -> None:
    # Gaps 2.0, 0.2 and -2.3 under a margin of 0.3 cost 0, 0.1 and 2.6.
    loss = margin_ranking_loss(
        score_chosen=torch.tensor([3.0, 1.1, 0.0]),
        score_rejected=torch.tensor([1.0, 0.9, 2.3]),
        margin=0.3,
        reduction=reduction,  # type: ignore[arg-type]
    )
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("margin", [0.0, 0.3, 2.0])
def test_margin_ranking_loss_chosen_and_rejected_swapped_costs_the_other_gap(margin: float) -> None:
    pairs = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    for first, second in pairs.tolist():
        one, other = torch.tensor([first]), torch.tensor([second])
        forward = margin_ranking_loss(score_chosen=one, score_rejected=other, margin=margin)
        backward = margin_ranking_loss(score_chosen=other, score_rejected=one, margin=margin)
        assert forward.item() == pytest.approx(max(0.0, margin - (first - second)), abs=1e-6)
        assert backward.item() == pytest.approx(max(0.0, margin + (first - second)), abs=1e-6)


def test_margin_ranking_loss_gradient_raises_chosen_and_lowers_rejected() -> None:
    chosen = torch.tensor([0.0, 5.0], requires_grad=True)
    rejected = torch.tensor([0.1, 0.0], requires_grad=True)
    torch.autograd.backward(
        margin_ranking_loss(score_chosen=chosen, score_rejected=rejected, margin=0.3)
    )
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert chosen.grad.tolist() == [-0.5, 0.0]
    assert rejected.grad.tolist() == [0.5, 0.0]


def test_margin_ranking_loss_bfloat16_scores_give_float32() -> None:
    scores = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    loss = margin_ranking_loss(score_chosen=scores, score_rejected=scores.flip(0), margin=0.3)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx((1.3 + 0.0) / 2, abs=1e-6)


def test_margin_ranking_loss_batch_of_one_mean_equals_sum() -> None:
    chosen, rejected = torch.tensor([0.2]), torch.tensor([0.1])
    for reduction in ("mean", "sum"):
        loss = margin_ranking_loss(
            score_chosen=chosen,
            score_rejected=rejected,
            margin=0.3,
            reduction=reduction,
        )
        assert loss.item() == pytest.approx(0.2, abs=1e-6)


def test_margin_ranking_loss_column_against_row_raises_shape_error() -> None:
    with pytest.raises(ShapeError, match=r"score_rejected has shape \(4, 1\)"):
        margin_ranking_loss(
            score_chosen=torch.zeros(4), score_rejected=torch.zeros(4, 1), margin=0.3
        )


def test_margin_ranking_loss_unknown_reduction_raises() -> None:
    with pytest.raises(UnknownNameError, match=r"'none'\. Choose one of: mean, sum"):
        margin_ranking_loss(
            score_chosen=torch.zeros(1),
            score_rejected=torch.zeros(1),
            margin=0.3,
            reduction="none",  # type: ignore[arg-type]
        )


def test_margin_ranking_loss_nan_score_gives_nan() -> None:
    loss = margin_ranking_loss(
        score_chosen=torch.tensor([math.nan, 9.0]), score_rejected=torch.zeros(2), margin=0.3
    )
    assert math.isnan(loss.item())


def test_hp_loss_two_triplets_matches_hand_computation() -> None:
    logits = torch.tensor([[0.0, 1.0, 1.1], [2.0, 0.0, 5.0]])
    # winning over losing: 0 and 2.3; refined over winning: 0.2 and 0.
    assert hp_loss(logits).item() == pytest.approx((0 + 2.3) / 2 + (0.2 + 0) / 2, abs=1e-6)
    assert hp_loss(logits, margin=0.0).item() == pytest.approx(2.0 / 2, abs=1e-6)


def test_hp_loss_refined_against_losing_takes_no_part() -> None:
    logits = torch.tensor([[0.0, 0.1, 0.2]], requires_grad=True)
    torch.autograd.backward(hp_loss(logits, margin=0.3))
    assert logits.grad is not None
    assert logits.grad.tolist() == [[1.0, 0.0, -1.0]]


def test_hp_loss_reversed_and_negated_triplet_is_unchanged() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    mirrored = -logits.flip(1)
    assert hp_loss(mirrored).item() == pytest.approx(hp_loss(logits).item(), abs=1e-6)


@pytest.mark.parametrize("shift", [-100.0, 0.5, 100.0])
def test_hp_loss_common_shift_changes_nothing(shift: float) -> None:
    logits = torch.tensor([[0.0, 0.2, 0.1], [0.5, 0.1, 0.9]])
    assert hp_loss(logits + shift).item() == pytest.approx(hp_loss(logits).item(), abs=1e-4)


def test_hp_loss_batch_twice_as_long_is_unchanged() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    doubled = torch.cat([logits, logits])
    assert hp_loss(doubled).item() == pytest.approx(hp_loss(logits).item(), abs=1e-6)


@pytest.mark.parametrize("num_rows", [1, 4])
def test_hp_loss_bfloat16_logits_give_float32(num_rows: int) -> None:
    logits = torch.randn(num_rows, 3, generator=torch.Generator().manual_seed(0))
    loss = hp_loss(logits.bfloat16())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(hp_loss(logits).item(), abs=2e-2)


def test_hp_loss_two_columns_raises_shape_error() -> None:
    with pytest.raises(ShapeError, match=r"hp_logits has shape \(4, 2\), expected \(B, 3\)"):
        hp_loss(torch.zeros(4, 2))


def test_hp_loss_nan_logit_gives_nan() -> None:
    assert math.isnan(hp_loss(torch.tensor([[math.nan, 0.0, 0.0]])).item())


def test_ict_hp_scores_released_shares_one_unit_over_the_triplet() -> None:
    logits = torch.tensor([[0.0, math.log(2.0), math.log(5.0)]])
    scores = ict_hp_scores(
        ict_scores=torch.tensor([[1.0, 0.5, 0.25]]), hp_logits=logits, fidelity="released"
    )
    assert scores[0].tolist() == pytest.approx([1 / 8, 1 / 8, 5 / 32], abs=1e-6)


def test_ict_hp_scores_paper_does_not_depend_on_companions() -> None:
    ict = torch.tensor([[0.2, 0.4, 0.6]])
    first = ict_hp_scores(
        ict_scores=ict, hp_logits=torch.tensor([[1.0, 2.0, 3.0]]), fidelity="paper"
    )
    second = ict_hp_scores(
        ict_scores=ict, hp_logits=torch.tensor([[1.0, -9.0, 9.0]]), fidelity="paper"
    )
    assert first[0, 0].item() == pytest.approx(0.2 * sigmoid(1.0), abs=1e-6)
    assert first[0, 0].item() == second[0, 0].item()


def test_ict_hp_loss_paper_matches_hand_computation() -> None:
    ict = torch.tensor([[0.5, 0.5, 1.0], [1.0, 1.0, 1.0]])
    logits = torch.tensor([[0.0, 0.0, 0.0], [-9.0, 0.0, 9.0]])
    products = [[0.25, 0.25, 0.5], [sigmoid(-9), 0.5, sigmoid(9)]]
    costs = [
        max(0.0, 0.3 - (row[better] - row[better - 1])) for row in products for better in (1, 2)
    ]
    loss = ict_hp_loss(ict_scores=ict, hp_logits=logits, fidelity="paper")
    assert loss.item() == pytest.approx(sum(costs) / 2, abs=1e-6)


def test_ict_hp_loss_released_is_a_sum_and_paper_a_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    ict, logits = torch.rand(4, 3, generator=generator), torch.randn(4, 3, generator=generator)
    twice = {"ict_scores": torch.cat([ict, ict]), "hp_logits": torch.cat([logits, logits])}
    for fidelity, factor in (("released", 2.0), ("paper", 1.0)):
        once = ict_hp_loss(ict_scores=ict, hp_logits=logits, fidelity=fidelity)  # type: ignore[arg-type]
        both = ict_hp_loss(**twice, fidelity=fidelity)  # type: ignore[arg-type]
        assert both.item() == pytest.approx(factor * once.item(), rel=1e-5)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_ict_hp_loss_gradient_raises_refined_and_lowers_losing(fidelity: Fidelity) -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    loss = ict_hp_loss(ict_scores=torch.full((2, 3), 0.5), hp_logits=logits, fidelity=fidelity)
    torch.autograd.backward(loss)
    assert logits.grad is not None
    assert (logits.grad[:, 0] > 0).all()
    assert (logits.grad[:, 2] < 0).all()


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_ict_hp_loss_permuted_triplets_is_unchanged(fidelity: Fidelity) -> None:
    generator = torch.Generator().manual_seed(3)
    ict, logits = torch.rand(5, 3, generator=generator), torch.randn(5, 3, generator=generator)
    order = torch.tensor([4, 1, 0, 3, 2])
    before = ict_hp_loss(ict_scores=ict, hp_logits=logits, fidelity=fidelity)
    after = ict_hp_loss(ict_scores=ict[order], hp_logits=logits[order], fidelity=fidelity)
    assert after.item() == pytest.approx(before.item(), abs=1e-6)


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("num_rows", [1, 4])
def test_ict_hp_loss_bfloat16_input_gives_float32_finite_loss(
    fidelity: Fidelity, num_rows: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    ict = torch.rand(num_rows, 3, generator=generator)
    logits = torch.randn(num_rows, 3, generator=generator)
    loss = ict_hp_loss(ict_scores=ict.bfloat16(), hp_logits=logits.bfloat16(), fidelity=fidelity)
    exact = ict_hp_loss(ict_scores=ict, hp_logits=logits, fidelity=fidelity)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), abs=2e-2)


@pytest.mark.parametrize(("fidelity", "margin"), [("released", 1 / 3), ("paper", 0.5)])
def test_ict_hp_loss_margin_at_the_documented_limit_can_reach_zero(
    fidelity: Fidelity, margin: float
) -> None:
    limits = {
        # ICT 0 or 1; softmax shares (any, 1/3, 2/3); sigmoids (0, 1/2, 1).
        "released": (torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([[-99.0, 0.0, math.log(2.0)]])),
        "paper": (torch.tensor([[1.0, 1.0, 1.0]]), torch.tensor([[-99.0, 0.0, 99.0]])),
    }
    ict, logits = limits[fidelity]
    at_limit = ict_hp_loss(ict_scores=ict, hp_logits=logits, fidelity=fidelity, margin=margin)
    beyond = ict_hp_loss(ict_scores=ict, hp_logits=logits, fidelity=fidelity, margin=margin + 0.1)
    assert at_limit.item() == pytest.approx(0.0, abs=1e-6)
    assert beyond.item() > 0.1


def test_ict_hp_loss_shapes_differ_raises_shape_error() -> None:
    with pytest.raises(ShapeError, match="B is 4 in ict_scores but 3 here"):
        ict_hp_loss(ict_scores=torch.zeros(4, 3), hp_logits=torch.zeros(3, 3), fidelity="paper")


def test_ict_hp_loss_unknown_fidelity_raises() -> None:
    zeros = torch.zeros(1, 3)
    with pytest.raises(UnknownNameError, match="'softmax'"):
        ict_hp_loss(ict_scores=zeros, hp_logits=zeros, fidelity="softmax")  # type: ignore[arg-type]


def test_ict_hp_loss_nan_input_gives_nan() -> None:
    zeros = torch.zeros(1, 3)
    bad = torch.tensor([[0.0, math.nan, 0.0]])
    for ict, logits in ((bad, zeros), (zeros, bad)):
        loss = ict_hp_loss(ict_scores=ict, hp_logits=logits, fidelity="paper")
        assert math.isnan(loss.item())
