from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from visreward.core.errors import DataError
from visreward.data.base import load_optional
from visreward.data.editreward_tables import EDITREWARD_BENCH, EDITREWARD_DATA
from visreward.data.preference_files import PreferenceData
from visreward.data.preferences import ImageBytes

pa = load_optional("pyarrow", extra="train")
pq = load_optional("pyarrow.parquet", extra="train")


def encoded(name: str) -> dict[str, Any]:
    """Return the cell of an image column; the bytes are no real picture."""
    return {"bytes": name.encode(), "path": f"{name}.png"}


def pair(number: int, left: float, right: float, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "key": f"key{number}",
        "instruction": f"instruction {number}",
        "source_img": encoded(f"source {number}"),
        "vote_type": "unread",
    }
    for side, score in (("left", left), ("right", right)):
        row |= {
            f"{side}_output_image": encoded(f"{side} {number}"),
            f"{side}_img_rel": f"{number}/{side}.png",
            f"{side}_model": f"{side}-model",
            f"{side}_instruction_following_score": score,
            f"{side}_quality_aesthetic_score": score + 0.5,
            f"{side}_overall_score": score * 2,
        }
    return {**row, **changes}


def comparison(number: int, ranking: str, kind: str, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"{number}_{kind}",
        "instruction": f"instruction {number}",
        "source_image": encoded(f"source {number}"),
        "candidate_1": encoded(f"{kind[0]} {number}"),
        "candidate_2": encoded(f"{kind[-1]} {number}"),
        "ranking": ranking,
        "comparison_type": kind,
        "score_1": 3.5,
        "score_2": None,
        "model_1": "one",
        "model_2": "two",
    }
    return {**row, **changes}


FIVE_PAIRS = [pair(0, 4, 2), pair(1, 1, 3), pair(2, 2, 2), pair(3, 4, 1), pair(4, 1, 2)]
FIVE_COMPARISONS = [
    comparison(0, "A>B", "AvsB"),
    comparison(1, "B>A", "AvsB"),
    comparison(2, "A=B", "AvsB"),
    comparison(3, "C>A", "AvsC"),
    comparison(3, "B>D", "BvsD"),
]


def write(folder: Path, rows: list[dict[str, Any]], name: str = "train") -> None:
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet", row_group_size=2)


def test_editreward_data_overall_scores_say_who_is_preferred(tmp_path: Path) -> None:
    write(tmp_path, FIVE_PAIRS)
    table = PreferenceData(EDITREWARD_DATA, tmp_path).split("train")
    ranks = [tuple(image.rank for image in row.images) for row in table]
    assert ranks == [(1, 2), (2, 1), (1, 1), (1, 2), (2, 1)]
    row = table[3]
    assert row.id == "train.parquet:3"
    assert row.prompt == "instruction 3"
    assert row.sources == (ImageBytes(name="source_img", data=b"source 3"),)
    assert row.images[0].image == ImageBytes(name="3/left.png", data=b"left 3")
    assert row.images[1].image == ImageBytes(name="3/right.png", data=b"right 3")
    assert [image.dimensions for image in row.images] == [(4.0, 4.5), (1.0, 1.5)]
    assert [image.overall for image in row.images] == [8.0, 2.0]
    assert [image.generator for image in row.images] == ["left-model", "right-model"]


def test_editreward_data_malformed_row_is_named(tmp_path: Path) -> None:
    write(tmp_path, [*FIVE_PAIRS, pair(5, 1, 2, left_overall_score=None)])
    table = PreferenceData(EDITREWARD_DATA, tmp_path).split("train")
    with pytest.raises(DataError, match=r"Row 5 .*parquet' has None in 'left_overall_score'"):
        table.require_whole_rows()


def test_editreward_data_shards_are_one_split_whose_rows_name_their_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", FIVE_PAIRS[:3], "train-00000-of-00002")
    broken = pair(9, 1, 2, right_output_image=None)
    write(tmp_path / "data", [FIVE_PAIRS[3], broken], "train-00001-of-00002")
    data = PreferenceData(EDITREWARD_DATA, tmp_path)
    assert data.splits == ("train",)
    table = data.split("train")
    assert table[3].id == "train-00001-of-00002.parquet:0"
    assert table[3].images[0].image == ImageBytes(name="3/left.png", data=b"left 3")
    with pytest.raises(DataError, match=r"Row 1 of .*00001.* no encoded image in 'right_output"):
        table[4]


def test_editreward_bench_ranking_is_read_by_the_letters_compared(tmp_path: Path) -> None:
    write(tmp_path, FIVE_COMPARISONS)
    table = PreferenceData(EDITREWARD_BENCH, tmp_path).split("train")
    ranks = [tuple(image.rank for image in row.images) for row in table]
    assert ranks == [(1, 2), (2, 1), (1, 1), (2, 1), (1, 2)]
    row = table[3]
    image = row.images[1].image
    assert isinstance(image, ImageBytes)
    assert image.data == b"C 3"
    assert [image.overall for image in row.images] == [3.5, None]
    assert [image.generator for image in row.images] == ["one", "two"]


def test_editreward_bench_same_picture_under_two_ids_has_one_name(tmp_path: Path) -> None:
    again = comparison(7, "A>B", "AvsB", candidate_1={"bytes": b"A 0", "path": None})
    write(tmp_path, [FIVE_COMPARISONS[0], again])
    first, second = PreferenceData(EDITREWARD_BENCH, tmp_path).split("train").cells()
    assert first["images"][0] == second["images"][0]
    assert first["images"][1] != second["images"][1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (comparison(0, "A>C", "AvsB"), "has 'A>C' in 'ranking' and 'AvsB' .*: 'C' is no candidate"),
        (comparison(0, "A>A", "AvsB"), "has 'A>A' in 'ranking' and 'AvsB' .*: each of A, B must"),
        (comparison(0, "left", "AvsB"), "has 'left' in 'ranking' and 'AvsB'"),
        (comparison(0, "A>B", "AvsB", candidate_2=None), "has no encoded image in 'candidate_2'"),
    ],
)
def test_editreward_bench_malformed_row_is_named(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    write(tmp_path, [*FIVE_COMPARISONS, row])
    table = PreferenceData(EDITREWARD_BENCH, tmp_path).split("train")
    with pytest.raises(DataError, match=f"Row 5 of .*parquet' {message}"):
        table[5]


def test_parquet_of_another_kind_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [{"a": 1}])
    with pytest.raises(DataError, match="has the columns a, expected instruction, "):
        PreferenceData(EDITREWARD_DATA, tmp_path).split("train")
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"train\.parquet' cannot be read as Parquet"):
        PreferenceData(EDITREWARD_DATA, tmp_path).split("train")
