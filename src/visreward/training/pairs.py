"""Which images are compared under one prompt: pairs, and all of them as a group.

Images are counted through all rows. Shape letters: P pairs, B rows, N images of the largest row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations

import torch
from torch import Tensor


def ordered_pairs(ratings: Sequence[Sequence[float]]) -> Tensor:
    """Return (P, 2) int64: of every two images of a row that differ, the better and the worse."""
    found: list[tuple[int, int]] = []
    start = 0
    for row in ratings:
        found += [
            (start + better, start + worse)
            for better, worse in permutations(range(len(row)), 2)
            if row[better] > row[worse]
        ]
        start += len(row)
    return torch.tensor(found, dtype=torch.int64).view(-1, 2)


def tied_pairs(ratings: Sequence[Sequence[float]]) -> Tensor:
    """Return (P, 2) int64: every two images of a row with equal ratings, once."""
    found: list[tuple[int, int]] = []
    start = 0
    for row in ratings:
        found += [
            (start + one, start + other)
            for one, other in combinations(range(len(row)), 2)
            if row[one] == row[other]
        ]
        start += len(row)
    return torch.tensor(found, dtype=torch.int64).view(-1, 2)


def ranked_groups(ratings: Sequence[Sequence[float]]) -> tuple[Tensor, Tensor]:
    """Return each row as a group: where its images stand, and their ranks.

    Returns:
        (B, N) int64 numbers of images, and (B, N) int64 ranks: 1 is best, equal ratings share a
        rank, and 0 fills up rows that have fewer images.
    """
    num_images = max(len(row) for row in ratings)
    places = torch.zeros(len(ratings), num_images, dtype=torch.int64)
    ranks = torch.zeros_like(places)
    start = 0
    for number, row in enumerate(ratings):
        places[number, : len(row)] = torch.arange(start, start + len(row))
        ranks[number, : len(row)] = torch.tensor(
            [1 + sum(other > rating for other in row) for rating in row]
        )
        start += len(row)
    return places, ranks
