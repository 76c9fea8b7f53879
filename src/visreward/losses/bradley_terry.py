"""The Bradley-Terry loss of preference pairs.

Shape letters: B pairs.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from visreward.losses.checks import require_shape
from visreward.losses.precision import at_least_float32


def bradley_terry_loss(
    *, score_chosen: Tensor, score_rejected: Tensor, margin: float = 0.0
) -> Tensor:
    """Return the Bradley-Terry loss of a batch of preference pairs.

    loss = -mean(log sigmoid(score_chosen - score_rejected - margin))
    Source: EditReward release, loss types `bt` and `constant_margin` (0.57). The release applies
    them to all columns of its logits, so that log sigma enters the loss too; here it does not.

    Args:
        score_chosen: (B,) float, higher is better.
        score_rejected: (B,) float, same order as `score_chosen`.
        margin: Gap in score units; 0 gives plain Bradley-Terry.

    Returns:
        Scalar float tensor, differentiable, at least float32. NaN in a score gives NaN: the
        caller stops.

    Raises:
        ShapeError: if the scores are not of one shape (B,).
    """
    require_shape(("B",), score_chosen=score_chosen, score_rejected=score_rejected)
    difference = at_least_float32(score_chosen) - at_least_float32(score_rejected)
    return softplus(margin - difference).mean()
