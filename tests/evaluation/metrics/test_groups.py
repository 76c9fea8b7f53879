"""Exact order of groups against all comparisons one by one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from visreward.core.errors import NonFiniteError, ShapeError, UsageError
from visreward.evaluation.metrics.groups import is_exact_order


@pytest.mark.parametrize("size", [2, 3, 4])
def test_is_exact_order_equals_all_comparisons_right(size: int) -> None:
    scores = np.array(list(itertools.product([0.0, 1.0, 2.0, math.nan], repeat=size)))
    for ranks in itertools.permutations(range(1, size + 1)):
        expected = [
            all(
                row[one] > row[other] if ranks[one] < ranks[other] else row[one] < row[other]
                for one, other in itertools.combinations(range(size), 2)
            )
            for row in scores
        ]
        found = is_exact_order(scores, np.tile(ranks, (len(scores), 1)))
        assert found.tolist() == expected


def test_is_exact_order_random_scores_are_right_once_in_the_orders_there_are() -> None:
    rng = np.random.default_rng(0)
    found = is_exact_order(rng.normal(size=(48_000, 4)), np.tile([1, 2, 3, 4], (48_000, 1)))
    assert found.mean() == pytest.approx(1 / 24, abs=0.004)


def test_is_exact_order_ranks_need_not_be_neighbours() -> None:
    assert is_exact_order([[5.0, 1.0, 3.0]], [[10, 30, 20]]).tolist() == [True]


def test_is_exact_order_bad_groups_are_named() -> None:
    with pytest.raises(UsageError, match=r"ranks of group 1 are \[1.0, 1.0\]"):
        is_exact_order([[1.0, 2.0], [1.0, 2.0]], [[1, 2], [1, 1]])
    with pytest.raises(UsageError, match="ranks of group 0"):
        is_exact_order([[1.0, 2.0]], [[1, math.nan]])
    with pytest.raises(NonFiniteError, match="first in group 1"):
        is_exact_order([[1.0, 2.0], [1.0, math.inf]], [[1, 2], [1, 2]])
    for scores, ranks in (([1.0], [1]), ([[1.0]], [[1]]), ([[1.0, 2.0]], [[1, 2, 3]])):
        with pytest.raises(ShapeError, match=r"expected \(G, K\)"):
            is_exact_order(scores, ranks)
