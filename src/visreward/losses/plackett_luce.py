"""The listwise loss of preference groups (Plackett-Luce), with ties.

Shape letters: B groups, N images per group.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from visreward.core.errors import UnknownNameError
from visreward.losses.checks import require_shape
from visreward.losses.precision import at_least_float32

Ties: TypeAlias = Literal["drop", "both-directions"]
"""What becomes of images that share a rank: nothing, or each must beat the other."""


def plackett_luce_loss(scores: Tensor, *, ranks: Tensor, ties: Ties = "drop") -> Tensor:
    """Return the listwise loss of a batch of preference groups.

    Without ties it is the negative log-likelihood of drawing the images best first, each with a
    probability proportional to exp(score) among those that are left:

        loss of a group = -sum_i log(exp(s_i) / (exp(s_i) + sum_{j in L_i} exp(s_j)))

    L_i are the images that must lose against image i. `drop`: those with a worse rank. Images of
    one rank are not compared, and of both it is learnt that they beat what is worse.
    `both-directions`: also the other images of its own rank, which is Breslow's form; it is least
    where equal ranks have equal scores.

    The loss is the mean over groups in which an image must lose, and 0 where there is none. For
    groups of two it is the Bradley-Terry loss of the pair, and for a tie in both directions the
    sum of the two.
    Papers: Luce, "Individual Choice Behavior" (1959); Plackett, "The Analysis of Permutations"
    (Applied Statistics, 1975); ties: Breslow, "Covariance Analysis of Censored Survival Data"
    (Biometrics, 1974). The EditReward and HPSv3 releases have no listwise loss.

    Args:
        scores: (B, N) float, higher is better.
        ranks: (B, N) int, 1 is best, equal numbers are ties, and 0 stands where a group has no
            image; what the scores are there is all one, as long as they are finite.
        ties: `drop` or `both-directions`.

    Returns:
        Scalar float tensor, differentiable, deterministic, at least float32. NaN in a score gives
        NaN: the caller stops.

    Raises:
        ShapeError: if scores and ranks are not of one shape (B, N).
        UnknownNameError: if `ties` is unknown.
    """
    if ties not in get_args(Ties):
        known = ", ".join(get_args(Ties))
        raise UnknownNameError(f"Unknown handling of ties {ties!r}. Choose one of: {known}.")
    require_shape(("B", "N"), scores=scores, ranks=ranks)
    wide = at_least_float32(scores)
    own, other = ranks[:, :, None], ranks[:, None, :]
    is_self = torch.eye(ranks.shape[1], dtype=torch.bool, device=ranks.device)
    is_worse = other > own if ties == "drop" else (other >= own) & ~is_self
    must_lose = is_worse & (own > 0) & (other > 0)
    left = wide[:, None, :].masked_fill(~(must_lose | is_self), -torch.inf)
    losses = (torch.logsumexp(left, dim=2) - wide).sum(dim=1)
    num_ordered = must_lose.any(dim=2).any(dim=1).sum()
    return losses.sum() / num_ordered.clamp(min=1)
