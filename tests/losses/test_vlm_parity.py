"""The losses of vision-language models against the released code: values and gradients.

The release applies most losses to all columns of its logits. `dim1` are logits of mu alone; `dim2`
have log sigma in a second column, where the released loss is the mean of ours over both columns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.bradley_terry_ties import bradley_terry_ties_loss
from visreward.losses.likelihood_displacement import likelihood_displacement_loss
from visreward.losses.pair_softmax import pair_softmax_loss
from visreward.losses.pointwise import pointwise_loss
from visreward.losses.uncertainty import sampled_uncertainty_loss, uncertainty_loss

CASES = (0, 1)


@dataclass(frozen=True)
class Parity:
    document: dict[str, Any]  # Any: parsed JSON
    arrays: Mapping[str, np.ndarray[Any, np.dtype[np.float32]]]  # Any: any shape

    def sides(self, case: int, num_columns: int) -> tuple[Tensor, Tensor]:
        """Return the logits of chosen and rejected images, with gradients."""
        chosen, rejected = (
            torch.from_numpy(self.arrays[f"case{case}_rewards_{side}{num_columns}"].copy())
            for side in "AB"
        )
        return chosen.requires_grad_(), rejected.requires_grad_()

    def is_tie(self, case: int) -> Tensor:
        return ~torch.from_numpy(self.arrays[f"case{case}_nontied_mask"].astype(bool))

    def require(self, name: str, *, case: int, loss: Tensor, sides: tuple[Tensor, Tensor]) -> None:
        """Check a loss and its gradients against those of the release."""
        columns = f"dim{sides[0].shape[1]}"
        known = self.document["cases"][case]["losses"][columns][name]
        assert loss.item() == pytest.approx(known, abs=1e-5)
        torch.autograd.backward(loss)
        for side, each in zip("AB", sides, strict=True):
            assert each.grad is not None
            stored = self.arrays[f"case{case}_{columns}_grad_{name}_{side}"]
            np.testing.assert_allclose(each.grad.numpy(), stored, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def parity(shared_dir: Path) -> Parity:
    folder = shared_dir / "parity"
    document = json.loads((folder / "vlm_losses.json").read_text(encoding="utf-8"))
    assert len(document["cases"]) == len(CASES)
    with np.load(folder / "vlm_losses.npz") as archive:
        return Parity(document, {name: archive[name] for name in archive.files})


def over_columns(loss: Callable[..., Tensor], sides: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean of a loss over the columns of the logits."""
    columns = zip(*(each.unbind(dim=1) for each in sides), strict=True)
    found = [loss(score_chosen=chosen, score_rejected=rejected) for chosen, rejected in columns]
    return torch.stack(found).mean()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("num_columns", [1, 2])
@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("bt", bradley_terry_loss),
        ("constant_margin", partial(bradley_terry_loss, margin=0.57)),
        ("likelihood_displacement", likelihood_displacement_loss),
    ],
)
def test_pair_loss_matches_released_values_and_gradients(
    parity: Parity, case: int, num_columns: int, name: str, loss: Callable[..., Tensor]
) -> None:
    sides = parity.sides(case, num_columns)
    parity.require(name, case=case, loss=over_columns(loss, sides), sides=sides)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("num_columns", [1, 2])
def test_btt_loss_matches_released_values_and_gradients(
    parity: Parity, case: int, num_columns: int
) -> None:
    mask = parity.is_tie(case)
    for name, is_tie in (
        ("btt_no_ties", torch.zeros_like(mask)),
        ("btt_mask_elementwise", mask),
    ):
        sides = parity.sides(case, num_columns)
        loss = over_columns(partial(bradley_terry_ties_loss, is_tie=is_tie), sides)
        parity.require(name, case=case, loss=loss, sides=sides)


@pytest.mark.parametrize("case", CASES)
def test_btt_loss_of_all_pairs_and_masks_matches_the_released_broadcast(
    parity: Parity, case: int
) -> None:
    sides, mask = parity.sides(case, 1), parity.is_tie(case)
    chosen, rejected = (each[:, 0].repeat_interleave(len(mask)) for each in sides)
    loss = bradley_terry_ties_loss(
        score_chosen=chosen, score_rejected=rejected, is_tie=mask.repeat(len(mask))
    )
    parity.require("btt_mask_as_returned_shape_B", case=case, loss=loss, sides=sides)


@pytest.mark.parametrize("case", CASES)
def test_bradley_terry_of_all_pairs_matches_the_released_broadcast_but_for_its_divisor(
    parity: Parity, case: int
) -> None:
    sides, is_tie = parity.sides(case, 1), parity.is_tie(case)
    loss = over_columns(bradley_terry_loss, sides) * (~is_tie).float().mean()
    parity.require("bt_mask_as_returned_shape_B", case=case, loss=loss, sides=sides)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("num_columns", [1, 2])
def test_bradley_terry_of_untied_pairs_matches_the_released_mask_but_for_its_divisor(
    parity: Parity, case: int, num_columns: int
) -> None:
    # The release sets the loss of ties to 0 and divides by all pairs; dropped ties are not counted.
    sides, is_tie = parity.sides(case, num_columns), parity.is_tie(case)
    dropped = over_columns(bradley_terry_loss, (sides[0][~is_tie], sides[1][~is_tie]))
    loss = dropped * (~is_tie).float().mean()
    parity.require("bt_mask_elementwise", case=case, loss=loss, sides=sides)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("num_columns", [1, 2])
def test_pointwise_matches_released_values_and_gradients(
    parity: Parity, case: int, num_columns: int
) -> None:
    sides = parity.sides(case, num_columns)
    ratings = [
        torch.from_numpy(parity.arrays[f"case{case}_{side}_scores_overall"]) for side in "AB"
    ]
    scores = torch.cat([each[:, 0] for each in sides])
    loss = pointwise_loss(scores, ratings=torch.cat(ratings), offset=4.5)
    parity.require("reg", case=case, loss=loss, sides=sides)


@pytest.mark.parametrize("case", CASES)
def test_pair_softmax_matches_released_values_and_gradients(parity: Parity, case: int) -> None:
    # One column only: with two the release compares mu of the chosen image with its log sigma.
    sides = parity.sides(case, 1)
    loss = over_columns(partial(pair_softmax_loss, fidelity="released"), sides)
    parity.require("hpsv2", case=case, loss=loss, sides=sides)


@pytest.mark.parametrize("case", CASES)
def test_released_hpsv2_of_two_columns_compares_mu_with_its_own_log_sigma(
    parity: Parity, case: int
) -> None:
    chosen, rejected = parity.sides(case, 2)
    shares = torch.softmax(torch.cat([chosen, rejected], dim=1), dim=1)
    loss = -torch.log_softmax(shares[:, :2], dim=1)[:, 0].sum()
    parity.require("hpsv2", case=case, loss=loss, sides=(chosen, rejected))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["uncertainty", "uncertainty_with_margin"])
def test_uncertainty_released_equals_the_integral_of_the_released_code(
    parity: Parity, case: int, name: str
) -> None:
    chosen, rejected = (each.detach().double() for each in parity.sides(case, 2))
    known = parity.document["cases"][case]["losses"][name]
    given: dict[str, Any] = {  # Any: tensors and a number
        "mu_chosen": chosen[:, 0],
        "log_sigma_chosen": chosen[:, 1],
        "mu_rejected": rejected[:, 0],
        "log_sigma_rejected": rejected[:, 1],
        "margin": known["margin"],
    }
    exact = uncertainty_loss(**given, fidelity="released").item()
    assert exact == pytest.approx(known["exact_mean"], rel=1e-6)
    assert abs(exact - known["mc_mean"]) < 4 * known["mc_standard_error"]
    generator = torch.Generator().manual_seed(0)
    runs = [sampled_uncertainty_loss(**given, generator=generator).item() for _ in range(100)]
    assert np.std(runs) == pytest.approx(known["mc_std_of_one_run"], rel=0.3)
    assert abs(np.mean(runs) - exact) < 4 * known["mc_std_of_one_run"] / math.sqrt(len(runs))


def test_uncertainty_released_equals_the_table_of_integrals(parity: Parity) -> None:
    table = parity.document["gaussian_logsigmoid_table"]
    assert len(table) > 50
    for row in table:
        log_sigma = torch.tensor([math.log(row["sigma"] / math.sqrt(2))], dtype=torch.float64)
        loss = uncertainty_loss(
            mu_chosen=torch.tensor([row["mu"]], dtype=torch.float64),
            log_sigma_chosen=log_sigma,
            mu_rejected=torch.zeros(1, dtype=torch.float64),
            log_sigma_rejected=log_sigma,
            fidelity="released",
            margin=row["margin"],
        )
        assert loss.item() == pytest.approx(row["value"], rel=1e-8)


def test_parity_data_losses_are_all_tested(parity: Parity) -> None:
    for case in parity.document["cases"]:
        assert set(case["losses"]["dim1"]) == {
            *("bt", "constant_margin", "likelihood_displacement", "reg", "hpsv2"),
            *("btt_no_ties", "btt_mask_elementwise", "btt_mask_as_returned_shape_B"),
            *("bt_mask_elementwise", "bt_mask_as_returned_shape_B"),
        }
