from __future__ import annotations

import pytest
import torch

from visreward.core.errors import ShapeError
from visreward.losses.similarity import similarity_matrix, triplet_cosines


def test_similarity_matrix_three_image_sets_pairs_every_row() -> None:
    generator = torch.Generator().manual_seed(0)
    text, images = torch.randn(4, 6, generator=generator), torch.randn(3, 4, 6, generator=generator)
    matrix = similarity_matrix(text, images)
    assert matrix.shape == (3, 4, 4)
    assert matrix[2, 1, 3].item() == pytest.approx((text[1] @ images[2, 3]).item(), abs=1e-6)


def test_similarity_matrix_under_autocast_stays_float32() -> None:
    rows = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = similarity_matrix(rows, rows)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, similarity_matrix(rows, rows))


def test_triplet_cosines_columns_are_losing_winning_refined() -> None:
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    cosines = triplet_cosines(
        text,
        losing_image=torch.tensor([[0.1, 0.9], [0.9, 0.4]]),
        winning_image=torch.tensor([[0.2, 0.8], [0.8, 0.5]]),
        refined_image=torch.tensor([[0.3, 0.7], [0.7, 0.6]]),
    )
    torch.testing.assert_close(cosines, torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]))


def test_triplet_cosines_bfloat16_features_give_float32() -> None:
    rows = torch.eye(3, dtype=torch.bfloat16)
    cosines = triplet_cosines(rows, losing_image=rows, winning_image=rows, refined_image=-rows)
    assert cosines.dtype == torch.float32
    assert cosines[0].tolist() == [1.0, 1.0, -1.0]


def test_triplet_cosines_other_width_raises_shape_error() -> None:
    rows = torch.zeros(2, 4)
    with pytest.raises(ShapeError, match=r"winning_image has shape \(2, 5\).*D is 4 in text"):
        triplet_cosines(
            rows, losing_image=rows, winning_image=torch.zeros(2, 5), refined_image=rows
        )
