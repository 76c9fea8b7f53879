"""The Pick-High reader: each value from its own column, each wrong row named."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from visreward.core.errors import DataError, UnknownNameError, UnsafePickleError
from visreward.core.types import PreferencePair
from visreward.data.base import load_optional
from visreward.data.containment import ContainmentLabels, LabelColumns, LabelSource, write_labels
from visreward.data.pick_high import PickHigh, Triplet, convert_pick_high

Columns = dict[str, list[object]]
WriteDataset = Callable[..., Path]
RowsOf = Callable[..., Columns]

LABEL_COLUMNS = ["E1", "E2", "R1", "R2"]
OPTIONAL_COLUMNS = [
    *LABEL_COLUMNS,
    *("votes_0", "votes_1", "confidence", "loss_kind", "severity", "losing_prompt"),
]


def changed(columns: Columns, column: str, row: int, value: object) -> Columns:
    cells = list(columns[column])
    cells[row] = value
    return {**columns, column: cells}


def without(columns: Columns, *names: str) -> Columns:
    return {name: cells for name, cells in columns.items() if name not in names}


def test_split_row_takes_each_value_from_its_own_column(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    root = write_dataset(train=rows_of("train"), val=rows_of("val"))
    split = PickHigh(root).split("val")
    assert len(split) == 5
    assert split[3] == Triplet(
        id="val/3",
        basic_prompt="val basic 3",
        refined_prompt="val refined 3",
        losing_image=root / "pick_easy_img" / "val" / "val3_0.png",
        winning_image=root / "pick_easy_img" / "val" / "val3_1.png",
        refined_image=root / "pick_refine_img" / "val" / "val3_r.png",
        labels=ContainmentLabels(e1=0.13, e2=0.23, r1=0.33, r2=0.43),
        votes=(13, 4),
        confidence=0.63,
        loss_kind="kind 3",
        severity=3,
        losing_prompt="val losing 3",
    )
    assert split[3].losing_image.is_file()
    assert split[3].refined_image.is_file()


def test_split_row_with_gaps_has_none_there(write_dataset: WriteDataset, rows_of: RowsOf) -> None:
    triplet = PickHigh(write_dataset(train=rows_of("train"))).split("train")[1]
    assert triplet.loss_kind is None
    assert triplet.severity is None
    assert triplet.votes == (11, 2)


def test_split_published_columns_alone_leave_the_rest_unknown(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    root = write_dataset(train=without(rows_of("train"), *OPTIONAL_COLUMNS))
    triplet = PickHigh(root).split("train")[0]
    assert triplet.labels is None
    assert triplet.votes is None
    assert triplet.confidence is None
    assert triplet.losing_prompt is None


def test_split_is_a_sequence(write_dataset: WriteDataset, rows_of: RowsOf) -> None:
    split = PickHigh(write_dataset(train=rows_of("train"))).split("train")
    ids = [f"train/{row}" for row in range(5)]
    assert [triplet.id for triplet in split] == ids
    assert [triplet.id for triplet in split[1::2]] == ids[1::2]
    assert split[-1].id == "train/4"
    for row in (5, -6):
        with pytest.raises(IndexError, match=f"Row {row} of 5"):
            split[row]


def test_splits_found_are_those_with_a_table(write_dataset: WriteDataset, rows_of: RowsOf) -> None:
    reader = PickHigh(write_dataset(test=rows_of("test"), train=rows_of("train")))
    assert reader.splits == ("train", "test")
    with pytest.raises(UnknownNameError, match=r"no split 'val'.*train, test"):
        reader.split("val")


def test_path_to_folder_of_tables_or_to_one_table_finds_the_same_images(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    root = write_dataset(train=rows_of("train"), val=rows_of("val"))
    whole = PickHigh(root).split("val")[2]
    assert PickHigh(root / "Pick-High").split("val")[2] == whole
    one = PickHigh(root / "Pick-High" / "val.pkl")
    assert one.splits == ("val",)
    assert one.split("val")[2] == whole


def test_images_in_another_folder_are_taken_from_there(
    write_dataset: WriteDataset, rows_of: RowsOf, tmp_path: Path
) -> None:
    root = write_dataset(train=rows_of("train"))
    triplet = PickHigh(root, images=tmp_path / "disk").split("train")[0]
    assert triplet.winning_image == tmp_path / "disk/pick_easy_img/train/train0_1.png"
    assert triplet.refined_image == tmp_path / "disk/pick_refine_img/train/train0_r.png"


@pytest.mark.parametrize("name", ["absent", "empty", "notes.txt"])
def test_path_without_a_table_says_what_is_expected(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(DataError, match=rf"{name}'.*Pick-High/train\.pkl"):
        PickHigh(tmp_path / name)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("easy_prompt", None, "no value in column easy_prompt"),
        ("easy_prompt", 7, "int 7 in column easy_prompt, expected a text"),
        ("easy_prompt", b"bytes", "bytes b'bytes' in column easy_prompt"),
        ("refine_prompt", "half \ud800", "in column refine_prompt, expected a text"),
        ("refine_image", np.nan, "no value in column refine_image"),
        ("easy_image_1", "../../secret.png", "does not lead into the folder"),
        ("easy_image_1", "/etc/secret.png", "does not lead into the folder"),
        ("E2", np.nan, "the label E2 is None, expected 0 to 1"),
        ("R1", 1.25, r"the label R1 is 1\.25, expected 0 to 1"),
        ("E1", -0.5, r"the label E1 is -0\.5"),
        ("R2", "0.5", "str '0.5' in column R2, expected a number"),
        ("R2", True, "bool True in column R2, expected a number"),
        ("votes_0", None, "the votes are 12 and None"),
        ("votes_1", -1, "the votes are -1 and 3"),
        ("severity", 2.5, r"float 2\.5 in column severity, expected a whole number"),
    ],
)
def test_split_malformed_row_is_named_and_the_others_are_read(
    write_dataset: WriteDataset, rows_of: RowsOf, column: str, value: object, message: str
) -> None:
    root = write_dataset(train=changed(rows_of("train"), column, 2, value))
    split = PickHigh(root).split("train")
    with pytest.raises(DataError, match=message) as caught:
        split[2]
    if "folder" not in message:
        assert "Row 2 of" in str(caught.value)
        assert "train.pkl" in str(caught.value)
    assert [split[row].id for row in (0, 1, 3, 4)] == [f"train/{row}" for row in (0, 1, 3, 4)]


@pytest.mark.parametrize("lost", ["easy_prompt", "refine_image", "R2", "votes_1"])
def test_split_without_a_needed_column_names_it(
    write_dataset: WriteDataset, rows_of: RowsOf, lost: str
) -> None:
    reader = PickHigh(write_dataset(train=without(rows_of("train"), lost)))
    with pytest.raises(DataError, match=rf"train\.pkl' lacks the columns {lost}\."):
        reader.split("train")


def test_split_column_under_both_its_names_is_an_error(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    columns = rows_of("train")
    reader = PickHigh(write_dataset(train={**columns, "basic_prompt": columns["easy_prompt"]}))
    with pytest.raises(DataError, match="basic_prompt and easy_prompt"):
        reader.split("train")


def test_split_two_columns_of_one_name_is_an_error(tmp_path: Path, rows_of: RowsOf) -> None:
    frame = pd.DataFrame(rows_of("train"))
    file = tmp_path / "train.pkl"
    pd.concat([frame, frame[["E1"]]], axis=1).to_pickle(file)
    with pytest.raises(DataError, match="two columns named E1"):
        PickHigh(file).split("train")


def test_split_harmful_pickle_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "train.pkl").write_bytes(b"cos\nsystem\n(S'touch " + bytes(marker) + b"'\ntR.")
    with pytest.raises(UnsafePickleError, match=r"os\.system"):
        PickHigh(tmp_path).split("train")
    assert not marker.exists()


def test_preference_pairs_are_three_per_triplet_under_the_basic_prompt(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    root = write_dataset(train=rows_of("train"))
    easy, refined = root / "pick_easy_img/train", root / "pick_refine_img/train"
    pairs = list(PickHigh(root).preference_pairs("train"))
    assert len(pairs) == 15
    assert pairs[6:9] == [
        PreferencePair(
            prompt="train basic 2",
            chosen=easy / "train2_1.png",
            rejected=easy / "train2_0.png",
            votes=(12, 3),
            confidence=0.62,
            id="train/2/winning-losing",
        ),
        PreferencePair(
            prompt="train basic 2",
            chosen=refined / "train2_r.png",
            rejected=easy / "train2_1.png",
            id="train/2/refined-winning",
        ),
        PreferencePair(
            prompt="train basic 2",
            chosen=refined / "train2_r.png",
            rejected=easy / "train2_0.png",
            id="train/2/refined-losing",
        ),
    ]


def test_convert_gives_the_same_triplets(
    write_dataset: WriteDataset, rows_of: RowsOf, tmp_path: Path
) -> None:
    root = write_dataset(train=rows_of("train", 7), test=rows_of("test"))
    done: list[int] = []
    written = convert_pick_high(root, output=tmp_path / "converted", progress=done.append)
    assert written == tuple(
        tmp_path / "converted" / "Pick-High" / f"{split}.parquet" for split in ("train", "test")
    )
    assert sum(done) == 12
    original, converted = PickHigh(root), PickHigh(tmp_path / "converted", images=root)
    assert converted.splits == ("train", "test")
    for split in converted.splits:
        assert list(converted.split(split)) == list(original.split(split))
    assert "easy_prompt" not in pd.read_parquet(written[0]).columns
    assert [file.name for file in written[0].parent.iterdir() if file.name.startswith(".")] == []


def test_convert_many_rows_makes_row_groups(
    write_dataset: WriteDataset, rows_of: RowsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visreward.data.base.ROWS_PER_GROUP", 3)
    done: list[int] = []
    root = write_dataset(train=rows_of("train", 8))
    file = convert_pick_high(root, output=tmp_path / "out", progress=done.append)[0]
    assert done == [3, 3, 2]
    assert load_optional("pyarrow.parquet", extra="train").read_metadata(file).num_row_groups == 3


def test_convert_cell_of_the_wrong_type_stops_it(
    write_dataset: WriteDataset, rows_of: RowsOf, tmp_path: Path
) -> None:
    columns = changed(rows_of("train"), "easy_prompt", 1, 5)
    root = write_dataset(train=changed(columns, "severity", 4, "high"))
    with pytest.raises(DataError, match=r"Row 1 .*int 5 in column easy_prompt.*; 2 rows"):
        convert_pick_high(root, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_split_parquet_under_published_names_is_read(
    tmp_path: Path, write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    columns = rows_of("train")
    expected = list(PickHigh(write_dataset(train=columns)).split("train"))
    frame = pd.DataFrame(columns).astype({"E1": "float64", "votes_0": "int32"})
    frame["loss_kind"] = frame["loss_kind"].astype("category")
    folder = tmp_path / "Pick-High-Dataset" / "Pick-High"
    (folder / "train.pkl").unlink()
    frame.to_parquet(folder / "train.parquet")
    assert list(PickHigh(folder.parent).split("train")) == expected


@pytest.mark.parametrize("dtype", ["str", "string"])
def test_split_pickled_strings_of_pandas_are_read(
    write_dataset: WriteDataset, rows_of: RowsOf, dtype: Any
) -> None:
    columns = rows_of("train")
    root = write_dataset(train=columns)
    expected = list(PickHigh(root).split("train"))
    frame = pd.DataFrame(columns)
    texts = {name: dtype for name, cells in columns.items() if isinstance(cells[0], str)}
    frame.astype(texts).to_pickle(root / "Pick-High" / "train.pkl")
    assert list(PickHigh(root).split("train")) == expected


def test_split_with_both_tables_reads_parquet(write_dataset: WriteDataset, rows_of: RowsOf) -> None:
    root = write_dataset(train=rows_of("train", 3))
    convert_pick_high(root, output=root)
    pd.DataFrame(rows_of("train", 9)).to_pickle(root / "Pick-High" / "train.pkl")
    assert len(PickHigh(root).split("train")) == 3


def test_split_damaged_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"train\.parquet' cannot be read as Parquet"):
        PickHigh(tmp_path).split("train")


def stored_labels(num_rows: int) -> LabelColumns:
    columns = (np.arange(num_rows) / 1000 + start for start in (0.5, 0.6, 0.7, 0.8))
    return LabelColumns(**dict(zip(("e1", "e2", "r1", "r2"), columns, strict=True)))


@pytest.mark.parametrize("has_columns", [True, False])
def test_labels_beside_the_table_win_over_its_columns(
    write_dataset: WriteDataset, rows_of: RowsOf, has_columns: bool
) -> None:
    columns = rows_of("train")
    root = write_dataset(train=columns if has_columns else without(columns, *LABEL_COLUMNS))
    source = LabelSource(model="clip-mini", theta=0.25)
    write_labels(root, split="train", labels=stored_labels(5), source=source)
    split = PickHigh(root).split("train")
    assert split.label_source == source
    assert split[3].labels == ContainmentLabels(e1=0.503, e2=0.603, r1=0.703, r2=0.803)
    assert split[3].votes == (13, 4)


def test_labels_from_the_table_have_no_source(write_dataset: WriteDataset, rows_of: RowsOf) -> None:
    assert PickHigh(write_dataset(train=rows_of("train"))).split("train").label_source is None


def test_labels_beside_a_table_of_another_length_are_an_error(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    root = write_dataset(train=rows_of("train"))
    source = LabelSource(model="clip-mini", theta=0.25)
    write_labels(root, split="train", labels=stored_labels(5), source=source)
    pd.DataFrame(rows_of("train", 6)).to_pickle(root / "Pick-High" / "train.pkl")
    with pytest.raises(DataError, match=r"train\.labels\.parquet' are 5 rows, their table has 6"):
        PickHigh(root).split("train")


def test_convert_takes_labels_beside_the_table_along(
    write_dataset: WriteDataset, rows_of: RowsOf, tmp_path: Path
) -> None:
    root = write_dataset(train=rows_of("train"))
    source = LabelSource(model="clip-mini", theta=0.25)
    write_labels(root, split="train", labels=stored_labels(5), source=source)
    convert_pick_high(root, output=tmp_path / "out")
    triplet = PickHigh(tmp_path / "out").split("train")[0]
    assert triplet.labels == ContainmentLabels(e1=0.5, e2=0.6, r1=0.7, r2=0.8)


def test_rows_of_the_fixture_are_all_distinct(rows_of: RowsOf) -> None:
    """Show that a column read in place of another would be seen."""
    columns = rows_of("train")
    values = list(itertools.chain.from_iterable(columns.values()))
    numbers = [value for value in values if isinstance(value, float)]
    texts = [value for value in values if isinstance(value, str)]
    assert len(set(numbers)) == len(numbers)
    assert len(set(texts)) == len(texts)
