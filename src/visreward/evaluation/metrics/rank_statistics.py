"""What rank correlations are made of: ranks, ties, inversions, and laws without association.

Shape letters: M items. Codes are numbers from 0 that stand for the distinct values, in order.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1, smallest first, equal values sharing their mean rank, (M,)."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]


def num_tied(codes: NDArray[np.intp]) -> int:
    """Return how many pairs have equal codes."""
    counts = np.unique(codes, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def num_inversions(codes: NDArray[np.intp]) -> int:
    """Return how many pairs stand in falling order, by merging blocks of doubling width."""
    num, total, width = len(codes), 0, 1
    span = int(codes.max()) + 1
    current = codes.astype(np.int64)
    while width < num:
        block = np.arange(num) // (2 * width)
        is_left = (np.arange(num) // width) % 2 == 0
        keyed = block * span + current
        left, right = keyed[is_left], keyed[~is_left]
        left_ends = np.searchsorted(block[is_left], block[~is_left], side="right")
        total += int((left_ends - np.searchsorted(left, right, side="right")).sum())
        current = np.sort(keyed, kind="stable") - block * span
        width *= 2
    return total


def kendall_variance(first: NDArray[np.intp], second: NDArray[np.intp]) -> float:
    """Return the variance of concordant - discordant without association (Kendall 1970, ch. 4)."""
    num = len(first)
    pairs, triples, basic = [], [], []
    for codes in (first, second):
        counts = np.unique(codes, return_counts=True)[1].astype(np.float64)
        pairs.append((counts * (counts - 1)).sum())
        triples.append((counts * (counts - 1) * (counts - 2)).sum())
        basic.append((counts * (counts - 1) * (2 * counts + 5)).sum())
    steps = num * (num - 1.0)
    variance = (steps * (2 * num + 5) - sum(basic)) / 18 + pairs[0] * pairs[1] / (2 * steps)
    if num > 2:
        variance += triples[0] * triples[1] / (9 * steps * (num - 2))
    return float(variance)


def student_p_value(value: float, freedom: int) -> float:
    """Return P(|t| >= |r| sqrt(freedom / (1 - r^2))) for Student's t, from its finite series.

    Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4, with the angle
    whose sine is |r|. Accurate to about 1e-14 in absolute terms.
    """
    if freedom < 1:
        return 1.0
    sine = abs(value)
    squared = 1 - sine**2
    if freedom % 2 == 0:
        steps = np.arange(1, freedom // 2)
        series = 1 + np.cumprod(squared * (2 * steps - 1) / (2 * steps)).sum()
        inside = sine * series
    else:
        steps = np.arange(1, (freedom - 1) // 2)
        series = 1 + np.cumprod(squared * (2 * steps) / (2 * steps + 1)).sum()
        tail = sine * math.sqrt(squared) * series if freedom > 1 else 0.0
        inside = 2 / math.pi * (math.asin(sine) + tail)
    return float(min(max(1 - inside, 0.0), 1.0))
