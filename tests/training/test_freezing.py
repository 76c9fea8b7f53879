"""What is frozen of a model, parameter by parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from visreward.core.errors import UsageError
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.modeling.build import build_model
from visreward.training.modeling.freezing import freeze, frozen_layers
from visreward.training.modeling.reward_token import RewardTokenEmbedding, joined_rows
from visreward.training.optim import make_optimizer
from visreward.training.options.freeze_config import FreezeConfig
from visreward.training.options.optim_config import OptimConfig

MakeModel = Callable[..., CLIPRewardModel]
MakeVLM = Callable[[], VLMReward]
MakeRecipe = Callable[..., TrainConfig]


@pytest.fixture
def make_vlm(edit_recipe: MakeRecipe) -> MakeVLM:
    """Return a function that makes a random Qwen3-VL with two layers in each tower."""
    config = edit_recipe().model

    def make() -> VLMReward:
        model = build_model(config, ["make the red ball blue"], seed=0)
        assert isinstance(model, VLMReward)
        return model

    return make


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


def test_freeze_vision_layers_of_a_clip_tower_trains_the_top(tiny_model: MakeModel) -> None:
    model = tiny_model("hp")
    freeze(model, FreezeConfig(vision=True, vision_layers=1))
    tower = model.backbone.clip.vision_model
    assert [is_trained(layer) for layer in tower.encoder.layers] == [False, False, False, True]
    assert not is_trained(tower.embeddings)


def trained_parts(model: VLMReward) -> set[str]:
    """Return the parts that have gradients; each has one answer."""
    visual, language = model.backbone.model.visual, model.backbone.model.language_model
    parts = {
        "patches": visual.patch_embed,
        "places": visual.pos_embed,
        "block 0": visual.blocks[0],
        "block 1": visual.blocks[1],
        "merger": nn.ModuleList([visual.merger, visual.deepstack_merger_list]),
        "words": language.embed_tokens,
        "layers": language.layers,
        "norm": language.norm,
        "heads": model.heads,
    }
    return {name for name, part in parts.items() if is_trained(part)}


VISION = {"patches", "places", "block 0", "block 1"}
LANGUAGE = {"layers", "norm", "words"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, VISION | LANGUAGE | {"merger"}),
        ({"vision": True}, LANGUAGE),
        ({"vision": True, "merger": False}, LANGUAGE | {"merger"}),
        ({"merger": True}, VISION | LANGUAGE),
        ({"language": True}, VISION | {"merger"}),
        ({"language": True, "embeddings": "all"}, VISION | {"merger", "words"}),
        ({"embeddings": "none"}, (VISION | LANGUAGE | {"merger"}) - {"words"}),
        ({"vision_layers": 1}, (VISION | LANGUAGE | {"merger"}) - {"block 0"}),
        ({"vision_rate": 0.5}, (VISION | LANGUAGE | {"merger"}) - {"block 0"}),
        ({"vision": True, "vision_layers": 1, "language": True}, {"block 1"}),
        (
            {"vision_layers": 1, "vision_embeddings": True, "language": True, "merger": True},
            {"block 1"},
        ),
    ],
)
def test_freeze_parts_of_a_vision_language_model(
    make_vlm: MakeVLM, settings: dict[str, Any], expected: set[str]
) -> None:
    model = make_vlm()
    freeze(model, FreezeConfig.model_validate(settings))
    assert trained_parts(model) == expected | {"heads"}


def test_optimizer_rates_of_the_parts_of_a_vision_language_model(make_vlm: MakeVLM) -> None:
    model = make_vlm()
    freeze(model, FreezeConfig(embeddings="reward-token"))
    rates = {"vision": 1.0, "merger": 2.0, "heads": 3.0, "reward_token": 4.0}
    config = OptimConfig.model_validate(
        {"steps": 1, "batch_size": 1, "learning_rate": 5.0, "learning_rates": rates}
    )
    groups = make_optimizer(model, config).param_groups
    found = {id(p): group["base_rate"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        expected = 5.0
        if ".visual." in name:
            expected = 2.0 if "merger" in name else 1.0
        elif name.startswith("heads."):
            expected = 3.0
        elif name.endswith("embed_tokens.row"):
            expected = 4.0
        assert found[id(parameter)] == expected, name


def test_freeze_more_vision_layers_than_there_are_is_refused(make_vlm: MakeVLM) -> None:
    with pytest.raises(UsageError, match="vision_layers is 3, but the vision tower has 2 layers"):
        freeze(make_vlm(), FreezeConfig(vision_layers=3))


def test_freeze_parts_of_the_other_family_are_refused(
    make_vlm: MakeVLM, tiny_model: MakeModel
) -> None:
    with pytest.raises(UsageError, match=r"freeze.text_rate is given.*belongs to CLIP models"):
        freeze(make_vlm(), FreezeConfig(text_rate=0.5))
    with pytest.raises(UsageError, match=r"freeze.merger is given.*vision-language models"):
        freeze(tiny_model("hp"), FreezeConfig(merger=False))


def words(model: VLMReward) -> Iterator[torch.Tensor]:
    """Yield the gradients' way in: embeddings of some ids, the reward token among them."""
    reward_id = model.inputs.chat.reward_id
    assert reward_id is not None
    ids = torch.tensor([1, reward_id, 7, reward_id, 9])
    yield model.backbone.model.language_model.embed_tokens(ids)
    yield model.backbone.model.language_model.embed_tokens.weight


def test_reward_token_alone_has_the_row_of_the_whole_gradient(make_vlm: MakeVLM) -> None:
    whole, single = make_vlm().double(), make_vlm().double()
    freeze(single, FreezeConfig(embeddings="reward-token"))
    for model in (whole, single):
        weights = torch.Generator().manual_seed(5)
        loss = torch.zeros((), dtype=torch.float64)
        for seen in words(model):
            factor = torch.randn(seen.shape, generator=weights, dtype=torch.float64)
            loss = loss + (seen * factor).sin().sum()
        torch.autograd.backward(loss)
    dense = whole.backbone.model.language_model.embed_tokens.weight.grad
    embedding = single.backbone.model.language_model.embed_tokens
    assert isinstance(embedding, RewardTokenEmbedding)
    assert embedding.frozen.weight.grad is None
    torch.testing.assert_close(
        embedding.row.grad, dense[whole.inputs.chat.reward_id], rtol=1e-12, atol=0
    )


def test_reward_token_alone_is_all_that_a_step_with_decay_moves(make_vlm: MakeVLM) -> None:
    model = make_vlm()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    freeze(model, FreezeConfig(vision=True, language=True, embeddings="reward-token"))
    model.heads.requires_grad_(requires_grad=False)
    config = OptimConfig(steps=9, batch_size=1, learning_rate=0.1, weight_decay=0.5)
    optimizer = make_optimizer(model, config)
    for _ in range(3):
        optimizer.zero_grad()
        torch.autograd.backward([seen.square().sum() for seen in words(model)])
        optimizer.step()
    after = joined_rows(model, model.state_dict())
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"backbone.model.language_model.embed_tokens.weight"}
    (name,) = changed
    is_changed = (before[name] != after[name]).any(dim=1).nonzero().flatten().tolist()
    assert is_changed == [model.inputs.chat.reward_id]


def test_reward_token_alone_without_reward_token_is_refused(edit_recipe: MakeRecipe) -> None:
    config = edit_recipe().model
    assert config.vlm is not None
    assert config.vlm.rating_prompts is not None
    prompts = config.vlm.rating_prompts.model_copy(update={"suffix": " Answer:"})
    vlm = config.vlm.model_copy(update={"rating_prompts": prompts, "pooling": "last"})
    model = build_model(config.model_copy(update={"vlm": vlm}), ["a"], seed=0)
    with pytest.raises(UsageError, match=r"rating prompts have no <\|Reward\|>"):
        freeze(model, FreezeConfig(embeddings="reward-token"))
