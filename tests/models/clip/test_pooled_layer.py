"""The last layer for the pooled token alone: the same features and gradients, less work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from visreward.models.clip.pooled_layer import PooledLayer

if TYPE_CHECKING:
    from collections.abc import Callable

    from visreward.models.clip.backbone import CLIPBackbone

IDS = torch.tensor(
    [
        [528, 4, 9, 529, 529, 529],
        [528, 7, 529, 529, 529, 529],
        [528, 3, 8, 11, 6, 529],
        [528, 529, 529, 529, 529, 529],
    ]
)


def plain_images(backbone: CLIPBackbone, pixels: Tensor) -> Tensor:
    """Return the features by transformers' own way, every layer in full."""
    features: Tensor = backbone.clip.visual_projection(
        backbone.clip.vision_model(pixel_values=pixels).pooler_output
    )
    return features


def plain_texts(backbone: CLIPBackbone, ids: Tensor) -> Tensor:
    features: Tensor = backbone.clip.text_projection(
        backbone.clip.text_model(input_ids=ids).pooler_output
    )
    return features


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_features_equal_those_of_all_tokens(
    attention: str, random_backbone: Callable[..., CLIPBackbone]
) -> None:
    backbone = random_backbone()
    backbone.clip.set_attn_implementation(attention)
    pixels = torch.randn(3, 3, 64, 64)
    close: Any = {"rtol": 1e-5, "atol": 2e-6}
    torch.testing.assert_close(
        backbone.image_features(pixels), plain_images(backbone, pixels), **close
    )
    torch.testing.assert_close(backbone.text_features(IDS), plain_texts(backbone, IDS), **close)


@torch.no_grad()
def test_text_features_legacy_end_token_pools_at_the_largest_id(
    random_backbone: Callable[..., CLIPBackbone],
) -> None:
    backbone = random_backbone()
    backbone.clip.text_model.eos_token_id = 2
    torch.testing.assert_close(
        backbone.text_features(IDS), plain_texts(backbone, IDS), rtol=1e-5, atol=2e-6
    )


def test_gradients_equal_those_of_all_tokens(random_backbone: Callable[..., CLIPBackbone]) -> None:
    backbone = random_backbone().double()
    pixels = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    found: list[dict[str, Tensor]] = []
    for images, texts in (
        (backbone.image_features(pixels), backbone.text_features(IDS)),
        (plain_images(backbone, pixels), plain_texts(backbone, IDS)),
    ):
        backbone.zero_grad()
        (images.square().sum() + texts.pow(3).sum()).backward()
        gradients = {name: weight.grad for name, weight in backbone.named_parameters()}
        found.append({name: grad for name, grad in gradients.items() if grad is not None})
    ours, plain = found
    assert ours.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-9, atol=1e-12, msg=name)


@torch.no_grad()
def test_last_layer_computes_one_token_of_each_sequence(
    random_backbone: Callable[..., CLIPBackbone],
) -> None:
    backbone = random_backbone()
    shapes: list[tuple[int, ...]] = []
    for tower in (backbone.clip.vision_model, backbone.clip.text_model):
        assert type(tower.encoder.layers[-1]) is PooledLayer
        assert type(tower.encoder.layers[0]) is not PooledLayer
        for layer in (tower.encoder.layers[0], tower.encoder.layers[-1]):
            layer.mlp.register_forward_hook(
                lambda _module, inputs, _output: shapes.append(tuple(inputs[0].shape))
            )
    backbone.image_features(torch.randn(3, 3, 64, 64))
    backbone.text_features(IDS)
    assert shapes == [(3, 17, 128), (3, 128), (4, 6, 128), (4, 128)]


@torch.no_grad()
def test_layer_not_told_what_is_pooled_is_the_ordinary_one(
    random_backbone: Callable[..., CLIPBackbone],
) -> None:
    layer = random_backbone().clip.vision_model.encoder.layers[-1]
    states = torch.randn(2, 17, 128)
    whole = layer(states, None)
    assert whole.shape == states.shape
    for token in (0, 5):
        pooled = layer(states, None, pooled=torch.full((2,), token))
        torch.testing.assert_close(pooled[:, 3], whole[:, token], rtol=1e-5, atol=2e-6)
