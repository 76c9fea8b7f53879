"""What a run leaves for people to look at: learning curves, a page of validation rows, trackers."""

from __future__ import annotations

import io
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from visreward.core.errors import MissingExtraError
from visreward.training.config import TrainConfig
from visreward.training.data.batches import Row
from visreward.training.objectives.base import ShownScore
from visreward.training.reporting.curves import draw_curves
from visreward.training.reporting.tracking import open_trackers
from visreward.training.reporting.validation_page import (
    NUM_SHOWN,
    ShownRow,
    choose_rows,
    validation_page,
)
from visreward.training.run import train

MakeRecipe = Callable[..., TrainConfig]


def test_choose_rows_takes_the_lowest_margins_and_the_same_others_each_time() -> None:
    margins = {row: float((7 * row) % 50) for row in range(50)} | {50: math.nan}
    worst, some = choose_rows(margins)
    assert [margins[row] for row in worst] == [float(value) for value in range(NUM_SHOWN)]
    changed = {row: -margin for row, margin in margins.items()}
    assert choose_rows(changed)[1] == some
    assert len(set(some)) == NUM_SHOWN
    assert 50 not in some


def shown_row(folder: Path, mus: list[float], overall: tuple[float, ...], prompt: str) -> ShownRow:
    images = []
    for place in range(len(mus)):
        images.append(folder / f"{place}.png")
        Image.new("RGB", (8, 8), (40 * place, 0, 0)).save(images[-1])
    return ShownRow(
        row=Row(images=tuple(images), prompts=(prompt,), overall=overall, id="train.json:3"),
        scores=tuple(ShownScore(mu=mu, sigma=0.5) for mu in mus),
    )


def test_page_shows_a_wrong_pair_in_the_order_of_people(tmp_path: Path) -> None:
    row = shown_row(tmp_path, [0.25, -1.0], (-2.0, -1.0), "make <b>it</b> red")
    page = validation_page(
        {"Lowest margins": [row]}, title="tiny, step 3", figures={"accuracy": 0.5}
    )
    assert "make &lt;b&gt;it&lt;/b&gt; red" in page
    assert "margin -1.250 · train.json:3" in page
    cards = re.findall(r'<li class="card( wrong)?">.*?alt="(\w+)".*?</li>', page, flags=re.DOTALL)
    assert cards == [(" wrong", "chosen"), ("", "rejected")]
    assert "accuracy <b>0.5</b>" in page
    assert "://" not in page


def test_page_of_a_group_shows_ranks_and_counts_pairs(tmp_path: Path) -> None:
    row = shown_row(tmp_path, [0.0, 2.0, 3.0], (1.0, 3.0, 2.0), "a")
    page = validation_page({"All": [row]}, title="tiny", figures={})
    assert re.findall(r'class="rank">(\d)<', page) == ["1", "2", "3"]
    assert "2 of 3 pairs right" in page
    assert page.count('class="card wrong"') == 1


def entry(kind: str, step: int, **figures: float) -> str:
    return json.dumps({"kind": kind, "step": step, **figures}) + "\n"


@pytest.mark.parametrize("num_steps", [1, 200])
def test_curves_are_one_picture_with_ink_in_every_panel(tmp_path: Path, num_steps: int) -> None:
    lines = [
        entry("train", step, loss=1 / step, accuracy=0.5, margin=0.1, learning_rate=1e-3)
        for step in range(1, num_steps + 1)
    ]
    lines.append(entry("validation", num_steps, accuracy=0.5, quality_accuracy=0.6))
    (tmp_path / "log.jsonl").write_text("".join(lines))
    draw_curves(tmp_path / "log.jsonl", tmp_path / "curves.png")
    picture = np.array(Image.open(tmp_path / "curves.png").convert("L"))
    height, width = picture.shape
    for top in (0, height // 2):
        for left in (0, width // 2):
            panel = picture[top : top + height // 2, left : left + width // 2]
            assert (panel < 200).mean() > 0.005
    assert [path.name for path in tmp_path.glob("*curves*")] == ["curves.png"]


def test_run_leaves_curves_a_page_and_a_summary(edit_recipe: MakeRecipe) -> None:
    console = Console(record=True, width=300, file=io.StringIO())
    config = edit_recipe()
    train(config, console=console)
    Image.open(config.output / "curves.png").verify()
    page = (config.output / "validation.html").read_text(encoding="utf-8")
    assert f"tiny-editreward, step {config.optim.steps}" in page
    log = [json.loads(line) for line in (config.output / "log.jsonl").read_text().splitlines()]
    last = [each for each in log if each["kind"] == "validation"][-1]
    assert f"margin <b>{last['margin']:.4g}</b>" in page
    shown = [float(margin) for margin in re.findall(r"margin ([+-][0-9.]+) ·", page)]
    assert shown
    assert np.mean(shown) == pytest.approx(last["margin"], abs=5e-4)  # all four rows, twice
    text = console.export_text()
    assert "tiny-editreward is trained" in text
    assert "rows skipped" in text
    assert str(config.output / "model") in text


class Recorder(ModuleType):
    """Stands for the package wandb, which is not installed here: the calls of it that we make."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[tuple[str, Any]] = []

    def init(self, **options: Any) -> Recorder:
        self.calls.append(("init", options))
        return self

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.calls.append(("define_metric", (name, step_metric)))

    def log(self, figures: dict[str, float]) -> None:
        self.calls.append(("log", figures))

    def finish(self) -> None:
        self.calls.append(("finish", None))


def test_tracker_goes_on_in_the_same_run_after_a_stop(
    recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe("hp", wandb_project="squares")
    config.output.mkdir()
    ids = []
    for step in (1, 2):
        recorder = Recorder()
        monkeypatch.setitem(sys.modules, "wandb", recorder)
        for tracker in open_trackers(config, first_step=step - 1):
            tracker.add({"train/loss": 0.5}, step)
            tracker.close()
        (_, options), *rest = recorder.calls
        assert options["project"] == "squares"
        assert options["resume"] == "allow"
        assert options["config"]["optim"]["steps"] == 6
        assert ("log", {"step": step, "train/loss": 0.5}) in rest
        assert rest[-1] == ("finish", None)
        ids.append(options["id"])
    assert ids[0] == ids[1]


def test_tracker_that_is_not_installed_is_named(
    recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe("hp", wandb_project="squares")
    config.output.mkdir()
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'visreward\[wandb\]'"):
        open_trackers(config, first_step=0)
