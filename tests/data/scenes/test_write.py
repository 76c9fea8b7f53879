"""Same bytes for the same settings, resumption, and refusal of other folders."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from visreward.core.errors import UsageError
from visreward.data.captions import Captions
from visreward.data.pick_high import PickHigh
from visreward.data.scenes.edits import plan_edit, render_edit
from visreward.data.scenes.resumable import SETTINGS_FILE, split_sizes
from visreward.data.scenes.triplets import make_triplet
from visreward.data.scenes.write import write_captions, write_pick_high
from visreward.data.scenes.write_edits import write_edits

NUM, SEED, SIZE = 40, 5, 64


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def pick_high(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with triplets, written by one process."""
    folder = tmp_path_factory.mktemp("scenes") / "pick-high"
    write_pick_high(folder, num=NUM, seed=SEED, size=SIZE, num_workers=1)
    return folder


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with caption families, written by one process."""
    folder = tmp_path_factory.mktemp("scenes") / "captions"
    write_captions(folder, num=6, seed=SEED, size=SIZE, num_workers=1)
    return folder


def test_write_pick_high_has_the_published_layout(pick_high: Path) -> None:
    for split, size in (("train", 36), ("val", 2), ("test", 2)):
        frame = pd.read_pickle(pick_high / "Pick-High" / f"{split}.pkl")
        assert len(frame) == size
        published = ["easy_prompt", "refine_prompt", "easy_image_0", "easy_image_1"]
        assert list(frame.columns[:5]) == [*published, "refine_image"]
        assert {str(kind) for kind in frame.dtypes} <= {"object", "int64", "float64"}
        for name in (*frame.easy_image_0, *frame.easy_image_1):
            assert (pick_high / "pick_easy_img" / split / name).is_file()
        for name in frame.refine_image:
            assert (pick_high / "pick_refine_img" / split / name).is_file()


def test_write_pick_high_images_and_rows_are_those_of_make_triplet(pick_high: Path) -> None:
    frame = pd.read_pickle(pick_high / "Pick-High" / "train.pkl")
    row = frame.iloc[11]
    triplet = make_triplet(seed=SEED, split="train", index=11, size=SIZE)
    folder = pick_high / "pick_easy_img" / "train"
    for name, image in (
        (row.easy_image_0, triplet.losing_image),
        (row.easy_image_1, triplet.winning_image),
    ):
        with Image.open(folder / name) as stored:
            assert np.array_equal(np.asarray(stored), image)
    assert (row.easy_prompt, row.refine_prompt) == (triplet.basic_prompt, triplet.refined_prompt)
    assert (row.votes_1, row.votes_0) == triplet.votes
    assert row.loss_kind == triplet.loss_kind


def test_write_pick_high_is_read_by_the_reader_of_pick_high(pick_high: Path) -> None:
    split = PickHigh(pick_high).split("train")
    triplet = make_triplet(seed=SEED, split="train", index=3, size=SIZE)
    assert len(split) == 36
    assert split[3].basic_prompt == triplet.basic_prompt
    assert split[3].votes == triplet.votes
    assert Path(split[3].losing_image).is_file()


def test_write_pick_high_two_processes_write_the_same_bytes(
    pick_high: Path, tmp_path: Path
) -> None:
    write_pick_high(tmp_path, num=NUM, seed=SEED, size=SIZE, num_workers=2)
    assert digests(tmp_path) == digests(pick_high)


def test_write_pick_high_other_seed_writes_other_images(pick_high: Path, tmp_path: Path) -> None:
    write_pick_high(tmp_path, num=3, seed=SEED + 1, size=SIZE, num_workers=1)
    name = "pick_refine_img/train/train_0000000.png"
    assert digests(tmp_path)[name] != digests(pick_high)[name]


def test_write_pick_high_item_does_not_depend_on_how_many_there_are(
    pick_high: Path, tmp_path: Path
) -> None:
    write_pick_high(tmp_path, num=5, seed=SEED, size=SIZE, num_workers=1)
    few, many = digests(tmp_path), digests(pick_high)
    images = [name for name in few if name.endswith(".png")]
    assert len(images) == 15
    assert all(few[name] == many[name] for name in images)


def test_write_pick_high_finish_changes_images_and_not_the_tables(
    pick_high: Path, tmp_path: Path
) -> None:
    write_pick_high(tmp_path, num=NUM, seed=SEED, size=SIZE, finish_share=1.0, num_workers=1)
    plain, finished = digests(pick_high), digests(tmp_path)
    changed = {name for name in plain if plain[name] != finished[name]}
    assert changed == {name for name in plain if name.endswith(".png")} | {"scenes.json"}


class Interrupted(Exception):  # noqa: N818
    """Stands for the user's Ctrl-C."""


def test_write_pick_high_interrupted_run_goes_on_to_the_same_bytes(
    pick_high: Path, tmp_path: Path
) -> None:
    def stop(done: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        write_pick_high(tmp_path, num=NUM, seed=SEED, size=SIZE, num_workers=1, progress=stop)
    early = tmp_path / "pick_easy_img" / "train" / "train_0000000_0.png"
    assert early.is_file()
    assert not (tmp_path / "Pick-High").exists()
    made_at = early.stat().st_mtime_ns
    counts: list[int] = []

    write_pick_high(tmp_path, num=NUM, seed=SEED, size=SIZE, num_workers=1, progress=counts.append)

    assert digests(tmp_path) == digests(pick_high)
    assert early.stat().st_mtime_ns == made_at
    assert sum(counts) == NUM


def test_write_pick_high_complete_run_of_the_same_settings_is_left_alone(pick_high: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in pick_high.rglob("*")}
    write_pick_high(pick_high, num=NUM, seed=SEED, size=SIZE, num_workers=1)
    assert {path: path.stat().st_mtime_ns for path in pick_high.rglob("*")} == before


def test_write_pick_high_other_settings_in_the_folder_are_refused(pick_high: Path) -> None:
    with pytest.raises(UsageError, match=r"is not empty and holds no run .*'seed': 5"):
        write_pick_high(pick_high, num=NUM, seed=SEED + 1, size=SIZE, num_workers=1)


def test_write_pick_high_foreign_file_in_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="found: other files"):
        write_pick_high(tmp_path, num=3, seed=0, size=SIZE, num_workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_write_pick_high_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match=r"is a file\. Name a folder"):
        write_pick_high(tmp_path / "out", num=3, seed=0, size=SIZE, num_workers=1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"num": 2}, "num is 2"),
        ({"seed": -1}, "seed is -1"),
        ({"size": 32}, "image size is 32"),
        ({"shares": (0.5, 0.2, 0.2)}, "Give three shares that sum to 1"),
        ({"num_workers": 0}, "num_workers is 0"),
        ({"finish_share": 1.5}, r"finish_share is 1\.5"),
    ],
)
def test_write_pick_high_setting_out_of_range_is_refused(
    tmp_path: Path, wrong: dict[str, float], words: str
) -> None:
    settings = {"num": 3, "seed": 0, "size": SIZE, "num_workers": 1} | wrong
    with pytest.raises(UsageError, match=words):
        write_pick_high(tmp_path / "out", **settings)  # type: ignore[arg-type]  # wrong on purpose


def test_write_pick_high_settings_file_says_what_was_written(pick_high: Path) -> None:
    assert json.loads((pick_high / SETTINGS_FILE).read_text()) == {
        "kind": "pick-high",
        "num": NUM,
        "seed": SEED,
        "size": SIZE,
        "shares": [0.9, 0.05, 0.05],
        "finish_share": 0.0,
        "complete": True,
    }


def test_write_captions_is_read_by_the_reader_of_captions(captions: Path) -> None:
    split = Captions(captions).split("train")
    assert len(split) == 4
    for family in split:
        assert len(family.members) == 4
        assert all(member.image.is_file() for member in family.members)


def test_write_captions_two_processes_write_the_same_bytes(captions: Path, tmp_path: Path) -> None:
    write_captions(tmp_path, num=6, seed=SEED, size=SIZE, num_workers=2)
    assert digests(tmp_path) == digests(captions)


@pytest.mark.parametrize(
    ("num", "sizes"),
    [(100, (90, 5, 5)), (3, (1, 1, 1)), (1001, (901, 50, 50))],
)
def test_split_sizes_sum_to_the_number(num: int, sizes: tuple[int, int, int]) -> None:
    assert tuple(split_sizes(num, (0.9, 0.05, 0.05)).values()) == sizes


@pytest.fixture(scope="module")
def edits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with edits, written by one process."""
    folder = tmp_path_factory.mktemp("scenes") / "edits"
    write_edits(folder, num=12, seed=SEED, size=SIZE, num_workers=1)
    return folder


def test_write_edits_has_the_keys_of_editreward_and_the_preferred_one_first(edits: Path) -> None:
    rows = json.loads((edits / "train.json").read_text())
    assert len(rows) >= 10 * 10
    for row in rows:
        for key in ("path_src", "path1", "path2"):
            assert (edits / row[key]).is_file()
        assert row["confidence"] is row["choice_dist"] is None
        assert row["model1_overall_score"] > row["model2_overall_score"]
        for number in (1, 2):
            dims = [row[f"model{number}_dim{dim}_score"] for dim in (1, 2)]
            assert row[f"model{number}_overall_score"] == sum(dims) / 2
    assert {row["model2"] for row in rows} >= {"untouched", "wrong object", "flawed"}


def test_write_edits_images_are_those_of_render_edit(edits: Path) -> None:
    edit = render_edit(plan_edit(seed=SEED, split="train", index=3), size=SIZE)
    folder = edits / "edits/train"
    wanted = {"source": edit.source_image} | {str(n): each for n, each in enumerate(edit.images)}
    for name, image in wanted.items():
        with Image.open(folder / f"train_0000003_{name}.png") as stored:
            assert np.array_equal(np.asarray(stored), image)


def test_write_edits_same_bytes_in_two_processes_and_after_a_stop(
    edits: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    write_edits(folder, num=12, seed=SEED, size=SIZE, num_workers=2)
    assert digests(folder) == digests(edits)
    (folder / "train.json").unlink()
    (folder / "edits/train/train_0000003_2.png").unlink()
    marker = json.loads((folder / SETTINGS_FILE).read_text()) | {"complete": False}
    (folder / SETTINGS_FILE).write_text(json.dumps(marker))
    write_edits(folder, num=12, seed=SEED, size=SIZE, num_workers=1)
    assert digests(folder) == digests(edits)
