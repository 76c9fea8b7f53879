"""Adapters: where they are, what they train, and the model without them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import nn

from visreward.core import extras
from visreward.core.errors import MissingExtraError, UsageError, WeightsError
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.loading import load_model
from visreward.models.vlm.reward import VLMReward
from visreward.training.checkpoints.checkpoint import find_checkpoints
from visreward.training.config import TrainConfig
from visreward.training.data.feeds import Feed
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.reading import read_rows
from visreward.training.modeling.build import build_model
from visreward.training.modeling.freezing import freeze
from visreward.training.modeling.gradient_checkpointing import set_checkpointing
from visreward.training.modeling.lora import add_adapters, kept_names
from visreward.training.modeling.native_weights import native_weights
from visreward.training.modeling.quantised import quantise
from visreward.training.objectives.pairwise import PairwiseObjective
from visreward.training.options.freeze_config import FreezeConfig
from visreward.training.options.lora_config import LoRAConfig
from visreward.training.options.objective_config import PairwiseConfig
from visreward.training.run import train

pytest.importorskip("peft")

MakeRecipe = Callable[..., TrainConfig]
TrainUntil = Callable[[TrainConfig, int], None]
OBJECTIVE = PairwiseConfig(name="pairwise")


def adapted(config: TrainConfig, lora: LoRAConfig, **frozen: Any) -> VLMReward:
    """Return a random model with adapters."""
    model = build_model(config.model, ["make the red ball blue"], seed=0)
    assert isinstance(model, VLMReward)
    settings = FreezeConfig.model_validate(frozen)
    freeze(model, settings)
    add_adapters(model, lora, freeze=settings)
    return model


def drawn(model: nn.Module) -> None:
    """Give the adapters weights that do something; they begin with zeros."""
    generator = torch.Generator().manual_seed(4)
    for name, weight in model.named_parameters():
        if ".lora_" in name:
            weight.data = torch.randn(weight.shape, generator=generator, dtype=weight.dtype) / 4


def batch_of(config: TrainConfig, model: VLMReward) -> Any:
    rows = read_rows(config.data, "train", None)
    return Feed(rows, pixel_reader(model), config=config.data, batch_size=2, seed=1)[0]


def adapted_maps(model: VLMReward) -> set[str]:
    names = (name for name, _ in model.named_parameters() if ".lora_A." in name)
    return {name.removeprefix("backbone.model.").split(".lora_A.")[0] for name in names}


LANGUAGE = {
    f"language_model.layers.{layer}.{part}"
    for layer in (0, 1)
    for part in (
        *(f"self_attn.{name}_proj" for name in "qkvo"),
        *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
    )
}
VISION = {
    *(
        f"visual.blocks.{layer}.{part}"
        for layer in (0, 1)
        for part in ("attn.qkv", "attn.proj", "mlp.linear_fc1", "mlp.linear_fc2")
    ),
    *(
        f"visual.{merger}.linear_fc{number}"
        for merger in ("merger", "deepstack_merger_list.0")
        for number in (1, 2)
    ),
}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, LANGUAGE),
        ({"vision": True}, LANGUAGE | VISION),
        ({"language": False, "vision": True}, VISION),
        (
            {"modules": ["q_proj", "qkv"], "vision": True},
            {name for name in LANGUAGE | VISION if name.endswith((".q_proj", ".qkv"))},
        ),
        ({"exclude": ["mlp", "layers.0"]}, {n for n in LANGUAGE if "layers.1.self_attn" in n}),
        ({"last": 2}, {f"language_model.layers.1.mlp.{name}_proj" for name in ("up", "down")}),
    ],
)
def test_adapters_go_where_the_settings_say(
    edit_recipe: MakeRecipe, settings: dict[str, Any], expected: set[str]
) -> None:
    model = adapted(edit_recipe(), LoRAConfig.model_validate(settings))
    assert adapted_maps(model) == expected


@pytest.mark.parametrize(
    ("lora", "frozen", "beside"),
    [
        ({"vision": True}, {}, ()),
        ({}, {"vision": True}, ()),
        ({}, {"vision": True, "merger": False}, (".merger.", ".deepstack_merger_list.")),
        ({}, {}, (".visual.",)),
        ({}, {"vision": True, "embeddings": "reward-token"}, ("embed_tokens.row",)),
        (
            {"vision": True, "exclude": ["merger"]},
            {"merger": False},
            (".merger.", ".deepstack_merger_list."),
        ),
    ],
)
def test_adapters_heads_and_what_is_named_are_trained(
    edit_recipe: MakeRecipe,
    lora: dict[str, Any],
    frozen: dict[str, Any],
    beside: tuple[str, ...],
) -> None:
    model = adapted(edit_recipe(), LoRAConfig.model_validate(lora), **frozen)
    wanted = ("heads.", ".lora_", *beside)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == any(part in name for part in wanted), name


@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_merged_weights_give_the_model_with_adapters(
    edit_recipe: MakeRecipe, rank_stabilised: bool
) -> None:
    config = edit_recipe()
    lora = LoRAConfig(rank=3, alpha=5, vision=True, rank_stabilised=rank_stabilised)
    model = adapted(config, lora, embeddings="reward-token")
    drawn(model)
    plain = build_model(config.model, ["make the red ball blue"], seed=1)
    assert isinstance(plain, VLMReward)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain.load_state_dict(native_weights(model, model.state_dict()), strict=True)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    base = before["backbone.model.language_model.layers.0.self_attn.q_proj.base_layer.weight"]
    merged = plain.backbone.model.language_model.layers[0].self_attn.q_proj.weight
    assert (base - merged).abs().max() > 0.1
    batch = batch_of(config, model)
    for each in (model, plain):
        each.backbone.double().eval()
    losses = [PairwiseObjective(each, OBJECTIVE).eval()(batch).loss for each in (model, plain)]
    torch.testing.assert_close(*losses, rtol=1e-6, atol=1e-7)  # heads compute in float32


def test_adapters_with_dropout_have_the_same_gradients_when_checkpointed(
    edit_recipe: MakeRecipe,
) -> None:
    config = edit_recipe()
    model = adapted(config, LoRAConfig(vision=True, dropout=0.5))
    drawn(model)
    model.backbone.double()
    batch = batch_of(config, model)
    found = []
    for kind in ("none", "selective", "full"):
        objective = PairwiseObjective(model, OBJECTIVE)
        set_checkpointing(objective, kind)
        objective.train()
        objective.zero_grad()
        torch.manual_seed(2)
        torch.autograd.backward(objective(batch).loss)
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    plain, *others = found
    assert len(plain) == sum(p.requires_grad for p in model.parameters())
    for each in others:
        for value, expected in zip(each, plain, strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def test_train_with_adapters_stopped_and_resumed_gives_the_same_native_model(
    edit_recipe: MakeRecipe, quiet: Console, train_until: TrainUntil
) -> None:
    sections = {
        "lora": {"rank": 2, "dropout": 0.2, "vision": True},
        "freeze": {"embeddings": "reward-token"},
        "optim": {"learning_rate": 1e-2, "learning_rates": {"heads": 1e-3, "vision": 5e-3}},
    }
    whole = edit_recipe(run="whole", **sections)
    train(whole, console=quiet)
    parts = edit_recipe(run="parts", **sections)
    train_until(parts, 4)
    file = find_checkpoints(parts.output)[0] / "model.safetensors"
    held = {name for name in load_file(file) if ".lora_" not in name and ".heads." not in name}
    assert held == {"model.backbone.model.language_model.embed_tokens.row"}
    train(parts, console=quiet)
    first, second = (
        (each.output / "model" / "model.safetensors").read_bytes() for each in (whole, parts)
    )
    assert first == second
    model = load_model(str(whole.output / "model"))
    assert not any(".lora_" in name for name in model.state_dict())


def test_resume_with_adapters_of_another_shape_is_refused(
    edit_recipe: MakeRecipe, quiet: Console
) -> None:
    config = edit_recipe(lora={"rank": 2})
    train(config, console=quiet)
    (config.output / "recipe.yaml").unlink()
    with pytest.raises(WeightsError, match="does not fit the recipe's model: other weights, such"):
        train(edit_recipe(lora={"rank": 2, "last": 3}), console=quiet)


def test_checkpoint_of_a_model_without_adapters_holds_all_of_it(
    edit_recipe: MakeRecipe,
) -> None:
    model = build_model(edit_recipe().model, ["a"], seed=0)
    model.backbone.requires_grad_(requires_grad=False)
    assert kept_names(model) == set(model.state_dict())


def test_adapters_of_a_clip_model_merge_too(tiny_model: Callable[..., CLIPRewardModel]) -> None:
    model, plain = tiny_model("ict"), tiny_model("ict", seed=8).eval()
    settings = FreezeConfig(projections=True)
    freeze(model, settings)
    add_adapters(model, LoRAConfig(vision=True), freeze=settings)
    drawn(model)
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    assert trained == {name for name in model.state_dict() if ".lora_" in name}
    plain.load_state_dict(native_weights(model.eval(), model.state_dict()), strict=True)
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    for one, other in (
        (model.encode_images(pixels), plain.encode_images(pixels)),
        (model.encode_prompts(["a red one"])[0], plain.encode_prompts(["a red one"])[0]),
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"freeze": {"language": True}, "lora": {}}, "lora.language puts adapters where freeze.la"),
        (
            {"freeze": {"vision_layers": 1}, "lora": {"vision": True}},
            r"lora.vision puts adapters where freeze.vision_layers freezes",
        ),
        ({"lora": {"language": False}}, "leaves no linear map to adapt: language=False"),
        ({"lora": {"modules": ["w1"]}}, r"modules=\('w1',\)"),
        ({"lora": {"base_weights": "bfloat16"}}, "is bfloat16, but precision is float32"),
        (
            {"lora": {}, "objective": {"name": "distillation", "teachers": ["clip-mini"]}},
            "'distillation' trains a vision tower whole. Leave out lora",
        ),
    ],
)
def test_adapters_that_cannot_be_are_refused(
    edit_recipe: MakeRecipe, quiet: Console, sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train(edit_recipe(**sections), console=quiet)


def test_base_weights_in_bfloat16_are_those_of_the_chosen_maps_alone() -> None:
    chosen, other = nn.Linear(8, 8), nn.Linear(8, 8)
    quantise(nn.ModuleDict({"chosen": chosen, "other": other}), ["chosen"], "bfloat16")
    assert chosen.weight.dtype == torch.bfloat16
    assert other.weight.dtype == chosen.bias.dtype == torch.float32


@pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed"
)
@pytest.mark.parametrize("kind", ["8-bit", "4-bit"])
def test_base_weights_of_few_bits_without_bitsandbytes_say_what_to_do(
    edit_recipe: MakeRecipe, kind: str
) -> None:
    lora = LoRAConfig.model_validate({"base_weights": kind})
    with pytest.raises(MissingExtraError, match=f"base_weights is {kind}.*pip install bitsand"):
        adapted(edit_recipe(), lora)


def test_adapters_without_peft_say_how_to_install_it(
    edit_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "peft" else find(name))
    with pytest.raises(MissingExtraError, match=r"pip install 'visreward\[lora\]'"):
        adapted(edit_recipe(), LoRAConfig())
