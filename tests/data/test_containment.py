"""Labels of containment: the formula by hand, its bounds, and the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visreward.core.errors import DataError, NonFiniteError, ShapeError, UsageError
from visreward.data.containment import (
    LabelColumns,
    LabelSource,
    containment_labels,
    label_source,
    read_labels,
    write_labels,
)

WriteDataset = Callable[..., Path]
RowsOf = Callable[..., dict[str, list[object]]]

SCORES = st.lists(st.tuples(*[st.floats(-1.0, 1.0)] * 3), min_size=1, max_size=8)


def test_labels_follow_the_formula_by_hand() -> None:
    labels = containment_labels(
        #  plain, saturated winner, loser above winner, loser below 0
        [0.10, 0.15, 0.18, -0.05],
        clip_winning=[0.15, 0.30, 0.12, 0.10],
        clip_prompts=[0.5, 0.8, 1.0, 0.25],
        theta=0.2,
    )
    np.testing.assert_allclose(labels.e2, [0.75, 1.0, 0.6, 0.5])
    np.testing.assert_allclose(labels.e1, [0.5, 0.75, 0.6, 0.0])
    np.testing.assert_allclose(labels.r2, [0.375, 0.8, 0.6, 0.125])
    np.testing.assert_allclose(labels.r1, [0.25, 0.6, 0.6, 0.0])
    assert len(labels) == 4


def test_labels_negative_scores_and_cosines_give_zero() -> None:
    labels = containment_labels([-0.1], clip_winning=[-0.2], clip_prompts=[0.5], theta=0.2)
    assert (labels.e1[0], labels.e2[0]) == (0.0, 0.0)
    labels = containment_labels([0.1], clip_winning=[0.2], clip_prompts=[-0.5], theta=0.2)
    assert (labels.r1[0], labels.r2[0]) == (0.0, 0.0)


@settings(deadline=None)
@given(scores=SCORES, theta=st.floats(1e-3, 10.0))
def test_labels_are_in_range_and_in_order(
    scores: list[tuple[float, float, float]], theta: float
) -> None:
    losing, winning, prompts = np.array(scores).T
    labels = containment_labels(losing, clip_winning=winning, clip_prompts=prompts, theta=theta)
    for column in (labels.e1, labels.e2, labels.r1, labels.r2):
        assert column.dtype == np.float64
        assert ((column >= 0) & (column <= 1)).all()
    assert (labels.e1 <= labels.e2).all()
    assert (labels.r1 <= labels.r2).all()
    assert (labels.r2 <= labels.e2).all()


def test_labels_cosine_rounded_above_one_stays_at_one() -> None:
    cosine = np.float32(1.0000001)
    assert cosine > 1
    labels = containment_labels([1.0], clip_winning=[1.0], clip_prompts=[cosine], theta=0.5)
    assert labels.r2[0] == 1.0


@pytest.mark.parametrize("theta", [0.0, -0.2, float("nan"), float("inf")])
def test_labels_theta_that_cannot_divide_is_refused(theta: float) -> None:
    with pytest.raises(UsageError, match="theta is"):
        containment_labels([0.1], clip_winning=[0.1], clip_prompts=[0.1], theta=theta)


def test_labels_scores_of_unequal_length_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"'clip_winning': \(1,\)"):
        containment_labels([0.1, 0.2], clip_winning=[0.1], clip_prompts=[0.1, 0.2], theta=0.2)
    with pytest.raises(ShapeError, match="one number per triplet"):
        containment_labels(0.1, clip_winning=0.1, clip_prompts=0.1, theta=0.2)


def test_labels_score_that_is_not_finite_is_named() -> None:
    with pytest.raises(NonFiniteError, match=r"clip_prompts\[1\] is nan"):
        containment_labels(
            [0.1, 0.2], clip_winning=[0.1, 0.2], clip_prompts=[0.1, np.nan], theta=0.2
        )


def test_label_columns_of_unequal_length_are_refused() -> None:
    two, three = np.zeros(2), np.zeros(3)
    with pytest.raises(ShapeError, match=r"\[\(2,\), \(3,\)\]"):
        LabelColumns(e1=two, e2=two, r1=three, r2=two)


def labels_of(num_rows: int) -> LabelColumns:
    steps = np.linspace(0.0, 0.1, num_rows)
    return LabelColumns(e1=steps, e2=steps + 0.2, r1=steps + 0.4, r2=steps + 0.6)


def test_write_labels_are_read_back_with_their_source(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    root = write_dataset(train=rows_of("train"), val=rows_of("val", 3))
    source = LabelSource(model="clip-vit-h", theta=0.3)
    file = write_labels(root, split="val", labels=labels_of(3), source=source)
    assert file == root / "Pick-High" / "val.labels.parquet"
    table = read_labels(file, num_rows=3)
    assert label_source(table) == source
    np.testing.assert_array_equal(table.column("r1").to_numpy(), labels_of(3).r1)


def test_write_labels_of_another_length_are_refused(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    root = write_dataset(train=rows_of("train"))
    source = LabelSource(model="m", theta=0.3)
    with pytest.raises(DataError, match="are 4 rows, their table has 5"):
        write_labels(root, split="train", labels=labels_of(4), source=source)
    assert not (root / "Pick-High" / "train.labels.parquet").exists()


def test_read_labels_of_other_columns_or_without_source_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "train.labels.parquet"
    pd.DataFrame({"e1": [1.0], "e2": [1.0]}).to_parquet(file)
    with pytest.raises(DataError, match=r"has the columns e1, e2, expected e1, e2, r1, r2"):
        read_labels(file, num_rows=1)
    pd.DataFrame({name: [1.0] for name in ("e1", "e2", "r1", "r2")}).to_parquet(file)
    with pytest.raises(DataError, match="does not say what it was made with"):
        label_source(read_labels(file, num_rows=1))
