"""What is frozen, what the optimizer gets, and the learning rate in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.training.config import FreezeConfig, OptimConfig
from visreward.training.optim import (
    count_parameters,
    freeze,
    frozen_layers,
    make_optimizer,
    rate_factor,
    set_rate,
)

MakeModel = Callable[..., CLIPRewardModel]


def is_trained(module: nn.Module) -> bool:
    flags = {parameter.requires_grad for parameter in module.parameters()}
    assert len(flags) == 1
    return flags.pop()


@pytest.mark.parametrize(
    ("rate", "num_layers", "expected"),
    [(0.0, 32, 0), (0.5, 32, 16), (0.5, 5, 2), (0.99, 4, 3), (1.0, 4, 4)],
)
def test_frozen_layers_rate_rounds_down(rate: float, num_layers: int, expected: int) -> None:
    assert frozen_layers(rate, num_layers) == expected


def test_freeze_vision_rate_takes_the_lower_layers_and_leaves_embeddings(
    tiny_model: MakeModel,
) -> None:
    model = tiny_model("hp")
    freeze(model, FreezeConfig(vision_rate=0.5))
    tower = model.backbone.clip.vision_model
    assert [is_trained(layer) for layer in tower.encoder.layers] == [False, False, True, True]
    assert is_trained(tower.embeddings)
    assert is_trained(tower.pre_layrnorm)
    assert is_trained(tower.post_layernorm)
    assert is_trained(model.backbone.clip.visual_projection)


def test_freeze_vision_embeddings_and_projections_are_separate_switches(
    tiny_model: MakeModel,
) -> None:
    model = tiny_model("hp")
    freeze(model, FreezeConfig(vision_embeddings=True, projections=True))
    tower = model.backbone.clip.vision_model
    assert not is_trained(tower.embeddings)
    assert not is_trained(tower.pre_layrnorm)
    assert not is_trained(model.backbone.clip.visual_projection)
    assert is_trained(tower.encoder)


def test_freeze_text_rate_takes_lower_text_layers_and_text_takes_all(
    tiny_model: MakeModel,
) -> None:
    by_rate = tiny_model("ict")
    freeze(by_rate, FreezeConfig(text_rate=0.5))
    layers = by_rate.backbone.clip.text_model.encoder.layers
    assert [is_trained(layer) for layer in layers] == [False, True]
    whole = tiny_model("ict")
    freeze(whole, FreezeConfig(text=True))
    assert not is_trained(whole.backbone.clip.text_model)
    assert is_trained(whole.backbone.clip.text_projection)


@pytest.mark.parametrize(("kind", "expected"), [("clipscore", True), ("ict", False)])
def test_freeze_logit_scale_is_trained_by_the_contrastive_loss_only(
    tiny_model: MakeModel, kind: str, expected: bool
) -> None:
    model = tiny_model(kind)
    freeze(model, FreezeConfig())
    assert model.backbone.clip.logit_scale.requires_grad is expected


def test_optimizer_holds_each_trained_parameter_once_and_decays_matrices_only(
    tiny_model: MakeModel,
) -> None:
    model = tiny_model("hp")
    freeze(model, FreezeConfig(vision_rate=0.5))
    config = OptimConfig(steps=1, batch_size=1, learning_rate=0.1, weight_decay=0.25)
    groups = make_optimizer(model, config).param_groups
    held = [id(parameter) for group in groups for parameter in group["params"]]
    trained = [id(parameter) for parameter in model.parameters() if parameter.requires_grad]
    assert sorted(held) == sorted(trained)
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for parameter in model.parameters():
        if parameter.requires_grad:
            assert decays[id(parameter)] == (0.25 if parameter.ndim >= 2 else 0.0)


def test_count_parameters_splits_trained_and_frozen(tiny_model: MakeModel) -> None:
    model = tiny_model("hp")
    assert isinstance(model, HP)
    total = sum(parameter.numel() for parameter in model.parameters())
    assert count_parameters(model) == (total, 0)
    model.head.requires_grad_(requires_grad=False)
    in_head = sum(parameter.numel() for parameter in model.head.parameters())
    assert count_parameters(model) == (total - in_head, in_head)


def schedule(name: str, step: int) -> float:
    config = OptimConfig.model_validate(
        {
            "steps": 110,
            "batch_size": 1,
            "learning_rate": 1,
            "warmup_steps": 10,
            "schedule": name,
        }
    )
    return rate_factor(step, config)


@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_schedule_warm_up_rises_linearly_to_the_full_rate(name: str) -> None:
    assert [schedule(name, step) for step in (0, 4, 9, 10)] == [0.1, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("done", [0.0, 0.25, 0.5, 0.99])
def test_schedule_after_warm_up_has_its_closed_form(done: float) -> None:
    step = 10 + round(100 * done)
    assert schedule("constant", step) == 1.0
    assert schedule("linear", step) == pytest.approx(1 - done)
    assert schedule("cosine", step) == pytest.approx(0.5 + 0.5 * math.cos(math.pi * done))


def test_schedule_ends_at_zero_and_stays_there() -> None:
    assert schedule("linear", 110) == schedule("linear", 500) == 0.0
    assert schedule("cosine", 110) == pytest.approx(0.0)
    assert schedule("cosine", 500) == pytest.approx(0.0)


def test_set_rate_reaches_every_group_and_is_returned() -> None:
    module = nn.Linear(2, 2)
    config = OptimConfig(steps=10, batch_size=1, learning_rate=0.5)
    optimizer = make_optimizer(module, config)
    assert len(optimizer.param_groups) == 2
    assert set_rate(optimizer, 4, config) == pytest.approx(0.5 * 0.6)
    assert {group["lr"] for group in optimizer.param_groups} == {0.5 * rate_factor(4, config)}


def test_set_rate_of_zero_moves_nothing() -> None:
    module = nn.Linear(2, 2)
    before = module.weight.detach().clone()
    config = OptimConfig(steps=10, batch_size=1, learning_rate=0.5)
    optimizer = make_optimizer(module, config)
    torch.autograd.backward(module(torch.ones(1, 2)).sum())
    set_rate(optimizer, 10, config)
    optimizer.step()
    assert torch.equal(module.weight, before)
    set_rate(optimizer, 0, config)
    optimizer.step()
    assert not torch.equal(module.weight, before)
