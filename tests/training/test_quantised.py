"""Base weights of 8 and 4 bits, with bitsandbytes, which rounds on a CPU too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from rich.console import Console

from visreward.core.errors import UsageError
from visreward.models.loading import load_model
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.data.feeds import Feed
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.reading import read_rows
from visreward.training.modeling.native_weights import native_weights
from visreward.training.modeling.quantised import BYTES
from visreward.training.modeling.trained_model import trained_model
from visreward.training.objectives.pairwise import PairwiseObjective
from visreward.training.options.objective_config import PairwiseConfig
from visreward.training.run import train

MakeRecipe = Callable[..., TrainConfig]
TrainUntil = Callable[[TrainConfig, int], None]
OBJECTIVE = PairwiseConfig(name="pairwise")
KINDS = sorted(BYTES)


@pytest.fixture
def _bitsandbytes() -> None:
    pytest.importorskip("peft")
    pytest.importorskip("bitsandbytes")


def rounded(config: TrainConfig) -> VLMReward:
    """Return a random model on its device, with adapters that do something."""
    model = trained_model(config, ["make the red ball blue"]).to("cpu")
    assert isinstance(model, VLMReward)
    generator = torch.Generator().manual_seed(4)
    for name, weight in model.named_parameters():
        if ".lora_" in name:
            weight.data = torch.randn(weight.shape, generator=generator) / 4
    return model


def loss_of(model: VLMReward, config: TrainConfig) -> torch.Tensor:
    rows = read_rows(config.data, "train", None)
    batch = Feed(rows, pixel_reader(model), config=config.data, batch_size=2, seed=1)[0]
    loss: torch.Tensor = PairwiseObjective(model, OBJECTIVE).train(model.training)(batch).loss
    return loss


@pytest.mark.usefixtures("_bitsandbytes")
@pytest.mark.parametrize("kind", KINDS)
def test_base_weights_of_few_bits_are_rounded_and_near(edit_recipe: MakeRecipe, kind: str) -> None:
    config = edit_recipe(lora={"base_weights": kind, "dropout": 0.0})
    model = rounded(config)
    exact = rounded(edit_recipe(lora={"dropout": 0.0}))
    base = model.backbone.model.language_model.layers[0].self_attn.q_proj.base_layer
    whole = exact.backbone.model.language_model.layers[0].self_attn.q_proj.base_layer
    assert base.weight.element_size() == 1
    assert base.weight.numel() == whole.weight.numel() // (2 if kind == "4-bit" else 1)
    torch.testing.assert_close(
        loss_of(model.eval(), config), loss_of(exact.eval(), config), rtol=0.1, atol=0.0
    )


@pytest.mark.usefixtures("_bitsandbytes")
@pytest.mark.parametrize("kind", KINDS)
def test_merged_weights_of_few_bits_give_the_model_with_adapters(
    edit_recipe: MakeRecipe, kind: str
) -> None:
    config = edit_recipe(lora={"base_weights": kind, "dropout": 0.0})
    model = rounded(config).eval()
    plain = trained_model(edit_recipe(), ["make the red ball blue"])
    assert isinstance(plain, VLMReward)
    plain.load_state_dict(native_weights(model, model.state_dict()), strict=True)
    torch.testing.assert_close(
        loss_of(plain.eval(), config), loss_of(model, config), rtol=0.02, atol=0.0
    )


@pytest.mark.usefixtures("_bitsandbytes")
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_over_weights_of_few_bits_are_the_same_after_a_validation(
    edit_recipe: MakeRecipe, kind: str
) -> None:
    config = edit_recipe(lora={"base_weights": kind, "dropout": 0.0, "vision": True})
    model = rounded(config)
    model.heads.eval()
    found: list[list[torch.Tensor]] = []
    for _ in range(2):
        model.backbone.train()
        model.zero_grad()
        loss_of(model, config).backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        model.backbone.eval()
        with torch.no_grad():
            loss_of(model, config)
    assert len(found[0]) == sum(p.requires_grad for p in model.parameters())
    for first, second in zip(*found, strict=True):
        assert first.any()
        torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.usefixtures("_bitsandbytes")
@pytest.mark.parametrize("kind", KINDS)
def test_run_over_weights_of_few_bits_resumed_gives_the_same_native_model(
    edit_recipe: MakeRecipe, quiet: Console, train_until: TrainUntil, kind: str
) -> None:
    sections: dict[str, Any] = {
        "lora": {"rank": 2, "base_weights": kind, "vision": True},
        "optim": {"learning_rate": 1e-2},
        "validate_every": 2,
        "save_every": 2,
    }
    whole, parts = edit_recipe(run="whole", **sections), edit_recipe(run="parts", **sections)
    train(whole, console=quiet)
    train_until(parts, 4)
    train(parts, console=quiet)
    first, second = (
        (each.output / "model" / "model.safetensors").read_bytes() for each in (whole, parts)
    )
    assert first == second
    assert all(
        weight.dtype == torch.float32
        for weight in load_model(str(whole.output / "model")).parameters()
    )


@pytest.mark.usefixtures("_bitsandbytes")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", ["fsdp2", "deepspeed"])
def test_base_weights_of_few_bits_are_not_shared_out(
    edit_recipe: MakeRecipe, quiet: Console, kind: str, strategy: str
) -> None:
    config = edit_recipe(lora={"base_weights": kind}, parallel={"strategy": strategy})
    with pytest.raises(UsageError, match=f"is {kind}, but parallel.strategy is {strategy}.*=ddp"):
        train(config, console=quiet)
