"""Margin ranking losses of the HP model, alone and multiplied with ICT.

Shapes: B triplets; the three columns are always losing, winning, refined image (I1, I2, I3).

Paper: "Enhancing Reward Models for High-quality Image Generation: Beyond Text-Image Alignment"
(ICCV 2025, arXiv 2507.19002), the part on the HP model and L_margin.
"""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn.functional import margin_ranking_loss as torch_margin_ranking_loss

from visreward.core.errors import UnknownNameError
from visreward.core.types import Fidelity
from visreward.losses.checks import require_fidelity, require_shape

DEFAULT_MARGIN: Final = 0.3  # ICTHP release, criterion config, margin


def margin_ranking_loss(
    *,
    score_chosen: Tensor,
    score_rejected: Tensor,
    margin: float,
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """Return the margin ranking loss of a batch of preference pairs.

    loss = reduction(max(0, margin - (score_chosen - score_rejected)))
    Paper: one term of L_margin, with a sum. Released code: the mean for HP, the sum for ICT x HP.

    Args:
        score_chosen: (B,) float, unbounded, higher is better.
        score_rejected: (B,) float, same order as `score_chosen`.
        margin: The gap, in score units, beyond which a pair costs nothing; 0 asks for order only.
        reduction: `mean` or `sum` over the pairs.

    Returns:
        Scalar float32 tensor, differentiable. NaN in a score gives NaN: the caller stops.

    Raises:
        ShapeError: if the scores are not of one shape (B,).
        UnknownNameError: if the reduction is unknown.
    """
    require_shape(("B",), score_chosen=score_chosen, score_rejected=score_rejected)
    if reduction not in ("mean", "sum"):
        raise UnknownNameError(f"Unknown reduction {reduction!r}. Choose one of: mean, sum.")
    chosen, rejected = score_chosen.float(), score_rejected.float()
    return torch_margin_ranking_loss(
        chosen, rejected, torch.ones_like(chosen), margin=margin, reduction=reduction
    )


def hp_loss(hp_logits: Tensor, *, margin: float = DEFAULT_MARGIN) -> Tensor:
    """Return the HP loss of a batch of triplets.

    loss = mean(max(0, margin - (s2 - s1))) + mean(max(0, margin - (s3 - s2)))
    Paper: L_margin, a sum over triplets where we and the released code take the mean. The pair
    (refined, losing) takes no part. The logits enter as they are, before any sigmoid.

    Args:
        hp_logits: (B, 3) float, unbounded, columns losing, winning, refined.
        margin: Gap in units of the logits.

    Returns:
        Scalar float32 tensor, differentiable. NaN in a logit gives NaN: the caller stops.

    Raises:
        ShapeError: if the logits are not (B, 3).
    """
    return _triplet_margin_loss(hp_logits, margin=margin, reduction="mean", name="hp_logits")


def ict_hp_scores(*, ict_scores: Tensor, hp_logits: Tensor, fidelity: Fidelity) -> Tensor:
    """Return the ICT x HP scores of the three images of each triplet.

    released: ict * softmax(hp) over the triplet, so a score depends on its two companions.
    paper: ict * sigmoid(hp), the product that also works for a single image.

    Args:
        ict_scores: (B, 3) float in [-1, 1], ICT scores under the basic prompt.
        hp_logits: (B, 3) float, unbounded, same columns losing, winning, refined.
        fidelity: `released` or `paper`.

    Returns:
        (B, 3) float32 in [-1, 1], differentiable. The two fidelities are not comparable.

    Raises:
        ShapeError: if either input is not (B, 3).
        UnknownNameError: if the fidelity is unknown.
    """
    require_fidelity(fidelity)
    require_shape(("B", 3), ict_scores=ict_scores, hp_logits=hp_logits)
    logits = hp_logits.float()
    hp = torch.softmax(logits, dim=1) if fidelity == "released" else torch.sigmoid(logits)
    return ict_scores.float() * hp


def ict_hp_loss(
    *,
    ict_scores: Tensor,
    hp_logits: Tensor,
    fidelity: Fidelity,
    margin: float = DEFAULT_MARGIN,
) -> Tensor:
    """Return the margin ranking loss of ICT x HP over a batch of triplets.

    With s = `ict_hp_scores`: reduction(max(0, margin - (s2 - s1)) + max(0, margin - (s3 - s2))).
    Paper: L_margin on the product of the two models; `paper` here takes the mean, like `hp_loss`.
    Released code: the product with a softmax over the triplet, and the SUM over the batch, so
    its weight against `hp_loss` grows with the batch size; it also rounds the ICT scores to
    bfloat16, which a caller repeats by passing `ict_scores.to(torch.bfloat16)`.

    Args:
        ict_scores: (B, 3) float in [-1, 1], from the frozen ICT model, basic prompt.
        hp_logits: (B, 3) float, unbounded, columns losing, winning, refined.
        fidelity: `released` or `paper`.
        margin: Gap in units of the product. For ICT scores in [0, 1] both gaps can be met up to a
            margin of 1/3 (`released`: the softmax shares sum to 1) or 1/2 (`paper`).

    Returns:
        Scalar float32 tensor, differentiable. NaN in an input gives NaN: the caller stops.

    Raises:
        ShapeError: if either input is not (B, 3).
        UnknownNameError: if the fidelity is unknown.
    """
    scores = ict_hp_scores(ict_scores=ict_scores, hp_logits=hp_logits, fidelity=fidelity)
    reduction: Literal["mean", "sum"] = "sum" if fidelity == "released" else "mean"
    return _triplet_margin_loss(scores, margin=margin, reduction=reduction, name="scores")


def _triplet_margin_loss(
    scores: Tensor, *, margin: float, reduction: Literal["mean", "sum"], name: str
) -> Tensor:
    """Return the loss of winning over losing plus that of refined over winning."""
    require_shape(("B", 3), **{name: scores})
    losing, winning, refined = scores.unbind(dim=1)
    return margin_ranking_loss(
        score_chosen=winning, score_rejected=losing, margin=margin, reduction=reduction
    ) + margin_ranking_loss(
        score_chosen=refined, score_rejected=winning, margin=margin, reduction=reduction
    )
