"""Gradients with and without checkpointing, and what is computed again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from visreward.models.clip.hp import HP
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import Checkpointing, TrainConfig
from visreward.training.data.batches import Batch
from visreward.training.data.feeds import Feed
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.reading import read_rows
from visreward.training.modeling.build import build_model
from visreward.training.modeling.freezing import freeze
from visreward.training.modeling.gradient_checkpointing import set_checkpointing
from visreward.training.objectives.base import Objective
from visreward.training.objectives.hp import HPObjective
from visreward.training.objectives.pairwise import PairwiseObjective
from visreward.training.options.freeze_config import FreezeConfig
from visreward.training.options.objective_config import HPConfig, PairwiseConfig

MakeRecipe = Callable[..., TrainConfig]
KINDS: tuple[Checkpointing, ...] = ("none", "selective", "full")

QWEN25 = {
    "model_type": "qwen2_5_vl",
    "text_config": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]},
    },
    "vision_config": {
        "depth": 2,
        "num_heads": 2,
        "patch_size": 14,
        "hidden_size": 16,
        "intermediate_size": 24,
        "out_hidden_size": 32,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    },
}


class Counting(TorchDispatchMode):
    """Count the operators that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of torch
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


def vlm_objective(config: TrainConfig) -> tuple[PairwiseObjective, Batch]:
    """Return an objective whose backbone is float64 and whose heads have dropout, and a batch."""
    rows = read_rows(config.data, "train", None)
    model = build_model(config.model, (row.prompts[0] for row in rows), seed=0)
    assert isinstance(model, VLMReward)
    model.backbone.double()
    feed = Feed(rows, pixel_reader(model), config=config.data, batch_size=2, seed=1)
    return PairwiseObjective(model, PairwiseConfig(name="pairwise")), feed[0]


def gradients(
    objective: Objective, batch: Batch, kind: Checkpointing
) -> tuple[dict[str, torch.Tensor], Counter[str]]:
    """Return the gradients of one step, and how often each operator ran going back."""
    set_checkpointing(objective, kind)
    objective.train()
    objective.zero_grad()
    torch.manual_seed(11)
    loss = objective(batch).loss
    with Counting() as counting:
        torch.autograd.backward(loss)
    found = {name: p.grad for name, p in objective.named_parameters() if p.grad is not None}
    return found, counting.counts


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("backbone", [None, QWEN25], ids=["qwen3", "qwen2.5"])
def test_checkpointing_leaves_gradients_and_computes_again(
    edit_recipe: MakeRecipe, backbone: dict[str, Any] | None, attention: str
) -> None:
    config = edit_recipe(**({"model": {"backbone": backbone}} if backbone else {}))
    assert config.model.vlm is not None
    heads = config.model.vlm.heads.model_copy(update={"dropout": 0.4})
    vlm = config.model.vlm.model_copy(update={"heads": heads})
    model = config.model.model_copy(update={"vlm": vlm})
    objective, batch = vlm_objective(config.model_copy(update={"model": model}))
    objective.model.set_attention(attention)
    results = {kind: gradients(objective, batch, kind) for kind in KINDS}
    plain, again = results["none"]
    assert len(plain) == len(list(objective.parameters()))
    for kind in ("selective", "full"):
        found, _ = results[kind]
        assert found.keys() == plain.keys()
        for name, value in plain.items():
            torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)
    products = {
        kind: sum(counts[f"aten.{name}.default"] for name in ("mm", "addmm", "bmm"))
        for kind, (_, counts) in results.items()
    }
    activations = {kind: counts["aten.silu.default"] for kind, (_, counts) in results.items()}
    assert products["none"] == products["selective"] < products["full"]
    assert activations["none"] == again["aten.silu.default"] == 0
    # A language layer has one of them; so have vision blocks of Qwen2.5-VL.
    assert activations["selective"] == activations["full"] >= 2


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_checkpointing_under_autocast_works_where_layers_run_several_times(
    edit_recipe: MakeRecipe, attention: str
) -> None:
    objective, batch = vlm_objective(edit_recipe())
    objective.float()
    objective.model.set_attention(attention)
    objective.model.images_per_pass = 2
    results = []
    for kind in KINDS:
        set_checkpointing(objective, kind)
        objective.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = objective(batch).loss
        loss.backward()  # outside, as in a training
        results.append({n: p.grad for n, p in objective.named_parameters() if p.grad is not None})
    plain, selective, full = results
    assert plain.keys() == selective.keys() == full.keys()
    norm = torch.stack([value.norm() for value in plain.values()]).norm()
    for name, value in plain.items():
        assert torch.equal(selective[name], full[name]), name
        # Without checkpointing, gradients of several passes are added up in bfloat16.
        assert (selective[name] - value).norm() <= 0.02 * norm, name


def test_checkpointing_works_through_a_frozen_language_model(edit_recipe: MakeRecipe) -> None:
    objective, batch = vlm_objective(edit_recipe())
    freeze(objective.model, FreezeConfig(language=True))
    plain, _ = gradients(objective, batch, "none")
    found, counts = gradients(objective, batch, "full")
    assert counts["aten.silu.default"] == 2
    assert found.keys() == plain.keys()
    assert all(torch.equal(found[name], value) for name, value in plain.items())


def test_checkpointing_of_a_clip_tower_leaves_gradients(
    tiny_model: Callable[..., HP], make_feed: Callable[..., Feed], pick_high: Any
) -> None:
    objective = HPObjective(tiny_model("hp"), HPConfig(name="hp", cache_frozen=False))
    batch = make_feed(objective.hp, pick_high)[0]
    plain, before = gradients(objective, batch, "none")
    for kind in ("selective", "full"):
        found, counts = gradients(objective, batch, kind)
        assert all(torch.equal(found[name], value) for name, value in plain.items())
        assert counts.total() > before.total()
