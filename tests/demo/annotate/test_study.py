"""A whole study: 200 annotations through the page, exported, trained on, and accuracy moves.

The annotators want plain pictures: of a right picture and a rich right one, or one with a flaw or a
mistake, they take the plain one that is right. The shipped model prefers rich ones, so it has
something to learn from them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from visreward.cli.main import app
from visreward.core.images import read_image, thumbnail_data_uri
from visreward.core.types import Sample
from visreward.data.scenes.triplets import make_triplet
from visreward.demo.annotate.store import Store
from visreward.models.loading import load_model
from visreward.scoring.engine import ScoringEngine

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from tests.demo.annotate.conftest import Serving

NUM_QUESTIONS = 182
NUM_GOLD = 20
NUM_HELD_OUT = 60
PATIENCE_MS = 120_000

STATE = """() => {
    const question = document.querySelector("#va-question");
    const images = [...document.querySelectorAll("#va-question figure.va-candidate img")];
    return { ticket: question.dataset.ticket ?? null, images: images.map((image) => image.src) };
}"""
NEXT = f"""(old) => {{
    const state = ({STATE})();
    return state.ticket !== old && state;
}}"""


def write_scenes(folder: Path, name: str, *, split: str, start: int, num: int) -> Path:
    """Write groups of a plain right picture and a rich or a wrong one, in a file."""
    lines = []
    for index in range(start, start + num):
        scene = make_triplet(seed=5, split=split, index=index, size=96)
        pictures = {"plain": scene.winning_image}
        pictures |= {"rich": scene.refined_image} if index % 2 else {"wrong": scene.losing_image}
        candidates = []
        for rank, (kind, pixels) in enumerate(pictures.items(), start=1):
            image = f"{split}-{index}-{kind}.png"
            Image.fromarray(pixels).save(folder / image)
            candidates.append({"image": image, "generator": kind, "rank": rank})
        if index % 3 == 0:  # the file's order says nothing
            candidates.reverse()
        lines.append(json.dumps({"prompt": scene.basic_prompt, "candidates": candidates}))
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def plain_pictures(paths: Sequence[Path]) -> set[str]:
    """Return the pictures that the annotators want, as the page shows them."""
    return {
        thumbnail_data_uri(read_image(file), max_side=1024, encoding="lossless-webp")
        for path in paths
        for file in path.parent.glob("train-*-plain.png")
    }


def annotate(page: Page, wanted: set[str], *, most: int) -> int:
    """Answer as somebody who looks at the pictures, by keys and buttons; return how often."""
    state = page.wait_for_function(f"() => {{ const s = ({STATE})(); return s.ticket && s; }}")
    seen: dict[str, Any] = state.json_value()
    num = 0
    while seen["ticket"] is not None and num < most:
        acts = ("1", "ArrowLeft", "#va-first"), ("2", "ArrowRight", "#va-second")
        place = [image in wanted for image in seen["images"]].index(True)
        act = acts[place][num % 3]
        if num % 50 == 49:  # a slip that is taken back
            seen = done(page, seen, acts[1 - place][0])
            seen = done(page, seen, "u")
        seen = done(page, seen, act)
        num += 1
    return num


def done(page: Page, seen: dict[str, Any], act: str) -> dict[str, Any]:
    """Press a key or a button and return what the page shows next."""
    if act.startswith("#"):
        page.click(act)
    else:
        page.keyboard.press(act)
    found: dict[str, Any] = page.wait_for_function(NEXT, arg=seen["ticket"]).json_value()
    return found


def enter(browser: Browser, address: str, name: str) -> Page:
    page = browser.new_page(viewport={"width": 480, "height": 480})
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    return page


@pytest.fixture
def command() -> Callable[..., str]:
    """Return a function that runs the command line and gives what it wrote to standard output."""

    def run(*arguments: str | Path) -> str:
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def is_right(model: str | Path, rows: list[dict[str, Any]], folder: Path) -> list[bool]:
    """Return for each held-out pair whether a model puts the plain picture first."""
    samples = [
        Sample(prompt=row["prompt"], image=folder / row[path])
        for row in rows
        for path in ("path1", "path2")
    ]
    scores = [item.score for item in ScoringEngine(load_model(model)).run(samples)]
    values = [score.value for score in scores if score is not None]
    assert len(values) == len(samples)
    return [one > other for one, other in zip(values[::2], values[1::2], strict=True)]


def test_study_of_200_annotations_moves_the_held_out_accuracy(
    browser: Browser, serving: Serving, command: Callable[..., str], tmp_path: Path
) -> None:
    groups = write_scenes(tmp_path, "groups.jsonl", split="train", start=0, num=NUM_QUESTIONS)
    gold = write_scenes(tmp_path, "gold.jsonl", split="train", start=500, num=NUM_GOLD)
    store, data = tmp_path / "study.sqlite", tmp_path / "train.json"
    wanted = plain_pictures([groups, gold])
    with serving("--input", groups, "--gold", gold, "--store", store) as address:
        ana, ben = (enter(browser, address, name) for name in ("ana", "ben"))
        num = annotate(ana, wanted, most=120)
        num += annotate(ben, wanted, most=500)
        num += annotate(ana, wanted, most=500)
        ana.close()
        ben.close()
    assert num >= 200
    with Store(store) as study:
        standing = [answer for answer in study.answers() if not answer.is_superseded]
        assert len(standing) == num
        assert len(study.answers()) == num + 3  # the slips
        places = {answer.places for answer in standing}
    assert places == {(0, 1), (1, 0)}
    check_export(command, store, data)
    check_training(command, tmp_path, data)


def check_export(command: Callable[..., str], store: Path, data: Path) -> None:
    report = json.loads(command("annotate", "agreement", "--store", store, "--json"))
    assert [each["gold"] for each in report["annotators"]] == [1.0, 1.0]
    command("annotate", "export", "--store", store, "--format", "hpdv3", "--output", data)
    assert "ok" in command("data", "check", "hpdv3", data, "--open-images")
    rows = json.loads(data.read_text())
    assert len(rows) == NUM_QUESTIONS
    assert {row["model1"] for row in rows} == {"plain"}


def check_training(command: Callable[..., str], folder: Path, data: Path) -> None:
    held_out = write_held_out(folder)
    command("train", write_recipe(folder, data))
    before = is_right("hpsv3-mini", held_out, folder)
    after = is_right(folder / "run" / "model", held_out, folder)
    gained = sum(new > old for old, new in zip(before, after, strict=True))
    lost = sum(new < old for old, new in zip(before, after, strict=True))
    assert sum(after) / len(after) > sum(before) / len(before) + 0.2
    # McNemar's exact test, one-sided.
    num_changed = gained + lost
    chance = sum(comb(num_changed, k) for k in range(gained, num_changed + 1)) / 2**num_changed
    assert chance < 1e-4


def write_held_out(folder: Path) -> list[dict[str, Any]]:
    """Write pairs of scenes whose combinations no training scene has, the plain picture first."""
    path = write_scenes(folder, "held-out.jsonl", split="test", start=0, num=NUM_HELD_OUT)
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        group = json.loads(line)
        first, second = sorted(group["candidates"], key=lambda candidate: candidate["rank"])
        rows.append({"prompt": group["prompt"], "path1": first["image"], "path2": second["image"]})
    return rows


def write_recipe(folder: Path, data: Path) -> Path:
    """Write a short training of the shipped model's heads on the annotations."""
    recipe = {
        "output": str(folder / "run"),
        "model": {
            "kind": "hpsv3",
            "name": "hpsv3-plain",
            "init": "hpsv3-mini",
            "vlm": {"min_pixels": 9216, "max_pixels": 9216, "rating_prompts": None},
        },
        "freeze": {"vision": True, "language": True},
        "data": {"format": "hpdv3", "path": str(data), "validation": {"held_out": 0.1}},
        "objective": {"name": "pairwise"},
        "optim": {"steps": 60, "batch_size": 8, "learning_rate": 1e-3, "warmup_steps": 5},
        "precision": "float32",
        "device": "cpu",
        "validate_every": 60,
        "save_every": 60,
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return path
