from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from visreward.core.errors import DataError
from visreward.data.base import load_optional
from visreward.data.pick_a_pic import PICK_A_PIC
from visreward.data.preference_files import PreferenceData
from visreward.data.preferences import ImageBytes

pa = load_optional("pyarrow", extra="train")
pq = load_optional("pyarrow.parquet", extra="train")


def pair(number: int, label_0: float | None, **changes: Any) -> dict[str, Any]:
    """Return a pair of the published form, without the columns that are not read."""
    row = {
        "caption": f"caption {number}",
        "image_0_uid": f"uid-{number}-0",
        "image_1_uid": f"uid-{number}-1",
        "jpg_0": f"jpg {number} 0".encode(),
        "jpg_1": f"jpg {number} 1".encode(),
        "label_0": label_0,
        "label_1": None if label_0 is None else 1 - label_0,
        "has_label": True,
        "model_0": "sdxl",
        "model_1": "dreamlike",
    }
    return {**row, **changes}


FIVE_ROWS = [pair(0, 1.0), pair(1, 0.0), pair(2, 0.5), pair(3, 0.0, has_label=False), pair(4, 1.0)]


def write(folder: Path, rows: list[dict[str, Any]], name: str = "train") -> PreferenceData:
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet", row_group_size=2)
    return PreferenceData(PICK_A_PIC, folder)


def test_split_labels_become_ranks_and_images_come_from_their_row(tmp_path: Path) -> None:
    table = write(tmp_path, FIVE_ROWS).split("train")
    ranks = [tuple(image.rank for image in row.images) for row in table]
    assert ranks == [(1, 2), (2, 1), (1, 1), (None, None), (1, 2)]
    for number in (4, 0, 3):
        assert [image.image for image in table[number].images] == [
            ImageBytes(name=f"uid-{number}-{place}", data=f"jpg {number} {place}".encode())
            for place in (0, 1)
        ]
    assert table[4].prompt == "caption 4"
    assert [image.generator for image in table[4].images] == ["sdxl", "dreamlike"]
    (pair_of_second,) = table[1].pairs()
    assert pair_of_second.chosen == b"jpg 1 1"


def test_split_encoded_images_are_not_in_memory(tmp_path: Path) -> None:
    big = 200_000 * b"x"
    table = write(tmp_path, [pair(number, 1.0, jpg_0=big) for number in range(5)]).split("train")
    assert table.rows.nbytes < len(big)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (pair(5, 0.7), r"has 0\.7 and 0\.3 in 'label_0' and 'label_1'"),
        (pair(5, 1.0, label_1=1.0), "has 1 and 1 in 'label_0'"),
        (pair(5, None), "has None in 'label_0', expected a number"),
        (pair(5, 1.0, caption=""), "has '' in 'caption', expected text"),
    ],
)
def test_split_malformed_row_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    table = write(tmp_path, [*FIVE_ROWS, row]).split("train")
    with pytest.raises(DataError, match=rf"Row 5 of .*parquet' {message}"):
        table[5]


def test_split_row_without_an_image_is_named_when_it_is_asked_for(tmp_path: Path) -> None:
    table = write(tmp_path, [*FIVE_ROWS, pair(5, 1.0, jpg_1=b"")]).split("train")
    with pytest.raises(DataError, match=r"Row 5 of .* has no encoded image in 'jpg_1'"):
        table[5]


def test_split_damaged_table_is_named(tmp_path: Path) -> None:
    rows = [pair(number, 1.0, jpg_0=1000 * bytes([number])) for number in range(5)]
    table = write(tmp_path, rows).split("train")
    file = tmp_path / "train.parquet"
    data = bytearray(file.read_bytes())
    start = pq.ParquetFile(file).metadata.row_group(0).column(3)
    assert start.path_in_schema == "jpg_0"
    data[start.dictionary_page_offset : start.dictionary_page_offset + 40] = 40 * b"\xff"
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"train\.parquet' is damaged"):
        table[0]


def test_data_unique_splits_are_splits_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, FIVE_ROWS, "validation-00000-of-00001-abcdef")
    data = write(tmp_path, FIVE_ROWS[:1], "validation_unique-00000-of-00001-abcdef")
    assert data.splits == ("validation", "validation_unique")
    assert len(data.split("validation_unique")) == 1
