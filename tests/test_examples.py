"""The example images: small, whole, as their script makes them, and unknown to the models."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from visreward.core.images import read_image
from visreward.core.types import Sample
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


def test_example_pictures_are_small(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300_000


def test_example_script_still_makes_these_pictures(folder: Path) -> None:
    script = runpy.run_path(str(folder.parent / "make_images.py"))
    made = dict(script["pictures"]())
    assert {f"{name}" for name in made} == {path.name for path in folder.glob("*.png")}
    for name, pixels in made.items():
        kept = np.asarray(read_image(folder / name)).astype(float)
        # A renderer's last bit differs between machines.
        assert np.abs(kept - pixels).mean() < 2, name


def test_example_things_are_held_out(folder: Path) -> None:
    scene = runpy.run_path(str(folder.parent / "make_images.py"))["PLAIN"]
    assert {split_of(thing.combination) for thing in scene.things} == {"test"}
