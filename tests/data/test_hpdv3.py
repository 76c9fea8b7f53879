from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visreward.core.errors import DataError, UnknownNameError, UsageError
from visreward.data import preference_builder
from visreward.data.hpdv3 import HPDV3
from visreward.data.preference_files import PreferenceData


def pair(number: int, **changes: Any) -> dict[str, Any]:
    """Return a pair of the published form; no value is in two pairs."""
    row = {
        "prompt": f"prompt {number}",
        "choice_dist": [12 + number, 7],
        "confidence": round(0.9 + number / 100, 2),
        "path1": f"images/{number}_a.jpg",
        "path2": f"images/{number}_b.jpg",
        "model1": f"flux{number}",
        "model2": f"infinity{number}",
    }
    return {**row, **changes}


FIVE_ROWS = [
    pair(0),
    pair(1, choice_dist=None, confidence=None),  # of HPDv2 or Midjourney
    {key: pair(2)[key] for key in ("prompt", "path1", "path2", "model1", "model2")},  # test.json
    pair(3, confidence=1),
    pair(9),
]
BAD_ROW = pair(5, path2=None)


def write(folder: Path, rows: object, split: str = "train") -> PreferenceData:
    (folder / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    return PreferenceData(HPDV3, folder)


def test_split_rows_have_the_preferred_image_first(tmp_path: Path) -> None:
    table = write(tmp_path, FIVE_ROWS).split("train")
    assert len(table) == 5
    first = table[0]
    assert (first.id, first.prompt, first.confidence) == ("train.json:0", "prompt 0", 0.9)
    assert [image.image for image in first.images] == [
        tmp_path / "images" / "0_a.jpg",
        tmp_path / "images" / "0_b.jpg",
    ]
    assert [image.rank for image in first.images] == [1, 2]
    assert [image.votes for image in first.images] == [12, 7]
    assert [image.generator for image in first.images] == ["flux0", "infinity0"]
    assert first.sources == ()
    assert list(table) == table[:] == [table[row] for row in range(5)]
    assert table[-1] == table[4]
    with pytest.raises(IndexError):
        table[5]


def test_split_null_and_absent_votes_are_unknown(tmp_path: Path) -> None:
    for row in write(tmp_path, FIVE_ROWS).split("train")[1:3]:
        assert row.confidence is None
        assert [image.votes for image in row.images] == [None, None]


def test_split_more_rows_than_a_batch_keeps_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preference_builder, "ROWS_PER_GROUP", 2)
    done: list[int] = []
    table = write(tmp_path, FIVE_ROWS).split("train", progress=done.append)
    assert [row.prompt for row in table] == [row["prompt"] for row in FIVE_ROWS]
    assert sum(done) == 5
    assert len(write(tmp_path, [], "test").split("test")) == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (BAD_ROW, "has None in 'path2', expected text"),
        (pair(5, prompt=" "), "has ' ' in 'prompt', expected text"),
        (pair(5, prompt="\ud800"), "in 'prompt', expected text"),
        (pair(5, path1="/etc/passwd"), "has '/etc/passwd' in 'path1', which does not lead into"),
        (pair(5, path1="a/../../b"), "does not lead into"),
        (pair(5, choice_dist=[12]), r"has \[12\] in 'choice_dist', expected 2 counts"),
        (pair(5, choice_dist=[12, -1]), "expected 2 counts"),
        (pair(5, choice_dist=[12, True]), "expected 2 counts"),
        (pair(5, confidence=95), "has 95 in 'confidence', expected 0 to 1"),
        (pair(5, confidence=10**400), "in 'confidence', expected a number"),
        (pair(5, choice_dist=[2**31, 0]), "expected 2 counts"),
        (pair(5, confidence="high"), "has 'high' in 'confidence', expected a number"),
        (pair(5, confidence=float("nan")), "has nan in 'confidence', expected a number"),
        (pair(5, model1=7), "has 7 in 'model1', expected text"),
        (None, "is a NoneType, expected an object"),
    ],
)
def test_split_malformed_row_raises_when_it_is_asked_for(
    tmp_path: Path, row: object, message: str
) -> None:
    table = write(tmp_path, [FIVE_ROWS[0], row, FIVE_ROWS[1]]).split("train")
    assert table[0].prompt == "prompt 0"
    assert table[2].id == "train.json:2"
    with pytest.raises(DataError, match=rf"Row 1 of '.*train\.json' .*{message}"):
        table[1]
    with pytest.raises(DataError, match="Row 1 of "):
        list(table)
    with pytest.raises(DataError, match=r"Row 1 of .* Malformed rows in all: 1\."):
        table.require_whole_rows()


def test_is_confident_unknown_confidence_is_kept_or_dropped_as_said(tmp_path: Path) -> None:
    table = write(tmp_path, [*FIVE_ROWS, BAD_ROW]).split("train")
    kept = table.is_confident(0.95, unknown="keep")
    assert kept.tolist() == [False, True, True, True, True, True]
    dropped = table.is_confident(0.95, unknown="drop")
    assert dropped.tolist() == [False, False, False, True, True, True]
    with pytest.raises(UsageError, match="threshold is 95"):
        table.is_confident(95, unknown="keep")


def test_data_one_file_is_a_split_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(FIVE_ROWS), encoding="utf-8")
    data = PreferenceData(HPDV3, tmp_path / "mine.json", images=tmp_path / "elsewhere")
    assert data.splits == ("mine",)
    assert data.split("mine")[0].images[0].image == tmp_path / "elsewhere" / "images" / "0_a.jpg"


def test_data_splits_are_those_with_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No file of the format 'hpdv3' .* all\.json or train"):
        PreferenceData(HPDV3, tmp_path)
    write(tmp_path, FIVE_ROWS, "pickapic")
    data = write(tmp_path, FIVE_ROWS, "test")
    assert data.splits == ("test", "pickapic")
    with pytest.raises(UnknownNameError, match="Splits found: test, pickapic"):
        data.split("train")
