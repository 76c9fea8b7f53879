"""The reader of captioned image families."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from visreward.core.errors import DataError, UnknownNameError
from visreward.data.captions import CaptionedImage, CaptionFamily, Captions

IMAGES = ["train/a.png", "train/b.png", "train/c.png", "train/d.png", "train/e.png"]
ROWS: dict[str, object] = {
    "family": [3, 3, 3, 8, 8],
    "image": IMAGES,
    "caption": ["one", "two", "three", "four", "five"],
}


def write(folder: Path, rows: Mapping[str, object], split: str) -> Path:
    (folder / "captions").mkdir(exist_ok=True)
    pd.DataFrame(rows).to_parquet(folder / "captions" / f"{split}.parquet")
    return folder


def test_split_gives_families_with_their_images_and_captions(tmp_path: Path) -> None:
    split = Captions(write(tmp_path, ROWS, "train")).split("train")
    assert len(split) == 2
    folder = tmp_path / "captions" / "train"
    assert split[1] == CaptionFamily(
        id="train/8",
        members=(
            CaptionedImage(image=folder / "d.png", caption="four"),
            CaptionedImage(image=folder / "e.png", caption="five"),
        ),
    )
    assert [len(family.members) for family in split] == [3, 2]
    assert split[-1] == split[1]
    assert split[:1] == [split[0]]
    with pytest.raises(IndexError, match="Family 2 of 2"):
        split[2]


def test_path_to_the_captions_folder_itself_is_the_same(tmp_path: Path) -> None:
    write(tmp_path, ROWS, "val")
    reader = Captions(tmp_path / "captions")
    assert reader.splits == ("val",)
    assert list(reader.split("val")) == list(Captions(tmp_path).split("val"))


def test_split_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    write(write(tmp_path, ROWS, "test"), ROWS, "train")
    with pytest.raises(UnknownNameError, match=r"'val'.*train, test"):
        Captions(tmp_path).split("val")


def test_path_without_tables_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"captions/train\.parquet"):
        Captions(tmp_path)


def test_split_without_a_column_names_it(tmp_path: Path) -> None:
    rows = {"family": [1], "image": ["a.png"], "text": ["b"]}
    with pytest.raises(DataError, match=r"lacks the columns caption.*family, image, text"):
        Captions(write(tmp_path, rows, "train")).split("train")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("caption", None, "Row 2 .*has nothing in column caption"), ("image", 5, "expected text")],
)
def test_split_malformed_row_is_named(
    tmp_path: Path, column: str, value: object, message: str
) -> None:
    rows: dict[str, object] = {**ROWS, column: [value] * 5 if value else ["x", "y", None, "z", "w"]}
    with pytest.raises(DataError, match=message):
        Captions(write(tmp_path, rows, "train")).split("train")


def test_split_family_in_two_pieces_is_an_error(tmp_path: Path) -> None:
    rows = {**ROWS, "family": [3, 3, 8, 8, 3]}
    with pytest.raises(DataError, match="3 runs of rows for 2 families"):
        Captions(write(tmp_path, rows, "train")).split("train")


def test_family_image_out_of_the_folder_is_an_error(tmp_path: Path) -> None:
    rows = {**ROWS, "image": ["../a.png", *IMAGES[1:]]}
    split = Captions(write(tmp_path, rows, "train")).split("train")
    with pytest.raises(DataError, match=r"'\.\./a\.png' does not lead into"):
        split[0]
    assert len(split[1].members) == 2


def test_split_without_rows_has_no_families(tmp_path: Path) -> None:
    rows = {name: pd.Series([], dtype=object) for name in ROWS}
    assert list(Captions(write(tmp_path, rows, "train")).split("train")) == []
