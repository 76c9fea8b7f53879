"""Fitting Bradley-Terry strengths to a table of wins, and telling where none exist.

Shape letters: M pairs, N generators, G clusters.

P(a beats b) = sigmoid(strength_a - strength_b); only differences count, so strengths have mean 0.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_MAX_STEPS: Final = 100
_TOLERANCE: Final = 1e-10


def why_no_strengths(wins: NDArray[np.float64], names: tuple[str, ...]) -> str:
    """Return which generators have no finite strength beside the others, or "".

    Args:
        wins: (N, N) how often the row beat the column.
        names: (N,) of the generators.
    """
    reach = (wins > 0) | np.eye(len(wins), dtype=bool)
    for _ in range(max(1, len(wins).bit_length())):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    if reach.all():
        return ""
    # The generators that the fewest others won a point from, by any chain, were never beaten from
    # outside their own number.
    side = reach[:, int(reach.sum(axis=0).argmin())]
    inside = ", ".join(name for name, is_in in zip(names, side, strict=True) if is_in)
    verb = "won every point against" if wins[np.ix_(side, ~side)].any() else "never met"
    return (
        f"No strengths exist: {inside} {verb} the other generators. Read the win rates, or give "
        "pseudo_ties=1 to draw all generators together."
    )


def fit_strengths(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the strengths that make the wins most likely, (N,) with mean 0.

    Newton's method with halved steps on the sum over a, b of wins_ab log sigmoid(s_a - s_b), which
    is concave. At the maximum each generator wins as often as the strengths say.

    Args:
        wins: (N, N) how often the row beat the column, 0 or more; strengths must exist.
    """
    met = wins + wins.T
    strengths = np.zeros(len(wins))
    likelihood = _log_likelihood(strengths, wins)
    for _ in range(_MAX_STEPS):
        chance = _chances(strengths)
        gradient = (wins - met * chance).sum(axis=1)
        if np.abs(gradient).max() <= _TOLERANCE * met.sum():
            break
        step = np.linalg.pinv(_information(strengths, met), hermitian=True) @ gradient
        size = 1.0
        while size > _TOLERANCE:
            moved = strengths + size * step
            found = _log_likelihood(moved, wins)
            if found >= likelihood:
                break
            size /= 2
        strengths, likelihood = moved - moved.mean(), found
    return strengths


def _chances(strengths: NDArray[np.float64]) -> NDArray[np.float64]:
    gaps = strengths[:, None] - strengths[None, :]
    return np.exp(-np.logaddexp(0, -gaps))


def _log_likelihood(strengths: NDArray[np.float64], wins: NDArray[np.float64]) -> float:
    return -float((wins * np.logaddexp(0, strengths[None, :] - strengths[:, None])).sum())


def _information(strengths: NDArray[np.float64], met: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return minus the second derivatives of the log-likelihood, (N, N); rows add up to 0."""
    chance = _chances(strengths)
    weights = met * chance * chance.T
    return np.diag(weights.sum(axis=1)) - weights


def strength_deviations(
    strengths: NDArray[np.float64],
    *,
    met: NDArray[np.float64],
    ours: NDArray[np.intp],
    theirs: NDArray[np.intp],
    points: NDArray[np.float64],
    numbers: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Return the standard errors of fitted strengths around their mean, (N,).

    The sandwich inverse(I) B inverse(I) G / (G - 1), with the information I and the spread B of the
    clusters' slopes. Where made-up ties are among `met`, the residuals of the pairs are no longer
    all chance, and vanish where one side always wins: then inverse(I) itself, where it is larger.

    Args:
        strengths: (N,) as fitted.
        met: (N, N) how often two generators met, with made-up ties.
        ours: (M,) the generator of the first image of each pair.
        theirs: (M,) that of the second image.
        points: (M,) 1, 0.5 or 0 for the first.
        numbers: (M,) cluster of each pair, from 0, at least two of them.
    """
    num_clusters, num = int(numbers.max()) + 1, len(strengths)
    residual = points - _chances(strengths)[ours, theirs]
    slopes = np.bincount(numbers * num + ours, weights=residual, minlength=num_clusters * num)
    slopes -= np.bincount(numbers * num + theirs, weights=residual, minlength=num_clusters * num)
    table = slopes.reshape(num_clusters, num)
    table = table - table.mean(axis=0)
    inverse = np.linalg.pinv(_information(strengths, met), hermitian=True)
    sandwich = inverse @ (table.T @ table) @ inverse * num_clusters / (num_clusters - 1)
    variances = sandwich.diagonal()
    if met.sum() > 2 * len(points):
        variances = np.maximum(variances, inverse.diagonal())
    return np.asarray(np.sqrt(np.maximum(variances, 0)))
