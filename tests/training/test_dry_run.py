"""`visreward train --dry-run`: figures that hold, and nothing written."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from typer.testing import CliRunner

from visreward.cli.main import app
from visreward.core.errors import UsageError
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.data.feeds import Feed
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.reading import read_rows
from visreward.training.modeling.build import build_model
from visreward.training.modeling.freezing import freeze
from visreward.training.modeling.trained_model import trained_model
from visreward.training.objectives.pairwise import PairwiseObjective
from visreward.training.options.objective_config import PairwiseConfig
from visreward.training.reporting.dry_run import dry_run
from visreward.training.reporting.estimates import count_tokens, estimate_memory

MakeRecipe = Callable[..., TrainConfig]


def test_dry_run_command_prints_the_run_and_writes_nothing(
    edit_recipe: MakeRecipe, tmp_path: Path
) -> None:
    config = edit_recipe(freeze={"vision": True}, data={"cache_pixels": True})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    before = sorted(str(path) for path in (tmp_path, config.data.path) for path in path.rglob("*"))
    arguments = ["train", str(tmp_path / "recipe.yaml"), "--dry-run"]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    after = sorted(str(path) for path in (tmp_path, config.data.path) for path in path.rglob("*"))
    assert before == after
    model = build_model(config.model, [], seed=0)
    assert isinstance(model, VLMReward)
    num_frozen = sum(p.numel() for p in model.backbone.model.visual.parameters())
    for phrase in (
        f"{num_frozen:,}",
        "10 for training, 3 for validation",
        "tokens per pair",
        "6 of 4 rows",
        "2.40, 2 steps each",
        "optimizer",
        "First batch",
        "7 of 64x64",
        "overall 4, 3, 3, 2.5",
    ):
        assert phrase in result.stdout, phrase


def test_tokens_of_a_row_are_those_of_its_sequences_with_shared_beginnings_once(
    edit_recipe: MakeRecipe,
) -> None:
    config = edit_recipe()
    rows = read_rows(config.data, "train", None)
    model = build_model(config.model, (row.prompts[0] for row in rows), seed=0)
    assert isinstance(model, VLMReward)
    feed = Feed(rows, pixel_reader(model), config=config.data, batch_size=2, seed=0)
    counts = count_tokens(model, feed[0])
    for packed, plain, pairs in zip(counts.packed, counts.plain, counts.pairs, strict=True):
        # six images and two rating prompts each: the source image and its words come once
        assert plain / 6 < packed < plain / 2
        assert 5 <= pairs <= 15


def test_memory_of_weights_gradients_and_moments_is_what_they_take(
    edit_recipe: MakeRecipe,
) -> None:
    config = edit_recipe(freeze={"vision": True})
    rows = read_rows(config.data, "train", None)
    model = build_model(config.model, (row.prompts[0] for row in rows), seed=0)
    assert isinstance(model, VLMReward)
    freeze(model, config.freeze)
    feed = Feed(rows, pixel_reader(model), config=config.data, batch_size=2, seed=0)
    batch = feed[0]
    found = estimate_memory(model, config, batch)
    assert found.weights == sum(4 * p.numel() for p in model.parameters())
    assert isinstance(config.objective, PairwiseConfig)
    objective = PairwiseObjective(model, config.objective)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    kept = 0

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += (
            tensor.numel() * tensor.element_size() * (not isinstance(tensor, torch.nn.Parameter))
        )
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = objective(batch).loss
    loss.backward()
    optimizer.step()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert found.gradients == sum(4 * gradient.numel() for gradient in gradients)
    moments = [
        value
        for state in optimizer.state.values()
        for name, value in state.items()
        if name.startswith("exp_avg")
    ]
    assert found.optimizer == sum(4 * moment.numel() for moment in moments)
    assert kept / 8 < found.activations < 8 * kept


def test_memory_of_a_clip_model_counts_both_towers(
    tiny_model: Callable[..., CLIPRewardModel],
    make_feed: Callable[..., Feed],
    captions: Path,
    recipe: MakeRecipe,
) -> None:
    model = tiny_model("clipscore")
    batch = make_feed(model, captions)[0]
    for kind, outer, inner in (("none", 8, 3), ("selective", 5, 2), ("full", 1, 0)):
        found = estimate_memory(model, recipe("clipscore", checkpointing=kind), batch)
        vision = 24 * 5 * 4 * (outer * 16 + inner * 24)
        text = 24 * 24 * 2 * (outer * 12 + inner * 24)
        assert found.activations == 4 * (vision + text)


@pytest.mark.parametrize(
    ("parallel", "weights", "rest", "copies"),
    [
        ({"strategy": "ddp"}, 1, 1, 2),
        ({"strategy": "fsdp2"}, 4, 4, 2),
        ({"strategy": "deepspeed"}, 1, 4, 3),
        ({"strategy": "deepspeed", "zero_stage": 3}, 4, 4, 3),
    ],
)
def test_memory_of_a_process_is_its_part_of_what_the_strategy_shares_out(
    edit_recipe: MakeRecipe, parallel: dict[str, Any], weights: int, rest: int, copies: int
) -> None:
    config = edit_recipe(parallel=parallel, freeze={"vision": True})
    model = trained_model(config, ["make the red ball blue"])
    assert isinstance(model, VLMReward)
    rows = read_rows(config.data, "train", None)
    batch = Feed(rows, pixel_reader(model), config=config.data, batch_size=4, seed=0)[0]
    alone = estimate_memory(model, config, batch)
    found = estimate_memory(model, config, batch, num_processes=4)
    assert (alone.gathered, alone.optimizer) == (0, 2 * alone.gradients)
    assert found.weights == alone.weights // weights
    assert found.gradients == alone.gradients // rest
    assert found.optimizer == copies * alone.gradients // rest
    assert found.activations < alone.activations
    if weights == 1:
        assert found.gathered == 0
    elif parallel["strategy"] == "deepspeed":
        assert found.gathered == alone.weights
    else:
        blocks = [model.backbone.model.visual.blocks, model.backbone.model.language_model.layers]
        sizes = [sum(4 * p.numel() for p in b.parameters()) for part in blocks for b in part]
        assert found.gathered == alone.weights - sum(sizes) + max(sizes)


@pytest.mark.parametrize("kind", ["bfloat16", "8-bit", "4-bit"])
def test_memory_of_rounded_weights_is_what_they_take_on_their_device(
    edit_recipe: MakeRecipe, kind: str
) -> None:
    pytest.importorskip("peft")
    if kind != "bfloat16":
        pytest.importorskip("bitsandbytes")
    config = edit_recipe(lora={"base_weights": kind, "rank": 2}, precision="bfloat16")
    model = trained_model(config, ["make the red ball blue"])
    rows = read_rows(config.data, "train", None)
    batch = Feed(rows, pixel_reader(model), config=config.data, batch_size=4, seed=0)[0]
    found = estimate_memory(model, config, batch).weights
    model.to("cpu")
    assert found == pytest.approx(
        sum(p.numel() * p.element_size() for p in model.parameters()), rel=0.01
    )


def test_dry_run_of_several_processes_shares_out_the_batch(edit_recipe: MakeRecipe) -> None:
    config = edit_recipe(parallel={"strategy": "fsdp2"})
    text = io.StringIO()
    dry_run(config, console=Console(file=text, width=200), num_processes=2)
    assert "Memory of a process of 2 with fsdp2, roughly" in text.getvalue()
    assert "whole weights" in text.getvalue()
    with pytest.raises(UsageError, match=r"batch_size 4 is not a multiple of 3 process\(es\)"):
        dry_run(config, console=Console(file=text), num_processes=3)
