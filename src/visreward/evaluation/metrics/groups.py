"""Accuracy on groups: is the whole order of the candidates right?

Shape letters: G groups, K candidates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import NonFiniteError, ShapeError, UsageError


def is_exact_order(scores: ArrayLike, ranks: ArrayLike) -> NDArray[np.bool_]:
    """Return which groups are ordered exactly as people order them, (G,) bool.

    All K (K - 1) / 2 comparisons must be right: each candidate scores strictly higher than the
    next one by rank. Equal scores and NaN are wrong. By chance 1 / K! are right.

    Released code (EditReward's `eval_bench.py`): of equal scores the later candidate comes first,
    which can be right by luck; see `as_released.predicted_ranks`.

    Args:
        scores: (G, K) numbers, higher is better; NaN where there is no score.
        ranks: (G, K) numbers without ties in a group, lower is better.

    Raises:
        ShapeError: if the arrays are not both (G, K) with K at least 2.
        NonFiniteError: if a score is infinite.
        UsageError: if ranks of a group are tied or not finite.
    """
    values, places = (np.asarray(each, dtype=np.float64) for each in (scores, ranks))
    if values.ndim != 2 or values.shape != places.shape or values.shape[1] < 2:
        raise ShapeError(
            f"scores have shape {values.shape} and ranks {places.shape}, expected (G, K) for both "
            "with K at least 2. Pass groups of one size together."
        )
    if np.isinf(values).any():
        group = int(np.isinf(values).any(axis=1).argmax())
        raise NonFiniteError(
            f"scores are infinite, first in group {group}: {values[group].tolist()}. Find out why; "
            "pass NaN where there is no score."
        )
    order = np.argsort(places, axis=1, kind="stable")
    is_strict = (np.diff(np.take_along_axis(places, order, axis=1), axis=1) > 0).all(axis=1)
    if not is_strict.all():
        group = int(is_strict.argmin())
        raise UsageError(
            f"The ranks of group {group} are {places[group].tolist()}: tied, or not numbers. An "
            "exact order needs strict ranks; use pairs with ties for such groups."
        )
    steps = np.diff(np.take_along_axis(values, order, axis=1), axis=1)
    return np.asarray((steps < 0).all(axis=1))
