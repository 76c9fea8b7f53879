"""What is computed once equals what every step would compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from visreward.core.errors import NonFiniteError
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.training.data.feeds import Feed
from visreward.training.data.frozen import (
    HIDDEN,
    ICT_SCORES,
    features_from_hidden,
    frozen_ict_scores,
    frozen_states,
    hidden_states,
    states_gb,
    unreadable_rows,
)
from visreward.training.modeling.freezing import freeze
from visreward.training.objectives.hp import HPObjective
from visreward.training.options.freeze_config import FreezeConfig
from visreward.training.options.objective_config import HPConfig

MakeModel = Callable[..., CLIPRewardModel]
MakeFeed = Callable[..., Feed]
MakeData = Callable[..., Path]
LAYERS = 2


@pytest.fixture
def ict(tiny_model: MakeModel) -> CLIPRewardModel:
    model = tiny_model("ict", seed=5).eval()
    model.describe(revision="one")
    return model


@pytest.fixture
def hp(tiny_model: MakeModel) -> HP:
    model = tiny_model("hp")
    assert isinstance(model, HP)
    freeze(model, FreezeConfig(vision_rate=0.5, vision_embeddings=True))
    return model


def test_frozen_ict_scores_equal_computing_them_at_the_step(
    ict: CLIPRewardModel, hp: HP, pick_high: Path, make_feed: MakeFeed, tmp_path: Path
) -> None:
    feed = make_feed(hp, pick_high)
    feed.extra[ICT_SCORES] = frozen_ict_scores(ict, make_feed(ict, pick_high), folder=tmp_path)
    batch = feed[2]
    cached = HPObjective(hp, HPConfig(name="hp")).scores_of_ict(batch)
    computed = HPObjective(hp, HPConfig(name="hp"), ict=ict).scores_of_ict(replace(batch, extra={}))
    assert cached is not None
    assert computed is not None
    assert cached.shape == (6, 3)
    torch.testing.assert_close(cached, computed, rtol=0, atol=1e-6)


def test_frozen_ict_scores_are_kept_by_model_and_rows(
    ict: CLIPRewardModel, pick_high: Path, make_feed: MakeFeed, tmp_path: Path
) -> None:
    feed = make_feed(ict, pick_high)
    progress: list[tuple[int, int]] = []

    def scores(model: CLIPRewardModel, of: Feed) -> Tensor:
        return frozen_ict_scores(
            model, of, folder=tmp_path, progress=lambda done, all_: progress.append((done, all_))
        )

    first = scores(ict, feed)
    assert progress == [(24, 24)]
    assert torch.equal(scores(ict, feed), first)
    assert progress == [(24, 24)]
    ict.describe(revision="two")
    scores(ict, feed)
    assert len(progress) == 2
    assert scores(ict, make_feed(ict, pick_high, limit=10)).shape == (10, 3)
    assert len(progress) == 3
    with torch.autocast("cpu", torch.bfloat16):
        rounded = scores(ict, feed)
    assert len(progress) == 4
    assert not torch.equal(rounded, first)


@pytest.mark.parametrize("cache_pixels", [True, False])
def test_frozen_parts_of_unreadable_rows_are_missing_not_made_up(
    ict: CLIPRewardModel,
    hp: HP,
    own_pick_high: MakeData,
    make_feed: MakeFeed,
    tmp_path: Path,
    cache_pixels: bool,
) -> None:
    folder = own_pick_high()
    (folder / "pick_easy_img" / "train" / "4_0.png").write_bytes(b"no image")
    for _ in range(2):
        feed = make_feed(ict, folder, cache_pixels=cache_pixels, max_skip_fraction=0.1)
        scores = frozen_ict_scores(ict, feed, folder=tmp_path)
        assert list(unreadable_rows(scores)) == [4]
        feed = make_feed(hp, folder, cache_pixels=cache_pixels, max_skip_fraction=0.1)
        states = frozen_states(hp, feed, num_layers=LAYERS, folder=tmp_path)
        assert list(unreadable_rows(states)) == [4]


def test_frozen_states_equal_the_full_forward_within_half_precision(
    hp: HP, pick_high: Path, make_feed: MakeFeed, tmp_path: Path
) -> None:
    feed = make_feed(hp, pick_high)
    states = frozen_states(hp, feed, num_layers=LAYERS, folder=tmp_path)
    assert states.states.shape == (24, 3, 5, 16)
    assert states.states.dtype == np.float16
    objective = HPObjective(hp, HPConfig(name="hp"), frozen_layers=LAYERS).eval()
    batch = feed[1]
    cached = replace(batch, pixels=None, extra={HIDDEN: states[batch.row_ids.tolist()]})
    torch.testing.assert_close(
        objective.hp_logits(cached), objective.hp_logits(batch), rtol=0, atol=1e-3
    )
    assert states_gb(hp, feed) == pytest.approx(24 * 3 * 5 * 16 * 2 / 1e9)


def gradients(hp: HP, logits: Tensor) -> dict[str, Tensor]:
    hp.zero_grad()
    torch.autograd.backward(logits.square().sum())
    return {
        name: parameter.grad.clone()
        for name, parameter in hp.named_parameters()
        if parameter.grad is not None
    }


def test_hidden_states_in_full_precision_give_the_same_gradients(
    hp: HP, pick_high: Path, make_feed: MakeFeed
) -> None:
    hp.eval()
    images = make_feed(hp, pick_high)[0].stacked().flatten(0, 1)
    whole = gradients(hp, hp.logits(images))
    with torch.no_grad():
        hidden = hidden_states(hp.backbone, hp.pixel_inputs.normalise(images), num_layers=LAYERS)
    features = features_from_hidden(hp.backbone, hidden, num_layers=LAYERS)
    parts = gradients(hp, hp.head(features))
    assert parts.keys() == whole.keys()
    assert "backbone.clip.vision_model.encoder.layers.2.mlp.fc1.weight" in whole
    assert not any(".layers.1." in name and "vision_model" in name for name in whole)
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6)


def test_frozen_states_of_a_model_in_training_mode_use_its_kept_statistics(
    hp: HP, pick_high: Path, make_feed: MakeFeed, tmp_path: Path
) -> None:
    feed = make_feed(hp, pick_high)
    hp.train()
    trained = frozen_states(hp, feed, num_layers=LAYERS, folder=tmp_path / "one")
    assert hp.training
    hp.eval()
    evaluated = frozen_states(hp, feed, num_layers=LAYERS, folder=tmp_path / "two")
    assert (trained.states == evaluated.states).all()


def test_frozen_states_are_computed_again_for_other_weights_below(
    hp: HP, pick_high: Path, make_feed: MakeFeed, tmp_path: Path
) -> None:
    feed = make_feed(hp, pick_high)
    tower = hp.backbone.clip.vision_model
    frozen_states(hp, feed, num_layers=LAYERS, folder=tmp_path)
    with torch.no_grad():
        tower.encoder.layers[LAYERS].mlp.fc1.bias.add_(1)
    frozen_states(hp, feed, num_layers=LAYERS, folder=tmp_path)
    assert len(list(tmp_path.glob("hidden-*.npy"))) == 1
    with torch.no_grad():
        tower.pre_layrnorm.bias.add_(1)
    frozen_states(hp, feed, num_layers=LAYERS, folder=tmp_path)
    assert len(list(tmp_path.glob("hidden-*.npy"))) == 2


def test_frozen_states_beyond_half_precision_are_refused_by_row(
    hp: HP, pick_high: Path, make_feed: MakeFeed, tmp_path: Path
) -> None:
    with torch.no_grad():
        hp.backbone.clip.vision_model.pre_layrnorm.bias.fill_(1e6)
    with pytest.raises(NonFiniteError, match=r"rows \[0, 1, .*cache_frozen=false"):
        frozen_states(hp, make_feed(hp, pick_high), num_layers=LAYERS, folder=tmp_path)
    assert not list(tmp_path.glob("hidden-*[0-9a-f].npy"))
