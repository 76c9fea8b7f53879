"""Tiny data sets of coloured squares, and tiny models to train on them."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console

from visreward.data.scenes.write_edits import write_edits
from visreward.models.clip.family import CLIPRewardModel
from visreward.training.config import DataConfig, ModelConfig, TrainConfig
from visreward.training.data.batches import Batch
from visreward.training.data.feeds import Feed
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.reading import read_rows
from visreward.training.modeling.build import build_model
from visreward.training.recipe import parse_config
from visreward.training.run import train
from visreward.training.trainer import Trainer

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 40),
    "blue": (40, 60, 220),
    "yellow": (230, 220, 40),
    "purple": (150, 40, 180),
    "white": (240, 240, 240),
}
NAMES = tuple(COLOURS)
SIZE = 16
TRIPLETS = {"train": 24, "val": 8, "test": 4}
FAMILIES = {"train": 16, "val": 6}


def write_square(path: Path, colour: str, *, seed: int, flat: bool = False) -> None:
    """Write a square with a little noise, so that no two images are equal."""
    noise = np.random.default_rng(seed).integers(-20, 20, (SIZE, SIZE, 3))
    pixels = np.array(COLOURS[colour])[None, None] + (0 if flat else 1) * noise
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def write_pick_high(folder: Path, *, labelled: bool = True, rows: dict[str, int]) -> Path:
    """Write triplets in the published layout: pickled frames and two image folders."""
    for number, (split, count) in enumerate(rows.items()):
        table: dict[str, list[object]] = {}
        for row in range(count):
            right, wrong = NAMES[row % 6], NAMES[(row + 1 + row // 6) % 6]
            seed = 10_000 * number + 3 * row
            easy, refined = folder / "pick_easy_img" / split, folder / "pick_refine_img" / split
            write_square(easy / f"{row}_0.png", wrong, seed=seed)
            write_square(easy / f"{row}_1.png", right, seed=seed + 1)
            write_square(refined / f"{row}.png", right, seed=seed + 2, flat=True)
            cells: dict[str, object] = {
                "easy_prompt": f"a {right} square",
                "refine_prompt": f"a smooth and clean {right} square, number {row}",
                "easy_image_0": f"{row}_0.png",
                "easy_image_1": f"{row}_1.png",
                "refine_image": f"{row}.png",
            }
            if labelled:
                cells |= {"E1": 0.1, "E2": 0.8 + row / 1000, "R1": 0.05, "R2": 0.6}
            for name, value in cells.items():
                table.setdefault(name, []).append(value)
        (folder / "Pick-High").mkdir(exist_ok=True)
        pd.DataFrame(table).to_pickle(folder / "Pick-High" / f"{split}.pkl")
    return folder


def write_captions(folder: Path) -> Path:
    """Write families of four squares with their captions."""
    for number, (split, count) in enumerate(FAMILIES.items()):
        rows: list[dict[str, object]] = []
        for family in range(count):
            for member in range(4):
                colour = NAMES[(family + member) % 6]
                name = f"{split}/{family}_{member}.png"
                seed = 50_000 + 10_000 * number + 4 * family + member
                write_square(folder / "captions" / name, colour, seed=seed)
                rows.append({"family": family, "image": name, "caption": f"a {colour} square"})
        pd.DataFrame(rows).to_parquet(folder / "captions" / f"{split}.parquet")
    return folder


@pytest.fixture(scope="session")
def pick_high(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pick_high(tmp_path_factory.mktemp("pick-high"), rows=TRIPLETS)


@pytest.fixture(scope="session")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_captions(tmp_path_factory.mktemp("captions"))


@pytest.fixture
def own_pick_high(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a data set which a test may damage."""

    def write(*, labelled: bool = True, num_train: int = 12) -> Path:
        rows = {"train": num_train, "val": 4}
        return write_pick_high(tmp_path / "pick-high", labelled=labelled, rows=rows)

    return write


def model_values(kind: str, *, stem: bool = True) -> dict[str, Any]:
    values: dict[str, Any] = {
        "kind": kind,
        "name": f"tiny-{kind}",
        "image_size": SIZE,
        "note": "knows coloured squares only",
        "backbone": {
            "projection_dim": 8,
            "vision": {
                "hidden_size": 16,
                "intermediate_size": 24,
                "num_hidden_layers": 4,
                "num_attention_heads": 2,
                "patch_size": 8,
            },
        },
    }
    if stem:
        values["backbone"]["stem"] = [4, 6, 8]
    if kind != "hp":
        values["tokenizer"] = {"vocab_size": 560, "context": 24}
        values["backbone"]["text"] = {
            "hidden_size": 12,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        }
    return values


def build_tiny(kind: str, *, stem: bool = True, seed: int = 3) -> CLIPRewardModel:
    """Return a random model of a kind."""
    prompts = [f"a smooth and clean {name} square" for name in NAMES]
    config = ModelConfig.model_validate(model_values(kind, stem=stem))
    model = build_model(config, prompts, seed=seed)
    assert isinstance(model, CLIPRewardModel)
    return model


def build_feed(
    model: CLIPRewardModel, folder: Path, *, split: str = "train", **options: Any
) -> Feed:
    """Return a feed of a data set as a model sees it."""
    names = ("cache_pixels", "max_skip_fraction", "num_workers")
    is_captions = (folder / "captions").is_dir()
    config = DataConfig(
        format="captions" if is_captions else "pick-high",
        path=folder,
        **{name: options.pop(name) for name in names if name in options},
    )
    rows = read_rows(config, split, options.pop("limit", None))
    reader = pixel_reader(model)
    settings = {"batch_size": 6, "seed": 0, **options}
    return Feed(rows, reader, config=config, **settings)


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., CLIPRewardModel]:
    return build_tiny


@pytest.fixture(scope="session")
def make_feed() -> Callable[..., Feed]:
    return build_feed


OBJECTIVES: dict[str, dict[str, Any]] = {
    "clipscore": {"name": "contrastive"},
    "ict": {"name": "ict", "fidelity": "paper"},
    "hp": {"name": "hp", "fidelity": "paper"},
}


def build_recipe(kind: str, *, folder: Path, output: Path, **sections: Any) -> TrainConfig:
    """Return the recipe of a short run; sections are merged in."""
    values: dict[str, Any] = {
        "output": output,
        "model": model_values(kind),
        "data": {"format": "captions" if kind == "clipscore" else "pick-high", "path": folder},
        "objective": OBJECTIVES[kind],
        "optim": {"steps": 6, "batch_size": 6, "learning_rate": 1e-2},
        "precision": "float32",
        "device": "cpu",
        "validate_every": 3,
        "save_every": 2,
        "log_every": 1,
    }
    return parse_config(merged(values, sections))


def merged(values: dict[str, Any], sections: dict[str, Any]) -> dict[str, Any]:
    """Return the values with sections put in; of a section that is there, single keys."""
    found = dict(values)
    for name, section in sections.items():
        is_merged = isinstance(section, dict) and isinstance(values.get(name), dict)
        found[name] = {**values[name], **section} if is_merged else section
    return found


@pytest.fixture
def recipe(pick_high: Path, captions: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Return a function that makes the recipe of a run on tiny data in `tmp_path`."""

    def make(kind: str, *, run: str = "run", **sections: Any) -> TrainConfig:
        folder = captions if kind == "clipscore" else pick_high
        return build_recipe(kind, folder=folder, output=tmp_path / run, **sections)

    return make


@pytest.fixture(scope="session")
def edits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of 16 synthetic edits."""
    folder = tmp_path_factory.mktemp("edits")
    write_edits(folder / "edits", num=16, seed=3, size=64, shares=(0.6, 0.2, 0.2), num_workers=1)
    return folder / "edits"


@pytest.fixture
def edit_recipe(edits: Path, pick_high: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Return a function that makes the recipe of a vision-language run in `tmp_path`."""

    def make(*, run: str = "run", kind: str = "editreward", **sections: Any) -> TrainConfig:
        text = (Path(__file__).parent / "tiny_edits.yaml").read_text(encoding="utf-8")
        values: dict[str, Any] = {**yaml.safe_load(text), "output": tmp_path / run}
        values["data"]["path"] = edits
        if kind == "hpsv3":
            values["data"] = {"format": "pick-high", "path": pick_high}
            values["model"] |= {"kind": kind, "name": "tiny-hpsv3"}
            prompts = values["model"]["vlm"]["rating_prompts"]
            prompts["templates"] = {"overall": "{text_prompt}. Good?"}
        return parse_config(merged(values, sections))

    return make


@pytest.fixture(scope="session")
def recipe_values(edits: Path, captions: Path) -> Callable[[str], dict[str, Any]]:
    """Return a function that makes values of a recipe without dropout and batch statistics.

    `edits` is a vision-language model with pairs, `captions` a CLIP model.
    """

    def make(kind: str) -> dict[str, Any]:
        if kind == "edits":
            text = (Path(__file__).parent / "tiny_edits.yaml").read_text(encoding="utf-8")
            values: dict[str, Any] = yaml.safe_load(text)
            values["data"]["path"] = str(edits)
            return values
        config = build_recipe("clipscore", folder=captions, output=Path("run"))
        values = config.model_dump(mode="json")
        values["model"] = model_values("clipscore", stem=False)
        return values

    return make


@pytest.fixture(scope="session")
def train_server() -> Iterator[Any]:
    """Return what starts `visreward train` as processes; see train_server.py."""
    spec = importlib.util.spec_from_file_location(
        "train_server", Path(__file__).with_name("train_server.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    with module.TrainServer() as server:
        yield server


@pytest.fixture
def quiet() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture
def train_until(
    quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> Callable[[TrainConfig, int], None]:
    """Return a function that trains until a step is done, and stops then as Ctrl-C does."""

    def run(config: TrainConfig, step: int) -> None:
        take = Trainer._step

        def stopping(self: Trainer, batch: Batch) -> Any:
            if self.state.step == step:
                raise KeyboardInterrupt
            return take(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_step", stopping)
            with pytest.raises(KeyboardInterrupt):
                train(config, console=quiet)

    return run


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Keep sums in one order, whatever the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
