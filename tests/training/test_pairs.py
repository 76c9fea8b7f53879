from __future__ import annotations

from visreward.training.pairs import ordered_pairs, ranked_groups, tied_pairs

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
