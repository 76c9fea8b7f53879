"""Scores of made pictures come back by row and column, whatever the batches and processes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from visreward.core.errors import UsageError
from visreward.evaluation.pictures import ROWS_PER_BATCH, PictureRow, score_rows
from visreward.evaluation.scenes import Drawing, richness_row
from visreward.models.base import RewardModel


def stripes(index: int) -> PictureRow:
    """Row i: an even picture, and one whose neighbouring rows differ by i + 1."""
    even = np.zeros((8, 8, 3), dtype=np.uint8)
    striped = even.copy()
    striped[::2] = index + 1
    return PictureRow(pictures=(even, striped), prompt="x" * index)


def test_score_rows_keeps_rows_and_columns(likes_detail: RewardModel) -> None:
    num = ROWS_PER_BATCH + 5
    scores = score_rows([likes_detail], stripes, num=num)
    assert scores["likes"].shape == (num, 2)
    np.testing.assert_allclose(scores["likes"][:, 0], 0)
    np.testing.assert_allclose(scores["likes"][:, 1], np.arange(num) + 1)
    np.testing.assert_allclose(scores["likes/length"][:, 0], np.arange(num))


def test_score_rows_does_not_depend_on_the_number_of_processes(likes_detail: RewardModel) -> None:
    make = partial(richness_row, drawing=Drawing(num=1, size=64))
    one = score_rows([likes_detail], make, num=5)
    two = score_rows([likes_detail], make, num=5, num_workers=2)
    np.testing.assert_array_equal(one["likes"], two["likes"])


def test_score_rows_scores_every_model(
    likes_detail: RewardModel, hates_detail: RewardModel
) -> None:
    seen: list[tuple[int, int]] = []
    scores = score_rows(
        [likes_detail, hates_detail],
        stripes,
        num=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    np.testing.assert_allclose(scores["likes"], -scores["hates"])
    assert seen == [(3, 3)]


def test_score_rows_of_nothing_is_refused(likes_detail: RewardModel) -> None:
    with pytest.raises(UsageError, match="num is 0"):
        score_rows([likes_detail], stripes, num=0)
