"""The order of rows: every row once, parts by weight, blocks together."""

from __future__ import annotations

import numpy as np
import pytest

from visreward.core.errors import UsageError
from visreward.training.data.order import Mixture, epoch_order, part_counts


def test_epoch_order_of_blocks_keeps_them_together_and_shuffles_within() -> None:
    usable = np.array([row for row in range(60) if row % 7])
    blocks = np.repeat(np.arange(6), 10)
    orders = [epoch_order(usable, seed=3, epoch=epoch, blocks=blocks) for epoch in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == usable.tolist()
        assert np.count_nonzero(np.diff(blocks[order])) == 5
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(np.sort(orders[0][:8]), orders[0][:8])
    again = epoch_order(usable, seed=3, epoch=2, blocks=blocks)
    assert np.array_equal(again, orders[2])


def test_epoch_order_of_a_mixture_repeats_no_row_before_its_part_is_through() -> None:
    mixture = Mixture(part_of=np.repeat([0, 1, 2], [5, 30, 15]), weights=(1.0, 2.0, 0.5))
    usable = np.delete(np.arange(50), [2, 40])
    drawn = [epoch_order(usable, seed=-1, epoch=epoch, mixture=mixture) for epoch in range(8)]
    assert {len(order) for order in drawn} == {48}
    assert [np.bincount(mixture.part_of[order]).tolist() for order in drawn] == [[14, 27, 7]] * 8
    together = np.concatenate(drawn)
    for part, size in ((0, 4), (1, 30), (2, 14)):
        own = together[mixture.part_of[together] == part]
        passes = [own[start : start + size] for start in range(0, len(own) - size, size)]
        assert all(len(set(each.tolist())) == size for each in passes)
        assert len({tuple(each.tolist()) for each in passes}) > len(passes) // 2


def test_epoch_order_of_a_mixture_keeps_the_blocks_of_each_part() -> None:
    mixture = Mixture(part_of=np.repeat([0, 1], 20), weights=(1.0, 1.0))
    blocks = np.repeat(np.arange(8), 5)
    order = epoch_order(np.arange(40), seed=0, epoch=0, mixture=mixture, blocks=blocks)
    for part in (0, 1):
        own = blocks[order[mixture.part_of[order] == part]]
        assert np.count_nonzero(np.diff(own)) == 3


def test_part_counts_add_up_and_follow_the_weights() -> None:
    assert part_counts([10, 10], [1, 3]) == [5, 15]
    assert part_counts([1, 1, 1], [1, 1, 1]) == [1, 1, 1]
    assert sum(part_counts([3, 5, 9], [0.2, 0.3, 0.61])) == 17


@pytest.mark.parametrize(("sizes", "weights"), [([0, 4], [1, 1]), ([4, 4], [0.01, 1])])
def test_part_counts_without_a_row_for_a_part_are_refused(
    sizes: list[int], weights: list[float]
) -> None:
    with pytest.raises(UsageError, match="gives no row to an epoch"):
        part_counts(sizes, weights)
