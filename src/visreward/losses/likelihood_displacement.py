"""A Bradley-Terry loss that pushes the rejected image down less than it lifts the chosen one.

Shape letters: B pairs.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from visreward.losses.checks import require_shape
from visreward.losses.precision import at_least_float32


def likelihood_displacement_loss(
    *, score_chosen: Tensor, score_rejected: Tensor, tau: float = 0.5
) -> Tensor:
    """Return the likelihood displacement loss of a batch of preference pairs.

    loss = -mean(log sigmoid(score_chosen - tau * score_rejected))
    Source: EditReward release, loss type `likelihood_displacement`, tau = 0.5. It is named after
    what it is to prevent, that training on pairs lowers both sides (arXiv 2410.08847). The release
    applies it to all columns of its logits, so that log sigma enters the loss too; here it does
    not.

    Below tau = 1 the loss depends on where scores lie, and not on differences alone: adding 1 to
    every score lowers it as a gap larger by 1 - tau would. Scores drift up in training, and 0 gets
    a meaning that preferences do not give it.

    Args:
        score_chosen: (B,) float, higher is better.
        score_rejected: (B,) float, same order as `score_chosen`.
        tau: How much the rejected image counts; 1 gives Bradley-Terry.

    Returns:
        Scalar float tensor, differentiable, deterministic, at least float32. NaN in a score gives
        NaN: the caller stops.

    Raises:
        ShapeError: if the scores are not of one shape (B,).
    """
    require_shape(("B",), score_chosen=score_chosen, score_rejected=score_rejected)
    gap = at_least_float32(score_chosen) - tau * at_least_float32(score_rejected)
    return softplus(-gap).mean()
