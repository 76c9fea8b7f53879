"""Which images are compared under one prompt: pairs, and all of them as a group.

Images are counted through all rows. An image without a rating has NaN, and is compared with none.
Shape letters: P pairs, B rows, N images of the largest row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, permutations

import torch
from torch import Tensor

from visreward.data.rated_edits import PairVotes


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
        rank, and 0 stands for images without a rating and fills up rows that have fewer images.
    """
    num_images = max(len(row) for row in ratings)
    places = torch.zeros(len(ratings), num_images, dtype=torch.int64)
    ranks = torch.zeros_like(places)
    start = 0
    for number, row in enumerate(ratings):
        places[number, : len(row)] = torch.arange(start, start + len(row))
        ranks[number, : len(row)] = torch.tensor(
            [0 if math.isnan(rating) else 1 + sum(o > rating for o in row) for rating in row]
        )
        start += len(row)
    return places, ranks


def pair_votes(
    pairs: Tensor, votes: Sequence[Sequence[PairVotes]], *, sizes: Sequence[int]
) -> Tensor:
    """Return (P, 2) float32 votes for both images of each pair.

    A pair on which nobody voted has one vote for its first image.

    Args:
        pairs: (P, 2) numbers of images, (chosen, rejected).
        votes: Of each row.
        sizes: How many images each row has.
    """
    known: dict[tuple[int, int], tuple[int, int]] = {}
    start = 0
    for row, size in zip(votes, sizes, strict=True):
        for each in row:
            if each.for_one + each.for_other > 0:
                one, other = start + each.one, start + each.other
                known[one, other] = (each.for_one, each.for_other)
                known[other, one] = (each.for_other, each.for_one)
        start += size
    found = [known.get((one, other), (1, 0)) for one, other in pairs.tolist()]
    return torch.tensor(found, dtype=torch.float32).view(-1, 2)
