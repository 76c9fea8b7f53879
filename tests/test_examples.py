"""The example images: small, whole, as their script makes them, and unknown to the models."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from visreward.core.images import read_image
from visreward.core.types import Sample
from visreward.data.scenes.examples import EDIT, PLAIN
from visreward.data.scenes.grammar import split_of
from visreward.scoring.rows import read_rows


@pytest.fixture(scope="module")
def folder(project_dir: Path) -> Path:
    return project_dir / "examples" / "images"


def test_example_rows_name_every_picture_under_one_prompt(folder: Path) -> None:
    samples = [row for row in read_rows(folder / "samples.jsonl") if isinstance(row, Sample)]
    assert sorted(str(sample.image) for sample in samples) == sorted(
        str(path) for path in folder.glob("*.png")
    )
    assert len({sample.prompt for sample in samples}) == 1


def test_example_edits_are_rows_of_one_source_and_one_instruction(folder: Path) -> None:
    edits = folder.parent / "edits"
    samples = [row for row in read_rows(edits / "samples.jsonl") if isinstance(row, Sample)]
    assert {sample.sources for sample in samples} == {(str(edits / "before.png"),)}
    assert sorted(
        [*(str(sample.image) for sample in samples), str(edits / "before.png")]
    ) == sorted(str(path) for path in edits.glob("*.png"))
    assert len({sample.prompt for sample in samples}) == 1
    assert len(samples) == 6


@pytest.mark.parametrize("name", ["images", "edits"])
def test_example_pictures_are_small(folder: Path, name: str) -> None:
    assert sum(path.stat().st_size for path in (folder.parent / name).iterdir()) < 400_000


@pytest.mark.parametrize(("name", "makes"), [("images", "pictures"), ("edits", "edit_pictures")])
def test_example_script_still_makes_these_pictures(folder: Path, name: str, makes: str) -> None:
    script = runpy.run_path(str(folder.parent / "make_images.py"))
    folder = folder.parent / name
    made = dict(script[makes]())
    assert set(made) == {path.name for path in folder.glob("*.png")}
    for picture, pixels in made.items():
        kept = np.asarray(read_image(folder / picture)).astype(float)
        # A renderer's last bit differs between machines.
        assert np.abs(kept - pixels).mean() < 2, picture


def test_example_things_are_held_out() -> None:
    scenes = [PLAIN, *(candidate.state.scene for candidate in EDIT.candidates)]
    for scene in scenes:
        assert {split_of(thing.combination) for thing in scene.things} == {"test"}
