"""The check of Pick-High: each kind of problem is found, counted and named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from visreward.core.errors import DataError
from visreward.data.base import DatasetReport, Problem
from visreward.data.containment import LabelColumns, LabelSource, write_labels
from visreward.data.pick_high import convert_pick_high
from visreward.data.pick_high_check import check_pick_high

Columns = dict[str, list[object]]
WriteDataset = Callable[..., Path]
RowsOf = Callable[..., Columns]


def changed(columns: Columns, column: str, row: int, value: object) -> Columns:
    cells = list(columns[column])
    cells[row] = value
    return {**columns, column: cells}


def only_problem(report: DatasetReport) -> Problem:
    assert len(report.problems) == 1, report.problems
    return report.problems[0]


def test_check_clean_dataset_is_ok(write_dataset: WriteDataset, rows_of: RowsOf) -> None:
    root = write_dataset(**{split: rows_of(split) for split in ("train", "val", "test")})
    done: list[int] = []
    report = check_pick_high(root, progress=done.append)
    assert report == DatasetReport(
        dataset="pick-high",
        path=root,
        counts={"train": 5, "val": 5, "test": 5},
        problems=(),
    )
    assert report.ok
    assert sum(done) == 15


def test_check_parquet_finds_the_same(
    write_dataset: WriteDataset, rows_of: RowsOf, tmp_path: Path
) -> None:
    root = write_dataset(train=changed(rows_of("train"), "E1", 2, 3.0), val=rows_of("val"))
    convert_pick_high(root, output=tmp_path / "out")
    report = check_pick_high(tmp_path / "out", images=root)
    assert report.counts == {"train": 5, "val": 5}
    assert only_problem(report).examples == ("train row 2: E1 = 3.0",)


def test_check_missing_images_are_named(write_dataset: WriteDataset, rows_of: RowsOf) -> None:
    root = write_dataset(train=rows_of("train"), val=rows_of("val"))
    (root / "pick_easy_img/train/train3_0.png").unlink()
    (root / "pick_refine_img/val/val1_r.png").rename(root / "pick_easy_img/val/val1_r.png")
    report = check_pick_high(root)
    assert not report.ok
    assert only_problem(report) == Problem(
        kind="missing image",
        count=2,
        examples=(
            "train row 3: pick_easy_img/train/train3_0.png",
            "val row 1: pick_refine_img/val/val1_r.png",
        ),
    )


def test_check_no_image_folder_counts_all_and_names_twenty(
    write_dataset: WriteDataset, rows_of: RowsOf, tmp_path: Path
) -> None:
    root = write_dataset(train=rows_of("train", 30))
    problem = only_problem(check_pick_high(root, images=tmp_path / "absent"))
    assert problem.kind == "missing image"
    assert problem.count == 90
    assert len(problem.examples) == 20


def test_check_images_in_folders_are_found_by_their_relative_names(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    root = write_dataset(train=changed(rows_of("train"), "easy_image_0", 0, "a/b/train0_0.png"))
    folder = root / "pick_easy_img/train"
    assert only_problem(check_pick_high(root)).kind == "missing image"
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/train0_0.png").touch()
    assert check_pick_high(root).ok


@pytest.mark.parametrize(
    ("column", "value", "kind", "example"),
    [
        ("E1", 1.5, "label missing or outside [0, 1]", "train row 2: E1 = 1.5"),
        ("E2", -0.25, "label missing or outside [0, 1]", "train row 2: E2 = -0.25"),
        ("R1", np.nan, "label missing or outside [0, 1]", "train row 2: R1 = None"),
        ("R2", np.inf, "label missing or outside [0, 1]", "train row 2: R2 = inf"),
        ("easy_prompt", "", "empty prompt", "train row 2: easy_prompt"),
        ("easy_prompt", " \t\n", "empty prompt", "train row 2: easy_prompt"),
        ("refine_prompt", None, "empty prompt", "train row 2: refine_prompt"),
        ("refine_image", None, "empty image name", "train row 2: refine_image"),
        (
            "easy_prompt",
            5,
            "cell of the wrong type",
            "train row 2: int 5 in column easy_prompt, expected a text",
        ),
        (
            "R2",
            "high",
            "cell of the wrong type",
            "train row 2: str 'high' in column R2, expected a number",
        ),
        (
            "easy_image_1",
            "../train0_1.png",
            "missing image",
            "train row 2: pick_easy_img/train/../train0_1.png",
        ),
    ],
)
def test_check_wrong_cell_is_named_once(
    write_dataset: WriteDataset,
    rows_of: RowsOf,
    column: str,
    value: object,
    kind: str,
    example: str,
) -> None:
    root = write_dataset(train=changed(rows_of("train"), column, 2, value), val=rows_of("val"))
    report = check_pick_high(root)
    assert not report.ok
    assert only_problem(report) == Problem(kind=kind, count=1, examples=(example,))


def test_check_repeated_rows_are_counted(write_dataset: WriteDataset, rows_of: RowsOf) -> None:
    frame = pd.DataFrame(rows_of("train"))
    twice = pd.concat([frame, frame.iloc[[1, 3, 3]]], ignore_index=True)
    problem = only_problem(check_pick_high(write_dataset(train=twice.to_dict("list"))))
    assert problem.kind == "repeated row"
    assert problem.count == 3
    assert problem.examples == ("train row 5: same as row 1", "train row 7: same as row 3")


def test_check_same_prompt_with_other_images_is_no_repeat(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    columns = rows_of("train")
    assert check_pick_high(write_dataset(train={**columns, "easy_prompt": ["same"] * 5})).ok


def test_check_prompts_and_images_in_two_splits_are_named(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    val = changed(rows_of("val"), "easy_prompt", 0, "train basic 4")
    val = changed(val, "easy_image_0", 1, "train2_1.png")
    test = changed(rows_of("test"), "refine_prompt", 3, "val refined 2")
    root = write_dataset(train=rows_of("train"), val=val, test=test)
    report = check_pick_high(root)
    assert report.problems == (
        Problem(
            kind="prompt in two splits",
            count=2,
            examples=(
                "train and val: basic_prompt 'train basic 4'",
                "val and test: refined_prompt 'val refined 2'",
            ),
            is_warning=True,
        ),
        Problem(
            kind="image name in two splits",
            count=1,
            examples=("train and val: pick_easy_img 'train2_1.png'",),
            is_warning=True,
        ),
    )
    assert report.ok


def test_check_empty_prompts_in_two_splits_are_no_overlap(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    splits = {name: changed(rows_of(name), "easy_prompt", 0, "") for name in ("train", "val")}
    assert only_problem(check_pick_high(write_dataset(**splits))).kind == "empty prompt"


def test_check_missing_column_is_a_problem_and_unknown_a_warning(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    columns = rows_of("train")
    del columns["refine_image"]
    root = write_dataset(train={**columns, "note": ["x"] * 5}, val={**rows_of("val"), "n": [1] * 5})
    report = check_pick_high(root)
    assert report.problems == (
        Problem(kind="missing column", count=1, examples=("train: refine_image",)),
        Problem(
            kind="unknown column", count=2, examples=("train: note", "val: n"), is_warning=True
        ),
    )
    assert not report.ok
    (root / "Pick-High" / "train.pkl").unlink()
    assert check_pick_high(root).ok


def test_check_labels_beside_the_table_are_the_ones_checked(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    root = write_dataset(train=changed(rows_of("train"), "E1", 0, 9.0))
    whole, wrong = np.full(5, 0.5), np.array([0.5, 0.5, 0.5, 0.5, np.nan])
    source = LabelSource(model="m", theta=1.0)
    labels = LabelColumns(e1=whole, e2=whole, r1=whole, r2=wrong)
    file = write_labels(root, split="train", labels=labels, source=source)
    assert only_problem(check_pick_high(root)).examples == ("train row 4: R2 = nan",)
    pd.DataFrame({"e1": [1.0]}).to_parquet(file)
    assert only_problem(check_pick_high(root)).kind == "unusable label file"


def test_check_open_images_names_those_that_cannot_be_decoded(
    write_dataset: WriteDataset, rows_of: RowsOf
) -> None:
    root = write_dataset(train=changed(rows_of("train"), "easy_image_1", 4, "../outside.png"))
    (root / "pick_easy_img/train/train1_0.png").write_text("not an image")
    (root / "pick_refine_img/train/train2_r.png").unlink()
    assert [p.kind for p in check_pick_high(root).problems] == ["missing image"]
    done: list[int] = []
    report = check_pick_high(root, open_images=True, progress=done.append)
    unreadable = next(p for p in report.problems if p.kind == "unreadable image")
    assert unreadable.count == 2
    assert "train1_0.png" in unreadable.examples[0]
    assert "../outside.png" in unreadable.examples[1]
    assert sum(done) == 5


def test_check_empty_table_counts_no_rows(write_dataset: WriteDataset, rows_of: RowsOf) -> None:
    root = write_dataset(train=rows_of("train", 0), val=rows_of("val"))
    assert check_pick_high(root).counts == {"train": 0, "val": 5}


def test_check_no_table_stops(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No table of Pick-High"):
        check_pick_high(tmp_path)


def test_check_needs_no_torch(write_dataset: WriteDataset, rows_of: RowsOf) -> None:
    root = write_dataset(train=rows_of("train"))
    script = (
        "import json, sys\n"
        "from visreward.data.pick_high_check import check_pick_high\n"
        "report = check_pick_high(sys.argv[1])\n"
        "print(json.dumps([report.ok, 'torch' in sys.modules]))\n"
    )
    command = [sys.executable, "-c", script, str(root)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == [True, False]


def test_benchmark_of_the_check_prints_its_measurements(project_dir: Path) -> None:
    command = [sys.executable, str(project_dir / "benchmarks/data_check.py"), "--rows", "100"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line.split(maxsplit=1) for line in printed.splitlines()]
    assert [kind for kind, _ in lines] == ["pickle", "parquet"]
    for _, result in lines:
        assert json.loads(result)["rows"] == 100
        assert json.loads(result)["ok"] is True
