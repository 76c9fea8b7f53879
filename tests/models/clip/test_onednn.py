"""The layers that go through oneDNN: same numbers, same weights, out of the way elsewhere."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPMLP

from visreward.models.clip import onednn
from visreward.models.clip.onednn import (
    OneDNNLinear,
    OneDNNMLP,
    OneDNNPatchEmbedding,
    use_onednn,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from visreward.models.clip.backbone import CLIPBackbone

pytestmark = pytest.mark.skipif(
    not onednn._is_supported(torch.float32), reason="oneDNN is used on x86 CPUs only"
)


WHETHER_IT_PAYS = onednn._pays.__wrapped__


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The activations of the products that went through oneDNN, in order."""
    seen: list[str] = []
    plain = onednn._linear

    def watched(inputs: Tensor, weight: Tensor, bias: Any, activation: Any) -> Tensor:
        seen.append(activation)
        return plain(inputs, weight, bias, activation)

    monkeypatch.setattr(onednn, "_linear", watched)
    monkeypatch.setattr(onednn, "_pays", lambda dtype: True)
    return seen


def linear(bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    layer = nn.Linear(48, 40, bias=bias)
    use_onednn(layer)
    assert type(layer) is OneDNNLinear
    return layer


@pytest.mark.parametrize(
    ("capability", "dtype", "pays"),
    [
        ("AVX512", torch.float32, True),
        ("AVX512_256", torch.float32, True),
        ("AVX2", torch.float32, False),
        ("DEFAULT", torch.float32, False),
        ("AVX2", torch.bfloat16, True),
    ],
)
def test_onednn_pays_in_float32_with_avx512_only(
    capability: str, dtype: torch.dtype, pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert WHETHER_IT_PAYS(dtype) is pays


@torch.no_grad()
def test_linear_where_it_does_not_pay_takes_torch(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onednn, "_pays", lambda dtype: False)
    layer, inputs = linear(), torch.randn(9, 48)
    expected = nn.functional.gelu(nn.functional.linear(inputs, layer.weight, layer.bias))
    assert torch.equal(layer(inputs, activation="gelu"), expected)
    assert calls == []


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 48), (7, 48), (3, 5, 48)])
@torch.no_grad()
def test_linear_float32_equals_torch(shape: tuple[int, ...], bias: bool, calls: list[str]) -> None:
    layer, inputs = linear(bias), torch.randn(shape)
    expected = nn.functional.linear(inputs, layer.weight, layer.bias)
    torch.testing.assert_close(layer(inputs), expected, rtol=1e-6, atol=1e-6)
    assert calls == ["none"]


@torch.no_grad()
def test_linear_strided_input_equals_torch(calls: list[str]) -> None:
    layer, inputs = linear(), torch.randn(4, 6, 48).transpose(0, 1)[:, 1:3]
    expected = nn.functional.linear(inputs, layer.weight, layer.bias)
    torch.testing.assert_close(layer(inputs), expected, rtol=1e-6, atol=1e-6)
    assert calls == ["none"]


@pytest.mark.parametrize("shape", [(48,), (0, 48)])
@torch.no_grad()
def test_linear_vector_or_nothing_takes_torch(shape: tuple[int, ...], calls: list[str]) -> None:
    layer, inputs = linear(), torch.randn(shape)
    torch.testing.assert_close(
        layer(inputs), nn.functional.linear(inputs, layer.weight, layer.bias), rtol=0, atol=0
    )
    assert calls == []


@torch.no_grad()
def test_linear_gelu_is_the_exact_one(calls: list[str]) -> None:
    layer, inputs = linear(), 4 * torch.randn(9, 48)
    expected = nn.functional.gelu(nn.functional.linear(inputs, layer.weight, layer.bias))
    torch.testing.assert_close(layer(inputs, activation="gelu"), expected, rtol=1e-6, atol=2e-6)
    assert calls == ["gelu"]
    doubled = layer.double()(inputs.double(), activation="gelu")
    torch.testing.assert_close(doubled.float(), expected, rtol=1e-6, atol=2e-6)
    assert calls == ["gelu"]


@torch.no_grad()
def test_linear_bfloat16_equals_float32_within_its_rounding() -> None:
    layer, inputs = linear(), torch.randn(9, 48).bfloat16().float()
    layer.bfloat16().float()
    expected = layer(inputs)
    result = layer.bfloat16()(inputs.bfloat16())
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), expected, rtol=2**-8, atol=2**-9)


def test_linear_with_gradients_takes_torch(calls: list[str]) -> None:
    layer = linear()
    inputs = torch.randn(5, 48, requires_grad=True)
    layer(inputs).square().sum().backward()
    assert layer.weight.grad is not None
    assert inputs.grad is not None
    assert calls == []


@torch.no_grad()
def test_linear_under_autocast_takes_torch(calls: list[str]) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear()(torch.randn(5, 48)).dtype == torch.bfloat16
    assert calls == []


@torch.no_grad()
def test_linear_float16_takes_torch(calls: list[str]) -> None:
    assert linear().half()(torch.randn(5, 48).half()).dtype == torch.float16
    assert calls == []


@torch.no_grad()
def test_linear_changed_weight_is_used_at_once() -> None:
    layer, inputs = linear(), torch.randn(5, 48)
    layer(inputs)
    layer.weight.data.mul_(2)
    expected = nn.functional.linear(inputs, layer.weight, layer.bias)
    torch.testing.assert_close(layer(inputs), expected, rtol=1e-6, atol=1e-6)
    layer.load_state_dict(nn.Linear(48, 40).state_dict())
    expected = nn.functional.linear(inputs, layer.weight, layer.bias)
    torch.testing.assert_close(layer(inputs), expected, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_linear_copied_and_pickled_gives_equal_bits(calls: list[str]) -> None:
    layer, inputs = linear(), torch.randn(5, 48)
    expected = layer(inputs)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other(inputs).equal(expected)
    assert len(calls) == 3


@pytest.mark.parametrize(("patch", "size"), [(4, (16, 16)), (5, (20, 35)), (16, (64, 32))])
@torch.no_grad()
def test_patch_embedding_equals_convolution(
    patch: int, size: tuple[int, int], calls: list[str]
) -> None:
    torch.manual_seed(0)
    holder = nn.Sequential(nn.Conv2d(3, 24, patch, stride=patch))
    plain, pixels = copy.deepcopy(holder), torch.randn(2, 3, *size)
    use_onednn(holder)
    assert type(holder[0]) is OneDNNPatchEmbedding
    torch.testing.assert_close(holder(pixels), plain(pixels), rtol=1e-5, atol=2e-6)
    assert calls == ["none"]


@torch.no_grad()
def test_patch_embedding_size_that_leaves_a_rest_takes_torch(calls: list[str]) -> None:
    holder = nn.Sequential(nn.Conv2d(3, 24, 4, stride=4))
    use_onednn(holder)
    assert holder(torch.randn(1, 3, 18, 18)).shape == (1, 24, 4, 4)
    assert calls == []


@pytest.mark.parametrize(
    "options", [{"padding": 1}, {"dilation": 2}, {"groups": 3}, {"stride": 2}, {"kernel_size": 1}]
)
def test_use_onednn_other_convolutions_are_left_alone(options: dict[str, int]) -> None:
    shape = {"kernel_size": 4, "stride": options.get("kernel_size", 4), **options}
    holder = nn.Sequential(nn.Conv2d(3, 24, **shape))  # type: ignore[arg-type]
    use_onednn(holder)
    assert type(holder[0]) is nn.Conv2d


@torch.no_grad()
def test_mlp_other_layer_in_its_place_is_called(calls: list[str]) -> None:
    make: Any = CLIPMLP  # transformers leaves its types open
    mlp = make(
        CLIPVisionConfig(
            hidden_size=16, intermediate_size=32, num_attention_heads=4, hidden_act="gelu"
        )
    )
    use_onednn(mlp)
    assert type(mlp) is OneDNNMLP
    inputs = torch.randn(2, 3, 16)
    with_adapter = nn.Sequential(mlp.fc1, nn.Tanh())
    expected = mlp.fc2(nn.functional.gelu(with_adapter(inputs)))
    mlp.fc1 = with_adapter  # type: ignore[assignment]
    torch.testing.assert_close(mlp(inputs), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
@torch.no_grad()
def test_backbone_features_equal_plain_torch(
    activation: str,
    random_backbone: Callable[..., CLIPBackbone],
    monkeypatch: pytest.MonkeyPatch,
    calls: list[str],
) -> None:
    backbone = random_backbone(hidden_act=activation)
    pixels, ids = torch.randn(3, 3, 64, 64), torch.tensor([[528, 4, 9, 529], [528, 7, 529, 529]])
    images, texts = backbone.image_features(pixels), backbone.text_features(ids)
    # Six products per block, one for the patches, one for the projection; two blocks per tower.
    assert len(calls) == 2 * (6 * 2 + 1) + 1
    assert calls.count("gelu") == (4 if activation == "gelu" else 2)
    monkeypatch.setattr(onednn, "_applies", lambda inputs, weight: False)
    torch.testing.assert_close(images, backbone.image_features(pixels), rtol=0, atol=1e-5)
    torch.testing.assert_close(texts, backbone.text_features(ids), rtol=0, atol=1e-5)


def test_backbone_state_dict_has_transformers_names(
    random_backbone: Callable[..., CLIPBackbone],
) -> None:
    backbone = random_backbone()
    plain = type(backbone.clip)(backbone.clip.config)
    assert list(backbone.clip.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(backbone.clip.state_dict(), strict=True)
