"""What the optimizer gets, and the learning rate in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from visreward.core.errors import UsageError
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.training.modeling.freezing import freeze
from visreward.training.optim import (
    count_parameters,
    make_optimizer,
    rate_factor,
    rate_groups,
    set_rate,
)
from visreward.training.options.freeze_config import FreezeConfig
from visreward.training.options.optim_config import OptimConfig

MakeModel = Callable[..., CLIPRewardModel]


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


def test_optimizer_parts_have_their_own_rates_behind_the_rest(tiny_model: MakeModel) -> None:
    model = tiny_model("hp")
    rates = {"vision": 0.2, "heads": 0.3}
    config = OptimConfig.model_validate(
        {"steps": 10, "batch_size": 1, "learning_rate": 0.1, "learning_rates": rates}
    )
    optimizer = make_optimizer(model, config)
    set_rate(optimizer, 5, config)
    found = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        base = 0.3 if name.startswith("head.") else 0.2
        assert found[id(parameter)] == pytest.approx(0.5 * base), name
    assert sum(each.numel() for each in model.parameters()) == sum(
        each.numel() for group in optimizer.param_groups for each in group["params"]
    )
    assert isinstance(model, HP)
    head = sum(each.numel() for each in model.head.parameters())
    assert list(rate_groups(optimizer))[-1] == f"heads {head / 1e6:.2f} M at 0.3"


def test_optimizer_one_rate_keeps_the_order_that_checkpoints_know(tiny_model: MakeModel) -> None:
    model = tiny_model("ict")
    config = OptimConfig(steps=1, batch_size=1, learning_rate=0.1)
    held = [id(p) for group in make_optimizer(model, config).param_groups for p in group["params"]]
    known = list(model.parameters())
    matrices = [id(p) for p in known if p.ndim >= 2]
    assert held == matrices + [id(p) for p in known if p.ndim < 2]


def test_optimizer_rate_of_what_is_not_trained_is_refused(tiny_model: MakeModel) -> None:
    config = OptimConfig.model_validate(
        {"steps": 1, "batch_size": 1, "learning_rate": 0.1, "learning_rates": {"merger": 0.2}}
    )
    with pytest.raises(UsageError, match=r"learning_rates.merger is 0.2, but nothing of that part"):
        make_optimizer(tiny_model("hp"), config)


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


@pytest.mark.parametrize(("ratio", "num_steps"), [(0.1, 11), (0.05, 6), (0.0, 0)])
def test_schedule_warm_up_ratio_is_rounded_up(ratio: float, num_steps: int) -> None:
    values = {"steps": 110, "batch_size": 1, "learning_rate": 1, "schedule": "constant"}
    by_ratio, by_steps = (
        OptimConfig.model_validate({**values, **given})
        for given in ({"warmup_ratio": ratio}, {"warmup_steps": num_steps})
    )
    steps = range(20)
    assert [rate_factor(s, by_ratio) for s in steps] == [rate_factor(s, by_steps) for s in steps]


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
