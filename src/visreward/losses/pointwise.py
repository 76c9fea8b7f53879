"""Regression of scores on ratings.

Shape letters: B images.
"""

from __future__ import annotations

from torch import Tensor

from visreward.losses.checks import require_shape
from visreward.losses.precision import at_least_float32


def pointwise_loss(scores: Tensor, *, ratings: Tensor, offset: float = 0.0) -> Tensor:
    """Return the mean squared error of scores against ratings.

    loss = mean((scores - (ratings - offset))^2)
    Source: EditReward release, loss type `reg`, offset 4.5. There it is the mean of the two sides
    of a batch of pairs, which equals this loss of all images of the batch.

    Args:
        scores: (B,) float, unbounded, higher is better.
        ratings: (B,) float, what annotators say, same order as `scores`.
        offset: The rating that becomes a score of 0, in units of the ratings.

    Returns:
        Scalar float tensor, differentiable, deterministic, at least float32. NaN in an input
        gives NaN: the caller stops.

    Raises:
        ShapeError: if the inputs are not of one shape (B,).
    """
    require_shape(("B",), scores=scores, ratings=ratings)
    wanted = at_least_float32(ratings) - offset
    return (at_least_float32(scores) - wanted).square().mean()
