"""From a configuration to a model: from nothing, and from other weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from visreward.core.errors import UsageError
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.models.clip.ict import ICT
from visreward.training.config import ModelConfig, TrainConfig
from visreward.training.modeling.build import build_model

MakeModel = Callable[..., CLIPRewardModel]
MakeRecipe = Callable[..., TrainConfig]
PROMPTS = ("a red square", "a blue square")


@pytest.fixture
def folder(tiny_model: MakeModel, tmp_path: Path) -> Path:
    """Return the native folder of a contrastive model with a licence of its own."""
    model = tiny_model("clipscore")
    model.describe(licence="CC-BY-NC-4.0")
    model.save(tmp_path / "clip")
    return tmp_path / "clip"


def same_weights(left: nn.Module, right: nn.Module) -> bool:
    one, other = left.state_dict(), right.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_build_from_nothing_repeats_for_a_seed_and_leaves_the_configuration_alone(
    recipe: MakeRecipe,
) -> None:
    config = recipe("ict").model
    before = copy.deepcopy(config.model_dump())
    first, again = (build_model(config, PROMPTS, seed=1) for _ in range(2))
    other = build_model(config, PROMPTS, seed=2)
    assert same_weights(first, again)
    assert not same_weights(first, other)
    assert config.model_dump() == before
    assert first.pixel_inputs.size == 16


def test_build_from_nothing_fits_the_text_tower_to_the_tokenizer(recipe: MakeRecipe) -> None:
    model = build_model(recipe("ict").model, PROMPTS, seed=1)
    assert isinstance(model, CLIPRewardModel)
    assert model.text_inputs is not None
    tokenizer = model.text_inputs.tokenizer
    text = model.backbone.clip.config.text_config
    assert text.vocab_size == len(tokenizer)
    assert text.eos_token_id == tokenizer.eos_token_id
    assert text.max_position_embeddings == model.text_inputs.context == 24


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": None}, "give model.backbone and model.image_size"),
        ({"image_size": None}, "give model.backbone and model.image_size"),
        ({"tokenizer": None}, "'ict' reads prompts. Give model.tokenizer"),
    ],
)
def test_build_from_nothing_without_a_part_says_which(
    recipe: MakeRecipe, changes: dict[str, Any], message: str
) -> None:
    config = recipe("ict").model.model_copy(update=changes)
    with pytest.raises(UsageError, match=message):
        build_model(config, PROMPTS, seed=1)


def test_build_ict_from_contrastive_weights_keeps_them_and_their_licence(folder: Path) -> None:
    config = ModelConfig(kind="ict", name="mine", init=str(folder), note="a note")
    model = build_model(config, PROMPTS, seed=1)
    assert isinstance(model, ICT)
    source = build_model(
        ModelConfig(kind="clipscore", name="same", init=str(folder)), PROMPTS, seed=2
    )
    assert same_weights(model.backbone, source.backbone)
    facts = model.facts
    assert (facts.name, facts.note, facts.licence) == ("mine", "a note", "CC-BY-NC-4.0")
    assert (facts.score_range, facts.revision) == ((-1.0, 1.0), "")
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_build_hp_from_contrastive_weights_takes_the_image_tower_and_a_fresh_head(
    folder: Path,
) -> None:
    config = ModelConfig(kind="hp", name="mine", init=str(folder))
    model = build_model(config, PROMPTS, seed=1)
    clip = build_model(
        ModelConfig(kind="clipscore", name="same", init=str(folder)), PROMPTS, seed=2
    )
    assert isinstance(model, HP)
    assert not model.backbone.has_text
    known = clip.backbone.state_dict()
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, known[name])
    first = model.head.layers[0]
    assert isinstance(first, nn.Linear)
    assert first.weight.std().item() == pytest.approx(1 / (8 + 1), rel=0.05)
    assert not first.bias.any()


def test_build_hp_from_hp_weights_keeps_the_head(tiny_model: MakeModel, tmp_path: Path) -> None:
    source = tiny_model("hp")
    source.save(tmp_path / "hp")
    config = ModelConfig(kind="hp", name="mine", init=str(tmp_path / "hp"))
    assert same_weights(build_model(config, PROMPTS, seed=1), source)


def test_build_ict_from_an_image_only_model_is_refused(
    tiny_model: MakeModel, tmp_path: Path
) -> None:
    tiny_model("hp").save(tmp_path / "hp")
    config = ModelConfig(kind="ict", name="mine", init=str(tmp_path / "hp"))
    with pytest.raises(UsageError, match="has no text tower, but 'ict' reads prompts"):
        build_model(config, PROMPTS, seed=1)
