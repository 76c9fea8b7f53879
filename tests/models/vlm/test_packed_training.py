"""Gradients of a packed pair against the plain way: each image encoded each time, no sharing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from visreward.core.types import Sample
from visreward.losses.uncertainty import uncertainty_loss
from visreward.models.vlm.backbone import FAMILIES
from visreward.models.vlm.inputs import VLMBatch
from visreward.models.vlm.reward import VLMReward

Tiny = Callable[..., VLMReward]
KINDS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


@pytest.fixture(autouse=True)
def _no_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep float64 where transformers goes through float32, which rounds partial gradients."""
    convert, widen = torch.Tensor.to, torch.Tensor.float

    def to(self: Tensor, *args: Any, **options: Any) -> Tensor:
        if self.dtype == torch.float64 and torch.float32 in args:
            return self
        return convert(self, *args, **options)

    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(
        torch.Tensor, "float", lambda self: self if self.dtype == torch.float64 else widen(self)
    )


def plain_backbone(model: VLMReward) -> Any:
    """Return transformers' own model, untouched, with the weights of ours."""
    family = FAMILIES[model.backbone.to_dict()["model_type"]]
    values = getattr(transformers, family.config).from_dict(model.backbone.to_dict())
    values._attn_implementation = "sdpa"
    plain = getattr(transformers, family.model)(values).double()
    plain.load_state_dict(model.backbone.model.state_dict())
    return plain


def plain_logits(model: VLMReward, backbone: Any, batch: VLMBatch) -> Tensor:
    """Return (B, K, 2): every sequence alone, its images encoded for it alone."""
    found = []
    num_dimensions = len(model.inputs.dimensions)
    for number, sequence in enumerate(batch.sequences):
        shown = sequence.image[(sequence.image >= 0) & (sequence.offset == 0)]
        patches = model.inputs.patches.patches([batch.images[image] for image in shown])
        states = backbone(
            input_ids=torch.from_numpy(sequence.ids)[None],
            pixel_values=patches.values.double(),
            image_grid_thw=patches.grids,
            position_ids=torch.from_numpy(np.ascontiguousarray(sequence.positions))[:, None],
            use_cache=False,
        ).last_hidden_state[0]
        found.append(model.heads[number % num_dimensions](states[-1]))
    return torch.stack(found).view(-1, num_dimensions, 2)


def pair_loss(logits: Tensor) -> Tensor:
    """Return the mean loss of the first sample against the second, by dimension."""
    return uncertainty_loss(
        mu_chosen=logits[0, :, 0],
        log_sigma_chosen=logits[0, :, 1],
        mu_rejected=logits[1, :, 0],
        log_sigma_rejected=logits[1, :, 1],
    )


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_a_packed_pair_equal_those_of_the_plain_way(
    tiny: Tiny, edits: list[Sample], kind: str
) -> None:
    model = tiny(kind).double()
    batch = model.preprocess([model.load(sample) for sample in edits[:2]])
    assert len(batch.images) == 3
    backbone = plain_backbone(model)
    loss = pair_loss(plain_logits(model, backbone, batch))
    loss.backward()
    heads = {name: weight.grad for name, weight in model.heads.named_parameters()}
    model.heads.zero_grad()
    packed = pair_loss(model.logits(batch))
    packed.backward()
    assert packed.item() == pytest.approx(loss.item(), rel=1e-9)
    ours = dict(model.backbone.model.named_parameters())
    pairs = [(ours[name].grad, weight.grad) for name, weight in backbone.named_parameters()]
    pairs += [(weight.grad, heads[name]) for name, weight in model.heads.named_parameters()]
    compared = 0
    for found, wanted in pairs:
        if wanted is None:
            assert found is None or not found.any()
            continue
        assert found is not None
        assert (found - wanted).norm() <= 1e-9 * wanted.norm() + 1e-15
        compared += bool(wanted.any())
    assert compared > 20
