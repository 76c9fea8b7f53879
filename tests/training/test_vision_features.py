"""Features of a frozen vision tower, kept on disk: the same loss, and no stale ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.data.feeds import Feed
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.preparation import Preparation
from visreward.training.data.reading import read_rows
from visreward.training.data.vision_features import features_gb, frozen_features
from visreward.training.modeling.build import build_model
from visreward.training.modeling.freezing import freeze
from visreward.training.objectives.pairwise import PairwiseObjective
from visreward.training.options.freeze_config import FreezeConfig
from visreward.training.options.objective_config import PairwiseConfig
from visreward.training.run import train

MakeRecipe = Callable[..., TrainConfig]


@pytest.fixture
def config(edit_recipe: MakeRecipe) -> TrainConfig:
    return edit_recipe(freeze={"vision": True}, data={"num_train": 5})


@pytest.fixture
def model(config: TrainConfig) -> VLMReward:
    rows = read_rows(config.data, "train", None)
    found = build_model(config.model, (row.prompts[0] for row in rows), seed=0)
    assert isinstance(found, VLMReward)
    freeze(found, config.freeze)
    return found


@pytest.fixture
def feed(config: TrainConfig, model: VLMReward) -> Feed:
    rows = read_rows(config.data, "train", 5)
    return Feed(rows, pixel_reader(model), config=config.data, batch_size=3, seed=1)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how many images go through the vision tower, pass by pass."""
    counts: list[int] = []
    encode = VLMReward.image_features

    def counting(self: VLMReward, images: list[Tensor]) -> object:
        counts.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(VLMReward, "image_features", counting)
    return counts


def test_frozen_features_give_the_loss_and_the_gradients_of_pixels(
    model: VLMReward, feed: Feed, tmp_path: Path, encoded: list[int]
) -> None:
    objective = PairwiseObjective(model, PairwiseConfig(name="pairwise", other_prompt_weight=0.5))
    objective(feed[0]).loss.backward()
    expected = {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}
    loss = objective(feed[0]).loss.item()
    model.zero_grad()
    feed.features = frozen_features(model, feed, folder=tmp_path)
    encoded.clear()
    output = objective(feed[0])
    output.loss.backward()
    assert not encoded
    assert output.loss.item() == pytest.approx(loss, abs=1e-5)
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(weight.grad, expected[name], rtol=1e-4, atol=1e-6)


def test_frozen_features_are_made_once_for_the_same_tower_and_files(
    model: VLMReward, feed: Feed, tmp_path: Path, encoded: list[int]
) -> None:
    steps: list[tuple[int, int]] = []
    for _ in range(2):
        found = frozen_features(
            model, feed, folder=tmp_path, progress=lambda done, rows: steps.append((done, rows))
        )
    assert sum(encoded) == len(feed.files())
    assert steps == [(5, 5)]
    with torch.no_grad():
        alone = model.image_features([feed.row_pixels(2)[1]])[0]
        torch.testing.assert_close(found[feed.places(2)[1]].tokens, alone.tokens)
        assert len(found[feed.places(2)[1]].deep) == len(alone.deep)
        next(iter(model.backbone.vision_weights())).add_(0.1)
    encoded.clear()
    other = frozen_features(model, feed, folder=tmp_path)
    assert sum(encoded) == len(feed.files())
    assert not other[3].tokens.equal(found[3].tokens)


def test_frozen_features_keep_the_precision_of_the_run(
    model: VLMReward, feed: Feed, tmp_path: Path
) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = frozen_features(model, feed.in_order(1), folder=tmp_path)[0]
    assert found.tokens.dtype == torch.bfloat16
    assert frozen_features(model, feed, folder=tmp_path)[0].tokens.dtype == torch.float32
    files = sorted(tmp_path.glob("features-*/features.bin"))
    assert [round(each.stat().st_size / 1e9, 9) for each in files].count(
        round(features_gb(model, feed), 9)
    ) == 1


def test_training_with_a_frozen_tower_encodes_each_image_once(
    edit_recipe: MakeRecipe, edits: Path, tmp_path: Path, quiet: Console, encoded: list[int]
) -> None:
    # A folder of its own: beside the other tests' data may lie features of the same tower.
    own = shutil.copytree(edits, tmp_path / "edits", ignore=shutil.ignore_patterns(".cache"))
    config = edit_recipe(freeze={"vision": True}, data={"path": own})
    rows = [row for split in ("train", "val") for row in read_rows(config.data, split, None)]
    train(config, console=quiet)
    assert sum(encoded) == sum(len(row.files) for row in rows)


def test_training_of_the_tower_keeps_no_features(
    edit_recipe: MakeRecipe, quiet: Console, encoded: list[int]
) -> None:
    config = edit_recipe()
    rows = [row for split in ("train", "val") for row in read_rows(config.data, split, None)]
    kept = set((config.data.path / ".cache").glob("features-*"))
    train(config, console=quiet)
    assert sum(encoded) > sum(len(row.files) for row in rows)
    assert set((config.data.path / ".cache").glob("features-*")) == kept


def test_features_larger_than_allowed_are_computed_at_every_step(
    config: TrainConfig, model: VLMReward, feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    preparation = Preparation(
        config=config, accelerator=Accelerator(cpu=True), console=Console(width=200)
    )
    preparation.add_vision_features(
        [feed], model, PairwiseConfig(name="pairwise", max_cache_gb=1e-9)
    )
    assert feed.features is None
    assert "The features of the vision tower would take" in capsys.readouterr().out


def test_features_need_a_tower_that_is_frozen_whole(
    config: TrainConfig, model: VLMReward, feed: Feed
) -> None:
    freeze(model, FreezeConfig())
    model.backbone.model.visual.requires_grad_(requires_grad=False)
    model.backbone.model.visual.merger.requires_grad_(requires_grad=True)
    preparation = Preparation(config=config, accelerator=Accelerator(cpu=True), console=Console())
    preparation.add_vision_features([feed], model, PairwiseConfig(name="pairwise"))
    assert feed.features is None


def test_index_of_features_is_json(model: VLMReward, feed: Feed, tmp_path: Path) -> None:
    frozen_features(model, feed, folder=tmp_path)
    index = json.loads(next(tmp_path.glob("features-*/index.json")).read_text())
    assert index["num_sets"] == model.backbone.num_feature_sets
    assert sum(index["num_tokens"]) > 0
