"""The linear stack of HP and of LAION's aesthetic predictor, and fusion of dimensions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visreward.core.types import Fidelity
from visreward.models.heads import Fusion, LinearStack, fuse


@pytest.fixture
def stack() -> LinearStack:
    torch.manual_seed(0)
    return LinearStack(40)


def test_linear_stack_sizes_and_names_are_the_released_ones(stack: LinearStack) -> None:
    sizes = [40, 1024, 128, 64, 16, 1]
    names = [f"layers.{place}" for place in (0, 2, 4, 6, 7)]
    expected = {
        **{f"{name}.weight": (sizes[k + 1], sizes[k]) for k, name in enumerate(names)},
        **{f"{name}.bias": (sizes[k + 1],) for k, name in enumerate(names)},
    }
    assert {name: tuple(value.shape) for name, value in stack.state_dict().items()} == expected


def test_linear_stack_at_inference_is_one_linear_map(stack: LinearStack) -> None:
    weight, bias = torch.eye(40), torch.zeros(40)
    for layer in stack.layers:
        if isinstance(layer, nn.Linear):
            weight, bias = layer.weight @ weight, layer.weight @ bias + layer.bias
    features = torch.randn(6, 40)
    logits = stack.eval()(features)
    assert logits.shape == (6,)
    torch.testing.assert_close(logits, features @ weight[0] + bias[0], rtol=1e-4, atol=1e-5)


def test_linear_stack_dropout_acts_in_training_only(stack: LinearStack) -> None:
    features = torch.randn(1, 40)
    assert not stack.train()(features).equal(stack(features))
    assert stack.eval()(features).equal(stack(features))
    rates = [layer.p for layer in stack.layers if isinstance(layer, nn.Dropout)]
    assert rates == [0.2, 0.2, 0.1]


def test_linear_stack_one_image_keeps_its_dimension(stack: LinearStack) -> None:
    assert stack.eval()(torch.randn(1, 40)).shape == (1,)


def test_linear_stack_reset_draws_small_weights_and_no_bias(stack: LinearStack) -> None:
    stack.reset()
    for layer in stack.layers:
        if isinstance(layer, nn.Linear):
            assert not layer.bias.any()
            if layer.weight.numel() > 1000:
                assert layer.weight.std().item() == pytest.approx(1 / 41, rel=0.1)


def test_linear_stack_bfloat16_is_close_to_float32(stack: LinearStack) -> None:
    features = torch.randn(8, 40)
    expected = stack.eval()(features)
    logits = stack.bfloat16()(features.bfloat16())
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, rtol=0, atol=0.01)


@pytest.fixture
def gaussians() -> torch.Tensor:
    """(2, 2, 2) mu and log sigma; in the second row the sure dimension has the lesser mu."""
    sigmas = torch.tensor([[3.0, 4.0], [0.001, 5.0]])
    mus = torch.tensor([[1.0, -2.0], [-1.0, 7.0]])
    return torch.stack([mus, sigmas.log()], dim=-1)


def test_fused_sigma_of_the_mean_is_that_of_sampled_means(gaussians: torch.Tensor) -> None:
    fused = fuse(gaussians, "mean", "paper")
    torch.testing.assert_close(fused[:, 0], torch.tensor([-0.5, 3.0]))
    torch.testing.assert_close(fused[:, 1].exp(), torch.tensor([2.5, 2.5]))
    torch.manual_seed(0)
    drawn = gaussians[..., 0] + gaussians[..., 1].exp() * torch.randn(200_000, 2, 2)
    torch.testing.assert_close(fused[:, 1].exp(), drawn.mean(dim=2).std(dim=0), rtol=0.01, atol=0)


def test_fused_sigma_of_the_release_is_a_geometric_mean(gaussians: torch.Tensor) -> None:
    fused = fuse(gaussians, "mean", "released")
    torch.testing.assert_close(fused[:, 0], torch.tensor([-0.5, 3.0]))
    torch.testing.assert_close(fused[:, 1].exp(), torch.tensor([12**0.5, 0.005**0.5]))


def test_fused_minimum_keeps_the_sigma_of_its_own_dimension(gaussians: torch.Tensor) -> None:
    fused = fuse(gaussians, "min", "paper")
    torch.testing.assert_close(fused[:, 0], torch.tensor([-2.0, -1.0]))
    torch.testing.assert_close(fused[:, 1].exp(), torch.tensor([4.0, 0.001]))
    released = fuse(gaussians, "min", "released")
    torch.testing.assert_close(released[:, 1].exp(), torch.tensor([3.0, 0.001]))


@pytest.mark.parametrize("fidelity", ["paper", "released"])
def test_fused_sum_adds_variances_and_none_keeps_the_first(
    gaussians: torch.Tensor, fidelity: Fidelity
) -> None:
    total = fuse(gaussians, "sum", fidelity)
    torch.testing.assert_close(total[:, 0], torch.tensor([-1.0, 6.0]))
    torch.testing.assert_close(total[:, 1].exp(), torch.tensor([5.0, 5.0]))
    assert fuse(gaussians, "none", fidelity).equal(gaussians[:, 0])


@pytest.mark.parametrize("fusion", ["mean", "min", "sum", "none"])
@pytest.mark.parametrize("fidelity", ["paper", "released"])
def test_fused_mu_alone_has_no_sigma(
    gaussians: torch.Tensor, fusion: Fusion, fidelity: Fidelity
) -> None:
    fused = fuse(gaussians[..., :1], fusion, fidelity)
    torch.testing.assert_close(fused, fuse(gaussians, fusion, fidelity)[:, :1])
