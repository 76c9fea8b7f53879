"""Text features are computed once for given weights, and never outlive them."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from visreward.models.clip.ict import ICT
from visreward.models.clip.prompt_cache import PromptCache, TextFeature
from visreward.models.facts import ModelFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from visreward.models.clip.backbone import CLIPBackbone
    from visreward.models.clip.inputs import PixelInputs, TextInputs

PROMPTS = ("a red cube", "two cats", "a blue ball on a table")


@pytest.fixture
def model(
    random_backbone: Callable[..., CLIPBackbone],
    make_inputs: Callable[[int], tuple[PixelInputs, TextInputs]],
) -> ICT:
    pixels, texts = make_inputs(64)
    return ICT(ModelFacts(name="ict"), random_backbone(), pixel_inputs=pixels, text_inputs=texts)


@pytest.fixture
def encoded(model: ICT, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many prompts went through the text tower, one number per pass."""
    passes: list[int] = []
    plain = model.backbone.text_features

    def watched(ids: Tensor) -> Tensor:
        passes.append(len(ids))
        return plain(ids)

    monkeypatch.setattr(model.backbone, "text_features", watched)
    return passes


def features(model: ICT) -> Tensor:
    with torch.inference_mode():
        return model.encode_prompts(PROMPTS)[0].clone()


def fresh(model: ICT) -> Tensor:
    """What a model that has never seen the prompts says."""
    return features(copy.deepcopy(model))


def test_encode_prompts_repeated_is_encoded_once(model: ICT, encoded: list[int]) -> None:
    first = features(model)
    with torch.inference_mode():
        again, counts = model.encode_prompts([PROMPTS[2], PROMPTS[0], PROMPTS[2]])
    assert again.equal(first[[2, 0, 2]])
    assert counts[0] == counts[2] > counts[1]
    assert encoded == [3]


def test_encode_prompts_only_missing_ones_are_encoded(model: ICT, encoded: list[int]) -> None:
    with torch.inference_mode():
        model.encode_prompts(PROMPTS[:1])
    features(model)
    assert encoded == [1, 2]


def test_encode_prompts_many_go_in_several_passes(model: ICT, encoded: list[int]) -> None:
    prompts = [f"{number} cats" for number in range(150)]
    with torch.inference_mode():
        together, _ = model.encode_prompts(prompts)
        assert encoded == [64, 64, 22]
        model._prompt_cache.clear()
        alone = torch.cat([model.encode_prompts([prompts[place]])[0] for place in (0, 77, 149)])
    torch.testing.assert_close(together[[0, 77, 149]], alone, rtol=0, atol=5e-6)


def test_encode_prompts_more_than_kept_returns_all(model: ICT) -> None:
    model._prompt_cache.max_prompts = 2
    assert features(model).equal(fresh(model))
    assert len(model._prompt_cache._kept) == 2


def test_encode_prompts_with_gradient_keeps_nothing(model: ICT, encoded: list[int]) -> None:
    features(model)
    rows, _ = model.encode_prompts(PROMPTS)
    assert rows.requires_grad
    features(model)
    assert encoded == [3, 3, 3]


def add_in_place(model: ICT) -> None:
    with torch.no_grad():
        model.backbone.clip.text_model.final_layer_norm.weight[7] += 1


def scale_through_data(model: ICT) -> None:
    for weight in model.backbone.clip.text_model.encoder.parameters():
        weight.data.mul_(1.5)


def load_other_weights(model: ICT) -> None:
    state = model.state_dict()
    model.load_state_dict({name: value * 1.25 for name, value in state.items()})


def assign_other_weights(model: ICT) -> None:
    for factor in (1.5, 0.5):
        state = {name: value * factor for name, value in model.state_dict().items()}
        model.load_state_dict(state, assign=True)


def take_a_step(model: ICT) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    model.encode_prompts(PROMPTS)[0].sum().backward()
    optimizer.step()


def step_without_forward(model: ICT) -> None:
    weights = list(model.backbone.clip.text_projection.parameters())
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    torch.optim.SGD(weights, lr=0.1).step()


def replace_projection(model: ICT) -> None:
    old = model.backbone.clip.text_projection
    model.backbone.clip.text_projection = torch.nn.Linear(
        old.in_features, old.out_features, bias=False
    )


def round_to_bfloat16(model: ICT) -> None:
    model.bfloat16().float()


def round_text_tower_to_bfloat16(model: ICT) -> None:
    model.backbone.clip.text_model.bfloat16().float()


@pytest.mark.parametrize(
    "change",
    [
        add_in_place,
        scale_through_data,
        load_other_weights,
        assign_other_weights,
        take_a_step,
        step_without_forward,
        replace_projection,
        round_to_bfloat16,
        round_text_tower_to_bfloat16,
    ],
)
def test_encode_prompts_after_weights_changed_are_encoded_again(
    change: Callable[[ICT], None], model: ICT
) -> None:
    before = features(model)
    change(model)
    after = features(model)
    assert not after.equal(before)
    assert after.equal(fresh(model))


def test_encode_prompts_image_tower_changed_stay(model: ICT, encoded: list[int]) -> None:
    features(model)
    with torch.no_grad():
        model.backbone.clip.visual_projection.weight.mul_(2)
    features(model)
    assert encoded == [3]


def test_encode_prompts_weights_from_inference_mode_are_encoded_each_time(
    model: ICT, encoded: list[int]
) -> None:
    with torch.inference_mode():
        weight = torch.nn.Parameter(torch.randn(96, 128), requires_grad=False)
        model.backbone.clip.text_projection.weight = weight
        before = model.encode_prompts(PROMPTS)[0].clone()
        weight[3, 3] += 1
        assert not model.encode_prompts(PROMPTS)[0].equal(before)
    assert encoded == [3, 3]


def test_encode_prompts_under_autocast_do_not_stay(model: ICT) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = features(model)
    exact = features(model)
    assert not exact.equal(rounded)
    assert exact.equal(fresh(model))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert features(model).equal(rounded)


def test_encode_prompts_other_cleaning_are_encoded_again(model: ICT, encoded: list[int]) -> None:
    features(model)
    assert model.text_inputs is not None
    model.text_inputs.cleaning = "none"
    features(model)
    assert encoded == [3, 3]


def test_encode_prompts_batch_invariant_switched_on_are_encoded_alone(
    model: ICT, encoded: list[int]
) -> None:
    features(model)
    model.batch_invariant = True
    features(model)
    features(model)
    assert encoded == [3, 1, 1, 1]


def test_prompt_cache_copied_or_pickled_is_empty() -> None:
    weights = [torch.ones(3)]
    cache = PromptCache(5)
    cache.known([], weights=weights, settings=())
    cache.keep({"a": TextFeature(feature=torch.ones(2), num_tokens=3)})
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert other.max_prompts == 5
        assert other.known(["a"], weights=weights, settings=()) == {}
    assert list(cache.known(["a"], weights=weights, settings=())) == ["a"]


def test_prompt_cache_full_forgets_what_was_used_longest_ago() -> None:
    weights, text = [torch.ones(3)], TextFeature(feature=torch.ones(2), num_tokens=3)
    cache = PromptCache(2)
    cache.known([], weights=weights, settings=())
    cache.keep({"a": text, "b": text})
    cache.known(["a"], weights=weights, settings=())
    cache.keep({"c": text})
    assert set(cache.known(["a", "b", "c"], weights=weights, settings=())) == {"a", "c"}
