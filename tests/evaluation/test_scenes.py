"""The tables of the synthetic world, on models whose answers are known."""

from __future__ import annotations

import numpy as np

from visreward.data.scenes.families import make_swap_pair
from visreward.data.scenes.triplets import make_triplet
from visreward.evaluation.scenes import (
    Drawing,
    richness_row,
    richness_table,
    swap_row,
    swap_table,
    triplet_row,
    triplet_table,
)
from visreward.models.base import RewardModel

DRAWING = Drawing(num=12, size=64, seed=3)


def test_rows_hold_the_pictures_in_the_documented_order() -> None:
    triplet = make_triplet(seed=3, split="test", index=4, size=64)
    row = triplet_row(4, drawing=DRAWING)
    assert row.prompt == triplet.basic_prompt
    np.testing.assert_array_equal(row.pictures[0], triplet.losing_image)
    np.testing.assert_array_equal(row.pictures[1], triplet.winning_image)
    np.testing.assert_array_equal(row.pictures[2], triplet.refined_image)
    pair = make_swap_pair(seed=3, split="test", index=4, kind="colour", size=64)
    row = swap_row(4, kind="colour", drawing=DRAWING)
    np.testing.assert_array_equal(row.pictures[0], pair.right_image)
    assert row.prompt == pair.prompt


def test_triplet_table_of_opposite_models_adds_up_to_one(
    likes_detail: RewardModel, hates_detail: RewardModel
) -> None:
    table = triplet_table([likes_detail, hates_detail], DRAWING)
    likes, hates = table["likes"], table["hates"]
    assert likes.refined_over_winning.value > 0.9  # rich pictures have more detail than plain ones
    total = likes.winning_over_losing.value + hates.winning_over_losing.value
    assert abs(total - 1) < 1e-9
    assert set(table) == {"likes", "likes/detail", "likes/length", "hates", "hates/detail"} | {
        "hates/length"
    }
    assert table["likes/length"].average.value == 0  # equal scores count as wrong


def test_richness_table_says_who_marks_rich_pictures_down(
    likes_detail: RewardModel, hates_detail: RewardModel
) -> None:
    table = richness_table([likes_detail, hates_detail], DRAWING)
    assert table["likes"].marked_down.value < 0.1
    assert table["hates"].marked_down.value > 0.9
    assert table["likes"].mean_change > 0 > table["hates"].mean_change
    assert table["likes"].num_pairs == 12
    row = richness_row(0, drawing=DRAWING)
    assert len(row.pictures) == 2


def test_swap_table_counts_ties_as_wrong(likes_detail: RewardModel) -> None:
    table = swap_table([likes_detail], DRAWING, kinds=("colour", "relation"))
    assert set(table) == {"colour", "relation"}
    assert table["colour"]["likes/length"].value == 0
    assert 0 < table["colour"]["likes"].value < 1
