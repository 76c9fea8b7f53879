from __future__ import annotations

import math

import torch

from visreward.data.rated_edits import PairVotes
from visreward.training.data.pairs import ordered_pairs, pair_votes, ranked_groups, tied_pairs

RATINGS = [[2.0, 3.0, 2.0], [1.0, 4.0]]


def test_ordered_pairs_better_image_stands_first_and_rows_are_apart() -> None:
    assert ordered_pairs(RATINGS).tolist() == [[1, 0], [1, 2], [4, 3]]


def test_tied_pairs_stand_once() -> None:
    assert tied_pairs(RATINGS).tolist() == [[0, 2]]
    assert tied_pairs([[1.0, 1.0, 1.0]]).tolist() == [[0, 1], [0, 2], [1, 2]]


def test_pairs_without_images_to_compare_are_empty() -> None:
    assert ordered_pairs([[1.0], [2.0]]).shape == (0, 2)
    assert tied_pairs([[1.0], [2.0]]).shape == (0, 2)


def test_ranked_groups_ties_share_a_rank_and_short_rows_are_filled() -> None:
    places, ranks = ranked_groups(RATINGS)
    assert places.tolist() == [[0, 1, 2], [3, 4, 0]]
    assert ranks.tolist() == [[2, 1, 2], [2, 1, 0]]


def test_images_without_a_rating_are_compared_with_none() -> None:
    ratings = [[math.nan] * 2, [1.0, math.nan, 2.0]]
    assert ordered_pairs(ratings).tolist() == [[4, 2]]
    assert tied_pairs(ratings).shape == (0, 2)
    assert ranked_groups(ratings)[1].tolist() == [[0, 0, 0], [2, 0, 1]]


def test_pair_votes_follow_the_order_of_the_pair() -> None:
    votes = [[], [PairVotes(one=0, other=2, for_one=5, for_other=2)]]
    pairs = torch.tensor([[4, 2], [2, 4], [1, 0], [3, 4]])
    found = pair_votes(pairs, votes, sizes=[2, 3])
    assert found.tolist() == [[2, 5], [5, 2], [1, 0], [1, 0]]


def test_pair_votes_of_nobody_are_one_for_the_chosen() -> None:
    votes = [[PairVotes(one=0, other=1, for_one=0, for_other=0)]]
    assert pair_votes(torch.tensor([[1, 0]]), votes, sizes=[2]).tolist() == [[1, 0]]
