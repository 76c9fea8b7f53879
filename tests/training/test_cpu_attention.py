"""Which attention back-end a training on a CPU takes, and that gradients do not depend on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from visreward.models.clip.family import CLIPRewardModel
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.data.feeds import Feed
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.reading import read_rows
from visreward.training.modeling.build import build_model
from visreward.training.modeling.cpu_attention import take_attention
from visreward.training.objectives.pairwise import PairwiseObjective
from visreward.training.options.objective_config import PairwiseConfig

MakeRecipe = Callable[..., TrainConfig]
SHORT, LONG = 4096, 192 * 32 * 32


@pytest.mark.parametrize(
    ("precision", "max_pixels", "expected"),
    [
        ("float32", SHORT, "sdpa"),
        ("bfloat16", SHORT, "eager"),
        ("float32", LONG, "sdpa"),
        ("bfloat16", LONG, "sdpa"),
        ("bfloat16", LONG - 1, "eager"),
    ],
)
def test_attention_of_a_vision_language_model_follows_precision_and_length(
    edit_recipe: MakeRecipe, precision: str, max_pixels: int, expected: str
) -> None:
    config = edit_recipe(precision=precision)
    assert config.model.vlm is not None
    vlm = config.model.vlm.model_copy(update={"max_pixels": max_pixels})
    model = build_model(config.model.model_copy(update={"vlm": vlm}), ["a red ball"], seed=0)
    assert isinstance(model, VLMReward)
    take_attention(model, config)
    assert model.backbone.attention == expected


@pytest.mark.parametrize(("precision", "expected"), [("float32", "sdpa"), ("bfloat16", "eager")])
def test_attention_of_a_clip_model_follows_precision(
    recipe: MakeRecipe, tiny_model: Callable[..., CLIPRewardModel], precision: str, expected: str
) -> None:
    model = tiny_model("ict")
    take_attention(model, recipe("ict", precision=precision))
    assert model.backbone.clip.vision_model.config._attn_implementation == expected
    assert model.backbone.clip.text_model.config._attn_implementation == expected


def gradients(config: TrainConfig, backend: str) -> dict[str, torch.Tensor]:
    """Return the gradients of a step, computed in float64 but for the softmax of eager."""
    rows = read_rows(config.data, "train", None)
    model = build_model(config.model, ["a red ball"], seed=0)
    assert isinstance(model, VLMReward)
    model.double().set_attention(backend)
    batch = Feed(rows, pixel_reader(model), config=config.data, batch_size=2, seed=1)[0]
    PairwiseObjective(model, PairwiseConfig(name="pairwise"))(batch).loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_gradients_are_the_same_whatever_computes_attention(edit_recipe: MakeRecipe) -> None:
    one, other = (gradients(edit_recipe(), backend) for backend in ("sdpa", "eager"))
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-5, atol=1e-7)
    assert sum(bool(value.any()) for value in one.values()) > 20


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_step_in_bfloat16_has_gradients_whatever_computes_attention(
    edit_recipe: MakeRecipe, backend: str
) -> None:
    config = edit_recipe()
    rows = read_rows(config.data, "train", None)
    model = build_model(config.model, ["a red ball"], seed=0)
    assert isinstance(model, VLMReward)
    model.set_attention(backend)
    batch = Feed(rows, pixel_reader(model), config=config.data, batch_size=2, seed=1)[0]
    with torch.autocast("cpu", torch.bfloat16):
        loss = PairwiseObjective(model, PairwiseConfig(name="pairwise"))(batch).loss
    loss.backward()
    norms = [float(p.grad.norm()) for p in model.parameters() if p.grad is not None]
    assert sum(norm > 0 for norm in norms) > 20
