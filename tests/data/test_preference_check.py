from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from visreward.core.errors import UsageError
from visreward.data.base import DatasetReport, load_optional
from visreward.data.editreward_data import EDITREWARD
from visreward.data.formats import PREFERENCE_FORMATS
from visreward.data.hpdv3 import HPDV3
from visreward.data.imagerewarddb import IMAGEREWARDDB
from visreward.data.pick_a_pic import PICK_A_PIC
from visreward.data.preference_check import check_preferences
from visreward.data.preference_files import PreferenceFormat

pa = load_optional("pyarrow", extra="train")
pq = load_optional("pyarrow.parquet", extra="train")


def pair(prompt: str, better: str, worse: str, **changes: Any) -> dict[str, Any]:
    row = {"prompt": prompt, "path1": better, "path2": worse, "model1": "x", "model2": "y"}
    return {**row, **changes}


def write(folder: Path, *, images: bool = True, **splits: list[Any]) -> Path:
    """Write lists of pairs, and a small picture for each image that they name."""
    for split, rows in splits.items():
        (folder / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
        for row in rows if images else ():
            for key in ("path1", "path2", "path_src"):
                if isinstance(row, dict) and isinstance(row.get(key), str):
                    Image.new("RGB", (2, 2)).save(folder / row[key])
    return folder


def check(
    folder: Path, layout: PreferenceFormat = HPDV3, **options: Any
) -> tuple[DatasetReport, dict[str, tuple[str, ...]]]:
    report = check_preferences(layout, folder, **options)
    return report, {problem.kind: problem.examples for problem in report.problems}


def test_check_sound_data_is_ok(tmp_path: Path) -> None:
    train = [pair(f"p{i}", f"{i}a.png", f"{i}b.png", choice_dist=[5, 1]) for i in range(5)]
    done: list[int] = []
    report, found = check(
        write(tmp_path, train=train, test=[pair("q", "c.png", "d.png")]), progress=done.append
    )
    assert found == {}
    assert report.ok
    assert (report.dataset, dict(report.counts)) == ("hpdv3", {"train": 5, "test": 1})
    assert sum(done) == 6


def test_check_same_pair_with_both_labels_is_found(tmp_path: Path) -> None:
    rows = [
        pair("p", "a.png", "b.png"),
        pair("q", "a.png", "b.png"),
        pair("p", "c.png", "b.png"),
        pair("p", "b.png", "a.png"),
        pair("p", "a.png", "b.png"),
    ]
    report, found = check(write(tmp_path, train=rows))
    assert not report.ok
    assert found == {
        "same pair with both labels": (
            "train.json:3 and train.json:0",
            "train.json:4 and train.json:3",
        )
    }


def test_check_repeated_pair_is_found_under_its_first_row(tmp_path: Path) -> None:
    rows = [pair("p", "b.png", "a.png")] * 3
    report, found = check(write(tmp_path, train=rows))
    assert not report.ok
    assert found == {
        "repeated pair": ("train.json:1 and train.json:0", "train.json:2 and train.json:0")
    }


def test_check_tie_in_both_orders_is_sound_and_against_a_label_is_not(tmp_path: Path) -> None:
    tie = {"path_src": "s.png", "tie_case": True}
    rows = [
        pair("p", "a.png", "b.png", **tie),
        pair("p", "b.png", "a.png", **tie),
        pair("q", "a.png", "b.png", **tie),
        pair("q", "b.png", "a.png", path_src="s.png"),
        pair("r", "a.png", "b.png", path_src="s.png"),
        pair("r", "b.png", "a.png", path_src="a.png"),
    ]
    _, found = check(write(tmp_path, train=rows), EDITREWARD)
    assert found == {"same pair as a tie and with a label": ("train.json:3 and train.json:2",)}


def test_check_malformed_rows_and_missing_images_are_named(tmp_path: Path) -> None:
    rows = [pair("p", "a.png", "b.png"), pair("", "c.png", "d.png"), pair("q", "e.png", "f.png")]
    folder = write(tmp_path, train=rows)
    (folder / "f.png").unlink()
    report, found = check(folder)
    assert not report.ok
    assert set(found) == {"malformed row", "missing image"}
    assert found["malformed row"][0].startswith("Row 1 of ")
    assert found["missing image"] == ("train.json:2: f.png",)
    other = tmp_path / "elsewhere"
    other.mkdir()
    assert len(check(folder, images=other)[1]["missing image"]) == 4


def test_check_judgements_against_the_preferred_image_are_warnings(tmp_path: Path) -> None:
    rows = [
        pair("p", "a.png", "b.png", path_src="s.png", choice_dist=[1, 5]),
        pair("q", "a.png", "b.png", path_src="s.png") | overall(1, 2),
        pair("r", "a.png", "b.png", path_src="s.png", tie_case=True) | overall(1, 2),
        pair("t", "a.png", "b.png", path_src="s.png") | overall(2, None),
    ]
    report, found = check(write(tmp_path, train=rows), EDITREWARD)
    assert report.ok
    assert found == {
        "votes against the preferred image": ("train.json:0",),
        "overall scores against the preferred image": ("train.json:1",),
    }


def overall(first: float | None, second: float | None) -> dict[str, Any]:
    return {"model1_overall_score": first, "model2_overall_score": second}


def test_check_overlap_is_a_warning_where_splits_are_meant_to_differ(tmp_path: Path) -> None:
    rows = [pair("p", "a.png", "b.png"), pair("q", "c.png", "d.png")]
    test = [pair("p", "a.png", "b.png"), pair("r", "d.png", "e.png")]
    report, found = check(write(tmp_path, all=rows, train=rows, test=test))
    assert report.ok
    assert found == {
        "pair in two splits": ("all and test: row 0 of test", "train and test: row 0 of test"),
        "prompt in two splits": ("all and test: 'p'", "train and test: 'p'"),
        "image in two splits": tuple(
            f"{split} and test: '{name}.png'" for split in ("all", "train") for name in "abd"
        ),
    }


def test_check_pair_with_another_label_in_another_split_is_a_problem(tmp_path: Path) -> None:
    rows = [pair("o", "a.png", "b.png"), pair("p", "a.png", "b.png")]
    report, found = check(write(tmp_path, train=rows, test=[pair("p", "b.png", "a.png")]))
    assert not report.ok
    assert found["same pair with another label in another split"] == ("train row 1 and test row 0",)


def test_check_open_images_names_torn_ones(tmp_path: Path) -> None:
    folder = write(tmp_path, train=[pair("p", "a.png", "b.png"), pair("", "c.png", "d.png")])
    (folder / "b.png").write_bytes(b"torn")
    done: list[int] = []
    _, found = check(folder, open_images=True, progress=done.append)
    assert set(found) == {"malformed row", "unreadable image"}
    assert found["unreadable image"][0].startswith("train.json:0: ")
    assert sum(done) == 2


def test_check_images_in_tables_are_checked_when_opened(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stream, format="JPEG")
    row = {
        "caption": "p",
        "image_0_uid": "u0",
        "image_1_uid": "u1",
        "jpg_0": stream.getvalue(),
        "jpg_1": stream.getvalue(),
        "label_0": 1.0,
        "label_1": 0.0,
        "has_label": True,
    }
    others = [row | {"image_0_uid": "u2", "jpg_0": b"torn"}, row | {"caption": "q", "jpg_1": None}]
    unlabelled = row | {"caption": "r", "has_label": False}
    pq.write_table(pa.Table.from_pylist([row, *others, unlabelled]), tmp_path / "train.parquet")
    report, found = check(tmp_path, PICK_A_PIC)
    assert report.ok
    assert found == {"row without a label": ("train.parquet:3",)}
    _, found = check(tmp_path, PICK_A_PIC, open_images=True)
    first, second = found["unreadable image"]
    assert first.startswith("train.parquet:1: ")
    assert second.startswith("Row 2 of ")
    with pytest.raises(UsageError, match="hold them themselves"):
        check(tmp_path, PICK_A_PIC, images=tmp_path)


def test_check_rankings_compare_every_two_images(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "generations": ["a", "b", "c"], "ranking": [1, 2, 2]},
        {"prompt": "p", "generations": ["c", "d", "a"], "ranking": [1, 2, 3]},
        {"prompt": "p", "generations": ["b", "c"], "ranking": [1, 2]},
    ]
    (tmp_path / "test.json").write_text(json.dumps(rows), encoding="utf-8")
    _, found = check(tmp_path, IMAGEREWARDDB)
    del found["missing image"]
    assert found == {
        "same pair with both labels": ("test.json:1 and test.json:0",),
        "same pair as a tie and with a label": ("test.json:2 and test.json:0",),
    }


@pytest.mark.parametrize("name", sorted(PREFERENCE_FORMATS))
def test_check_empty_split_counts_no_rows(tmp_path: Path, name: str) -> None:
    layout = PREFERENCE_FORMATS[name]
    if layout.kind == "json":
        (tmp_path / "test.json").write_text("[]", encoding="utf-8")
    else:
        columns = {column: pa.array([], pa.string()) for column in layout.columns}
        pq.write_table(pa.table(columns), tmp_path / "test.parquet")
    report, found = check(tmp_path, layout)
    assert dict(report.counts) == {"test": 0}
    assert found == {}


def test_check_published_files_have_no_malformed_row_and_no_contradiction(
    shared_dir: Path,
) -> None:
    _, found = check(shared_dir / "data" / "genai_bench_edit_valid.json", EDITREWARD)
    assert set(found) == {"missing image", "overall scores against the preferred image"}
    _, found = check(shared_dir / "data" / "imagereward_test.json", IMAGEREWARDDB)
    assert set(found) == {"missing image"}
