"""visreward data: make, check, convert."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from visreward.core.images import read_image
from visreward.data.captions import Captions
from visreward.data.pick_high import PickHigh

Call = Callable[..., Result]


@pytest.fixture
def dataset(call: Call, tmp_path: Path) -> Path:
    """Make a small dataset with the command itself."""
    folder = tmp_path / "scenes"
    result = call(
        "data", "make-scenes", "pick-high", "--output", folder, "--num", "6", "--seed", "1",
        "--size", "64", "--workers", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    return folder


def test_make_scenes_pick_high_writes_what_the_reader_reads(dataset: Path) -> None:
    reader = PickHigh(dataset)
    triplets = [triplet for split in ("train", "val", "test") for triplet in reader.split(split)]
    assert len(triplets) == 6
    assert read_image(triplets[0].winning_image).size == (64, 64)


def test_make_scenes_captions_writes_what_the_reader_reads(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "captions"
    result = call(
        "data", "make-scenes", "captions", "--output", folder, "--num", "4", "--seed", "1",
        "--workers", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    families = [
        family for split in ("train", "val", "test") for family in Captions(folder).split(split)
    ]
    assert len(families) == 4


def test_make_scenes_impossible_setting_exits_with_2(call: Call, tmp_path: Path) -> None:
    result = call(
        "data", "make-scenes", "captions", "--output", tmp_path / "x", "--num", "4", "--seed", "1",
        "--size", "8",
    )  # fmt: skip
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")


def test_make_scenes_finish_for_captions_exits_with_2(call: Call, tmp_path: Path) -> None:
    arguments = ["--output", tmp_path / "x", "--num", "4", "--seed", "1", "--finish-share", "0.5"]
    result = call("data", "make-scenes", "captions", *arguments)
    assert result.exit_code == 2
    assert "captions has no finish" in result.stderr
    assert not (tmp_path / "x").exists()


def test_check_whole_dataset_is_ok(call: Call, dataset: Path) -> None:
    result = call("data", "check", "pick-high", dataset)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].startswith("pick-high  rows: train ")
    assert result.stdout.splitlines()[-1] == "ok"


def test_check_missing_and_torn_images_are_named(call: Call, dataset: Path) -> None:
    first, second = sorted((dataset / "pick_easy_img" / "train").iterdir())[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:50])
    result = call("data", "check", "pick-high", dataset)
    assert result.exit_code == 1
    assert "missing image, 1 times" in result.stdout
    assert first.name in result.stdout
    result = call("data", "check", "pick-high", dataset, "--open-images", "--format", "json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["ok"] is False
    named = " ".join(example for problem in found["problems"] for example in problem["examples"])
    assert first.name in named
    assert second.name in named


def test_check_absent_dataset_exits_with_2(call: Call, tmp_path: Path) -> None:
    result = call("data", "check", "pick-high", tmp_path / "absent")
    assert result.exit_code == 2
    assert "absent" in result.stderr


def test_check_preferences_prints_contradictions_as_table_and_json(
    call: Call, tmp_path: Path
) -> None:
    row = {"prompt": "p", "path1": "a.png", "path2": "b.png", "model1": "x", "model2": "y"}
    rows = [row, row | {"path1": "b.png", "path2": "a.png"}, row | {"prompt": None}]
    (tmp_path / "train.json").write_text(json.dumps(rows), encoding="utf-8")
    result = call("data", "check", "hpdv3", tmp_path)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == "hpdv3  rows: train 3"
    assert "problem: same pair with both labels, 1 times" in result.stdout
    assert "train.json:1 and train.json:0" in result.stdout
    assert "Row 2 of " in result.stdout
    found = json.loads(call("data", "check", "hpdv3", tmp_path, "--format", "json").stdout)
    assert found["counts"] == {"train": 3}
    assert [problem["kind"] for problem in found["problems"]] == [
        "malformed row",
        "missing image",
        "same pair with both labels",
    ]


def test_check_unknown_dataset_exits_with_2(call: Call, tmp_path: Path) -> None:
    result = call("data", "check", "hpdv2", tmp_path)
    assert result.exit_code == 2
    assert "Unknown dataset 'hpdv2'. Did you mean 'hpdv3'?" in result.stderr


def test_convert_tables_hold_the_same_triplets(call: Call, dataset: Path, tmp_path: Path) -> None:
    result = call("data", "convert", "pick-high", dataset, "--output", tmp_path / "parquet")
    assert result.exit_code == 0
    assert result.stderr.count("Wrote ") == 3
    converted = PickHigh(tmp_path / "parquet", images=dataset)
    assert list(converted.split("train")) == list(PickHigh(dataset).split("train"))
