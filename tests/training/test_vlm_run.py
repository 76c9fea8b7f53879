"""Whole runs of vision-language models: what they leave behind, resuming, what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from visreward.core.errors import UsageError
from visreward.core.types import Sample
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.loading import load_model
from visreward.models.vlm.editreward import EditReward
from visreward.models.vlm.hpsv3 import HPSv3
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.data.batches import readable
from visreward.training.data.reading import read_rows
from visreward.training.modeling.build import build_model
from visreward.training.run import train

MakeRecipe = Callable[..., TrainConfig]
TrainUntil = Callable[[TrainConfig, int], None]
MakeModel = Callable[..., CLIPRewardModel]


def weights_of(config: TrainConfig) -> bytes:
    return (config.output / "model" / "model.safetensors").read_bytes()


def test_train_edits_leaves_a_model_that_scores_edits(
    edit_recipe: MakeRecipe, quiet: Console
) -> None:
    config = edit_recipe(objective={"other_prompt_weight": 0.5})
    metrics = train(config, console=quiet)
    assert set(metrics) == {
        "accuracy",
        "margin",
        "instruction_following_accuracy",
        "visual_quality_accuracy",
    }
    model = load_model(str(config.output / "model"))
    assert isinstance(model, EditReward)
    assert model.facts.needs_source
    row = read_rows(config.data, "val", None)[0]
    samples = [
        Sample(prompt=row.prompts[0], image=readable(image), source_image=readable(row.sources[0]))
        for image in row.images
    ]
    scores = model.score(samples)
    assert {tuple(score.dimensions) for score in scores} == {
        ("instruction_following", "visual_quality")
    }
    assert all(score.sigma is not None and score.sigma > 0 for score in scores)
    card = (config.output / "model" / "README.md").read_text()
    assert 'image="edited.png", source_image="before.png"' in card
    assert "| visual_quality_accuracy |" in card


SINGLE_ROW = {
    "freeze": {"vision": True, "language": True, "embeddings": "reward-token"},
    "optim": {"learning_rates": {"reward_token": 1e-2, "heads": 1e-3}},
    "checkpointing": "full",
}


@pytest.mark.parametrize("sections", [{}, SINGLE_ROW], ids=["all", "reward token"])
def test_train_edits_stopped_and_resumed_gives_the_same_weights(
    edit_recipe: MakeRecipe,
    quiet: Console,
    train_until: TrainUntil,
    sections: dict[str, Any],
) -> None:
    whole = edit_recipe(run="whole", **sections)
    train(whole, console=quiet)
    parts = edit_recipe(run="parts", **sections)
    train_until(parts, 4)
    train(parts, console=quiet)
    assert weights_of(whole) == weights_of(parts)


def test_train_edits_learns_the_rows_that_it_sees(edit_recipe: MakeRecipe, quiet: Console) -> None:
    config = edit_recipe(
        optim={"steps": 60, "batch_size": 4, "learning_rate": 4e-3},
        data={"num_train": 4},
        validate_every=60,
        save_every=60,
    )
    train(config, console=quiet)
    lines = (config.output / "log.jsonl").read_text().splitlines()
    log = [entry for line in lines if (entry := json.loads(line))["kind"] == "train"]
    assert log[-1]["accuracy"] > 0.85 > log[0]["accuracy"]


def test_train_images_leaves_a_model_of_single_images(
    edit_recipe: MakeRecipe, quiet: Console
) -> None:
    config = edit_recipe(kind="hpsv3")
    assert set(train(config, console=quiet)) == {"accuracy", "margin"}
    model = load_model(str(config.output / "model"))
    assert isinstance(model, HPSv3)
    row = read_rows(config.data, "val", None)[0]
    score = model.score([Sample(prompt=row.prompts[0], image=readable(row.images[0]))])[0]
    assert list(score.dimensions) == ["overall"]


def test_train_vision_then_edits_starts_from_the_tower_that_was_trained(
    edit_recipe: MakeRecipe, quiet: Console, tiny_model: MakeModel, tmp_path: Path
) -> None:
    tiny_model("hp", seed=5).save(tmp_path / "teacher")
    vision = edit_recipe(
        run="vision",
        objective={"name": "distillation", "teachers": [str(tmp_path / "teacher")]},
    )
    assert set(train(vision, console=quiet)) == {"explained"}
    seen = load_model(str(vision.output / "model"))
    config = edit_recipe(model={"init": str(vision.output / "model")})
    model = build_model(config.model, [], seed=0)
    assert isinstance(seen, VLMReward)
    assert isinstance(model, VLMReward)
    known = seen.backbone.state_dict()
    assert all(torch.equal(known[name], each) for name, each in model.backbone.state_dict().items())
    assert len(model.inputs.chat.tokenizer) == len(seen.inputs.chat.tokenizer)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"freeze": {"text": True}}, "'editreward' has no such part: it belongs to CLIP models"),
        ({"model": {"vlm": None}}, "is a vision-language model. Give model.vlm"),
        ({"model": {"tokenizer": None}}, "give model.backbone and model.tokenizer"),
        ({"model": {"backbone": {"model_type": "qwen3_vl"}}}, "has the keys .*vision_config"),
        ({"model": {"init": "clip-mini"}}, "'clip-mini' is a 'clipscore'. Start from a vision-"),
        ({"objective": {"name": "ict"}}, "objective 'pairwise' or 'distillation' on data of"),
        (
            {"objective": {"name": "distillation", "teachers": ["ict-hp-mini"]}},
            "objective.teachers 'ict-hp-mini' is a 'ict-hp'. Give a model with CLIP's towers",
        ),
    ],
)
def test_train_edits_impossible_recipe_is_refused(
    edit_recipe: MakeRecipe, quiet: Console, sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train(edit_recipe(**sections), console=quiet)
