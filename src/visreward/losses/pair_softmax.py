"""The softmax over the two scores of a pair, as HPSv2 is trained.

Shape letters: B pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from visreward.core.types import Fidelity
from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.checks import require_fidelity, require_shape
from visreward.losses.precision import at_least_float32


def pair_softmax_loss(
    *, score_chosen: Tensor, score_rejected: Tensor, fidelity: Fidelity = "paper"
) -> Tensor:
    """Return the cross-entropy of the softmax over the two scores of each pair.

    paper: -mean(log softmax(score_chosen, score_rejected)[0]), of "Human Preference Score v2"
    (arXiv 2306.09341), section on training. A softmax over two is a sigmoid of their difference,
    so this is the Bradley-Terry loss. For soft labels see `visreward.losses.vote_shares`.
    released: what EditReward's `hpsv2` computes: the sum over the batch, and a second softmax over
    the two probabilities. That is sum(-log sigmoid(tanh(d / 2))) for a difference d: a pair costs
    at least 0.313 and at most 1.313 whatever the scores are, and one that is far on the wrong side
    has almost no gradient. With two columns of logits the release compares mu of the chosen image
    with its own log sigma; here scores are one column.

    Args:
        score_chosen: (B,) float, higher is better.
        score_rejected: (B,) float, same order as `score_chosen`.
        fidelity: `paper` or `released`.

    Returns:
        Scalar float tensor, differentiable, deterministic, at least float32. NaN in a score gives
        NaN: the caller stops. The two fidelities are not comparable.

    Raises:
        ShapeError: if the scores are not of one shape (B,).
        UnknownNameError: if the fidelity is unknown.
    """
    require_fidelity(fidelity)
    require_shape(("B",), score_chosen=score_chosen, score_rejected=score_rejected)
    chosen, rejected = at_least_float32(score_chosen), at_least_float32(score_rejected)
    if fidelity == "paper":
        return bradley_terry_loss(score_chosen=chosen, score_rejected=rejected)
    # With p = sigmoid(d), the second softmax compares p with 1 - p: 2 p - 1 = tanh(d / 2).
    return softplus(-torch.tanh((chosen - rejected) / 2)).sum()
