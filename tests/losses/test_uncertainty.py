"""The uncertainty loss against numerical integrals, closed forms and its own samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from visreward.core.errors import ShapeError, UnknownNameError, UsageError
from visreward.core.preference import expected_sigmoid
from visreward.core.types import Fidelity
from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.uncertainty import sampled_uncertainty_loss, uncertainty_loss

FIDELITIES: tuple[Fidelity, ...] = ("paper", "released")


def gaussians() -> dict[str, Any]:  # Any: keyword arguments
    """Return 12 pairs, with gradients."""
    values = torch.randn(4, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    names = ("mu_chosen", "log_sigma_chosen", "mu_rejected", "log_sigma_rejected")
    return {name: each.clone().requires_grad_() for name, each in zip(names, values, strict=True)}


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_uncertainty_certain_scores_give_the_bradley_terry_loss(fidelity: Fidelity) -> None:
    given = gaussians()
    certain = torch.full((12,), -30.0, dtype=torch.float64)
    given |= {"log_sigma_chosen": certain, "log_sigma_rejected": certain}
    expected = bradley_terry_loss(
        score_chosen=given["mu_chosen"], score_rejected=given["mu_rejected"], margin=0.3
    )
    loss = uncertainty_loss(**given, fidelity=fidelity, margin=0.3)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


def test_uncertainty_paper_is_the_likelihood_of_the_order() -> None:
    given = {name: each.detach().numpy() for name, each in gaussians().items()}
    deviation = np.hypot(np.exp(given["log_sigma_chosen"]), np.exp(given["log_sigma_rejected"]))
    share = expected_sigmoid(given["mu_chosen"] - given["mu_rejected"], deviation)
    loss = uncertainty_loss(**gaussians(), fidelity="paper")
    assert loss.item() == pytest.approx(-np.log(share).mean(), rel=1e-10)


def test_uncertainty_released_matches_sampling() -> None:
    given = {name: each.detach() for name, each in gaussians().items()}
    noise = torch.randn(400_000, 12, generator=torch.Generator().manual_seed(0)).double()
    variance = (2 * given["log_sigma_chosen"]).exp() + (2 * given["log_sigma_rejected"]).exp()
    z = given["mu_chosen"] - given["mu_rejected"] + variance.sqrt() * noise
    sampled = -torch.nn.functional.logsigmoid(z).mean()
    loss = uncertainty_loss(**given, fidelity="released")
    assert loss.item() == pytest.approx(sampled.item(), abs=5e-3)


def test_uncertainty_larger_sigma_costs_less_for_a_wrong_order_in_the_paper_only() -> None:
    def loss(fidelity: Fidelity, sigma: float) -> float:
        log_sigma = torch.tensor([math.log(sigma / math.sqrt(2))], dtype=torch.float64)
        return uncertainty_loss(
            mu_chosen=torch.tensor([-1.0], dtype=torch.float64),
            log_sigma_chosen=log_sigma,
            mu_rejected=torch.tensor([0.0], dtype=torch.float64),
            log_sigma_rejected=log_sigma,
            fidelity=fidelity,
        ).item()

    # Sigma of the difference 1, 2, 4.
    paper = [loss("paper", sigma) for sigma in (1, 2, 4)]
    released = [loss("released", sigma) for sigma in (1, 2, 4)]
    assert paper == sorted(paper, reverse=True)
    assert released == sorted(released)
    assert paper == pytest.approx([1.193, 1.044, 0.895], abs=3e-3)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_uncertainty_gradient_is_that_of_finite_differences(fidelity: Fidelity) -> None:
    given = gaussians()
    names = tuple(given)

    def loss(*values: Tensor) -> Tensor:
        named: dict[str, Any] = dict(zip(names, values, strict=True))
        return uncertainty_loss(**named, fidelity=fidelity, margin=0.2)

    assert torch.autograd.gradcheck(loss, tuple(given.values()))


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_uncertainty_float32_and_bfloat16_stay_close_to_float64(fidelity: Fidelity) -> None:
    exact = uncertainty_loss(**gaussians(), fidelity=fidelity).item()
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 2e-2)):
        given = {name: each.detach().to(dtype) for name, each in gaussians().items()}
        loss = uncertainty_loss(**given, fidelity=fidelity)
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact, rel=tolerance)


def test_uncertainty_bad_arguments_are_refused() -> None:
    given = gaussians()
    with pytest.raises(ShapeError, match="log_sigma_rejected"):
        uncertainty_loss(**{**given, "log_sigma_rejected": torch.zeros(3)})
    with pytest.raises(UnknownNameError, match="fidelity"):
        uncertainty_loss(**given, fidelity="exact")  # type: ignore[arg-type]


def sample(fidelity: Fidelity, *, seed: int, num_samples: int) -> float:
    return sampled_uncertainty_loss(
        **gaussians(),
        generator=torch.Generator().manual_seed(seed),
        num_samples=num_samples,
        fidelity=fidelity,
        margin=0.3,
    ).item()


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_sampled_uncertainty_agrees_with_the_quadrature_within_its_standard_error(
    fidelity: Fidelity,
) -> None:
    runs = [sample(fidelity, seed=seed, num_samples=4000) for seed in range(40)]
    standard_error = np.std(runs, ddof=1) / math.sqrt(len(runs))
    exact = uncertainty_loss(**gaussians(), fidelity=fidelity, margin=0.3).item()
    assert standard_error < 2e-3
    assert abs(np.mean(runs) - exact) < 4 * standard_error


def test_sampled_uncertainty_few_samples_cost_more_in_the_paper_form_only() -> None:
    for fidelity in FIDELITIES:
        runs = [sample(fidelity, seed=seed, num_samples=4) for seed in range(400)]
        standard_error = np.std(runs, ddof=1) / math.sqrt(len(runs))
        exact = uncertainty_loss(**gaussians(), fidelity=fidelity, margin=0.3).item()
        is_biased = fidelity == "paper"
        assert (np.mean(runs) - exact > 4 * standard_error) == is_biased


def test_sampled_uncertainty_same_generator_state_gives_the_same_loss() -> None:
    assert sample("paper", seed=3, num_samples=10) == sample("paper", seed=3, num_samples=10)
    assert sample("paper", seed=3, num_samples=10) != sample("paper", seed=4, num_samples=10)


def test_sampled_uncertainty_one_sample_has_one_form() -> None:
    one, other = (sample(fidelity, seed=8, num_samples=1) for fidelity in FIDELITIES)
    assert one == pytest.approx(other, rel=1e-12)


def test_sampled_uncertainty_bad_arguments_are_refused() -> None:
    given = {**gaussians(), "generator": torch.Generator()}
    with pytest.raises(UsageError, match="num_samples is 0"):
        sampled_uncertainty_loss(**given, num_samples=0)
    with pytest.raises(ShapeError, match="mu_rejected"):
        sampled_uncertainty_loss(**{**given, "mu_rejected": torch.zeros(3)})
    with pytest.raises(UnknownNameError, match="fidelity"):
        sampled_uncertainty_loss(**given, fidelity="exact")  # type: ignore[arg-type]
