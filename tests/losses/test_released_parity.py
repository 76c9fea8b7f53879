"""The losses against numbers and gradients of the released training code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from visreward.losses.ict import ContainmentTargets, TripletFeatures, ict_loss
from visreward.losses.margin import hp_loss, ict_hp_loss, ict_hp_scores, margin_ranking_loss
from visreward.losses.similarity import triplet_cosines

CONFIGS = (
    "ict",
    "hp",
    "icthp",
    "hp+icthp",
    "ict+hp+icthp_flags",
    "ict_weighted",
    "hp+icthp_weighted",
    "hp_margin0",
    "ict_neg0",
)
GRADIENT_CONFIGS = ("ict", "hp", "icthp", "hp+icthp")
FEATURE_NAMES = {
    "easy_text": "basic_text",
    "refine_text": "refined_text",
    "image_0": "losing_image",
    "image_1": "winning_image",
    "image_r": "refined_image",
}
LEARNED_NAMES = (*FEATURE_NAMES, "hp_0", "hp_1", "hp_r")


@dataclass(frozen=True)
class Parity:
    cases: list[dict[str, Any]]  # Any: parsed JSON
    default_config: dict[str, Any]  # Any: parsed JSON
    arrays: Mapping[str, np.ndarray[Any, np.dtype[np.float32]]]  # Any: any shape

    def inputs(self, case: int) -> dict[str, Tensor]:
        prefix = f"case{case}_"
        names = (*LEARNED_NAMES, "label_e1", "label_e2", "label_r1", "label_r2")
        tensors = {name: torch.from_numpy(self.arrays[prefix + name].copy()) for name in names}
        for name in LEARNED_NAMES:
            tensors[name].requires_grad_()
        return tensors


@pytest.fixture(scope="module")
def parity(shared_dir: Path) -> Parity:
    folder = shared_dir / "parity"
    document = json.loads((folder / "icthp_losses.json").read_text(encoding="utf-8"))
    with np.load(folder / "icthp_losses.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    return Parity(document["cases"], document["default_config"], arrays)


def compute_all(
    inputs: dict[str, Tensor],
    config: Mapping[str, Any],  # Any: numbers and flags
    cast_dtype: torch.dtype | None,
) -> dict[str, Tensor]:
    """Return the loss and its components under the names of the released code."""
    features = TripletFeatures(**{ours: inputs[name] for name, ours in FEATURE_NAMES.items()})
    targets = ContainmentTargets(
        **{field.name: inputs[f"label_{field.name}"] for field in fields(ContainmentTargets)}
    )
    ict = ict_loss(
        features,
        targets=targets,
        fidelity="released",
        negative_weight=config["neg_weight"],
        cast_dtype=cast_dtype,
    )
    hp_logits = torch.cat([inputs["hp_0"], inputs["hp_1"], inputs["hp_r"]], dim=1)
    ict_scores = triplet_cosines(
        features.basic_text,
        losing_image=features.losing_image,
        winning_image=features.winning_image,
        refined_image=features.refined_image,
    )
    if cast_dtype is not None:
        ict_scores = ict_scores.to(cast_dtype)
    margin = config["margin"]
    hp = hp_loss(hp_logits, margin=margin)
    ict_hp = ict_hp_loss(
        ict_scores=ict_scores, hp_logits=hp_logits, fidelity="released", margin=margin
    )
    products = ict_hp_scores(ict_scores=ict_scores, hp_logits=hp_logits, fidelity="released")
    values = {
        "text_e_loss_mean": ict.basic,
        "text_r_loss_mean": ict.refined,
        "neg_e_loss_mean": ict.negative_basic,
        "neg_r_loss_mean": ict.negative_refined,
        "ict_loss": ict.loss,
        "hp_loss": hp,
        "icthp_loss": ict_hp,
    }
    for name, better, worse in (("10", 1, 0), ("r1", 2, 1)):
        values[f"hp_{name}_loss"] = margin_ranking_loss(
            score_chosen=hp_logits[:, better], score_rejected=hp_logits[:, worse], margin=margin
        )
        values[f"icthp_{name}_loss_sum"] = margin_ranking_loss(
            score_chosen=products[:, better],
            score_rejected=products[:, worse],
            margin=margin,
            reduction="sum",
        )
    if config.get("loss_ict"):
        values["loss"] = config["ict_weight"] * ict.loss
    else:
        zero = torch.zeros(())
        weighted_hp = config["hp_weight"] * hp if config.get("loss_hp") else zero
        weighted_ict_hp = config["icthp_weight"] * ict_hp if config.get("loss_icthp") else zero
        values["loss"] = weighted_hp + weighted_ict_hp
    return values


@pytest.mark.parametrize("case", [0, 1, 2])
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    ("variant", "cast_dtype", "tolerance"),
    [("float32", None, 1e-5), ("reference", torch.bfloat16, 1e-2)],
)
def test_losses_released_settings_match_released_values(
    parity: Parity,
    case: int,
    name: str,
    variant: str,
    cast_dtype: torch.dtype | None,
    tolerance: float,
) -> None:
    stored = parity.cases[case]["results"][name]
    config = {**parity.default_config, **stored["config"]}
    values = compute_all(parity.inputs(case), config, cast_dtype)

    expected = dict(stored[variant]["components"])
    expected["loss"] = stored[variant]["loss"]
    assert len(expected) >= 7
    for component, number in expected.items():
        assert values[component].item() == pytest.approx(number, abs=tolerance), component
    assert values["hp_loss"].item() == pytest.approx(
        stored[variant]["returned_hp_loss"], abs=tolerance
    )
    assert values["icthp_loss"].item() == pytest.approx(
        stored[variant]["returned_icthp_loss"], abs=tolerance
    )


@pytest.mark.parametrize("case", [0, 1, 2])
@pytest.mark.parametrize("name", GRADIENT_CONFIGS)
def test_losses_released_settings_match_released_gradients(
    parity: Parity, case: int, name: str
) -> None:
    config = {**parity.default_config, **parity.cases[case]["results"][name]["config"]}
    inputs = parity.inputs(case)
    torch.autograd.backward(compute_all(inputs, config, None)["loss"])

    prefix = f"case{case}_grad_f32_{name}_"
    stored = {key.removeprefix(prefix) for key in parity.arrays if key.startswith(prefix)}
    reached = {key for key in LEARNED_NAMES if inputs[key].grad is not None}
    assert reached == stored
    for key in stored:
        gradient = inputs[key].grad
        assert gradient is not None
        np.testing.assert_allclose(
            gradient.numpy(), parity.arrays[prefix + key], rtol=0, atol=1e-5, err_msg=key
        )


def test_parity_data_configs_are_all_tested(parity: Parity) -> None:
    for case in parity.cases:
        assert tuple(case["results"]) == CONFIGS
    with_gradients = {
        key.split("_grad_f32_")[1].removesuffix("_hp_0")
        for key in parity.arrays
        if key.endswith("_hp_0") and "_grad_f32_" in key
    }
    assert with_gradients == set(GRADIENT_CONFIGS) - {"ict"}
