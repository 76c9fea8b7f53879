"""The Bradley-Terry loss of pairs that may be tied (BTT).

With d = score_chosen - score_rejected, Rao and Kupper's three outcomes of a pair are

    P(chosen wins)   = sigmoid(d - log k)
    P(rejected wins) = sigmoid(-d - log k)
    P(tie)           = (k^2 - 1) P(chosen wins) P(rejected wins)

which sum to 1. At d = 0 a tie is k - 1 times as likely as either order.

Shape letters: B pairs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from visreward.core.errors import UsageError
from visreward.losses.checks import require_shape
from visreward.losses.precision import at_least_float32


def bradley_terry_ties_loss(
    *, score_chosen: Tensor, score_rejected: Tensor, is_tie: Tensor, k: float = 5.0
) -> Tensor:
    """Return the loss of a batch of preference pairs, some of them tied.

    loss = -mean(log P(tie) where `is_tie`, log P(chosen wins) elsewhere)
    Paper: Rao and Kupper, "Ties in Paired-Comparison Experiments" (JASA, 1967). EditReward and
    HPSv3 releases, loss type `btt`, k = 5. There a mask of shape (B,) meets rewards of shape
    (B, 1) and broadcasts, so every pair is taken once with the mask of each pair, B^2 terms in
    all; and the column of log sigma enters the loss too. Here a pair has its own mask alone.

    Args:
        score_chosen: (B,) float, higher is better. Which image of a tie stands here is all one.
        score_rejected: (B,) float, same order as `score_chosen`.
        is_tie: (B,) bool, same order.
        k: How wide a gap is still called a tie, above 1.

    Returns:
        Scalar float tensor, differentiable, deterministic, at least float32. NaN in a score gives
        NaN: the caller stops.

    Raises:
        ShapeError: if the inputs are not of one shape (B,).
        UsageError: if `is_tie` is not bool, or `k` is not above 1.
    """
    require_shape(("B",), score_chosen=score_chosen, score_rejected=score_rejected, is_tie=is_tie)
    if is_tie.dtype != torch.bool:
        raise UsageError(f"is_tie has dtype {is_tie.dtype}, expected torch.bool. Compare ratings.")
    if not (math.isfinite(k) and k > 1):
        raise UsageError(f"k is {k}. Give a finite number above 1; without ties use Bradley-Terry.")
    difference = at_least_float32(score_chosen) - at_least_float32(score_rejected)
    chosen_wins = softplus(math.log(k) - difference)
    rejected_wins = softplus(math.log(k) + difference)
    tie = chosen_wins + rejected_wins - math.log(k**2 - 1)
    return torch.where(is_tie, tie, chosen_wins).mean()
