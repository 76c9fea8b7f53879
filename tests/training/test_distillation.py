"""A vision tower that learns what other towers see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from visreward.models.clip.family import CLIPRewardModel
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.data.feeds import Feed
from visreward.training.data.frozen import hidden_states
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.reading import read_rows
from visreward.training.modeling.build import build_model
from visreward.training.objectives.distillation import DistillationObjective

MakeRecipe = Callable[..., TrainConfig]
MakeModel = Callable[..., CLIPRewardModel]


def build(recipe: TrainConfig) -> tuple[VLMReward, Feed]:
    rows = read_rows(recipe.data, "train", None)
    model = build_model(recipe.model, [row.prompts[0] for row in rows], seed=0)
    assert isinstance(model, VLMReward)
    feed = Feed(rows, pixel_reader(model), config=recipe.data, batch_size=2, seed=1)
    return model, feed


def test_distillation_targets_are_the_teachers_patches_resized_to_the_tokens(
    edit_recipe: MakeRecipe, tiny_model: MakeModel
) -> None:
    model, feed = build(edit_recipe())
    teacher = tiny_model("hp", seed=5).eval()
    objective = DistillationObjective(model, teachers=[teacher])
    pixels = feed[0].pixels
    assert pixels is not None
    image = pixels[0][0]
    # 64 px of 16 px patches, four of which make a token; the teacher sees 16 px as 2 x 2 patches.
    wanted = objective._wanted([image])[0]
    assert wanted.shape == (4, 16)
    small = functional.interpolate(image[None].float(), 16, mode="bicubic", antialias=True)
    shown = teacher.pixel_inputs.normalise(small.clamp(0, 255).round().byte())
    states = hidden_states(teacher.backbone, shown, num_layers=3)[0, 1:]
    expected = functional.layer_norm(states, (16,))
    # Resized across and down at once or one after the other: a level of grey apart at most.
    assert (wanted - expected).abs().mean() < 0.05


def test_distillation_trains_the_vision_tower_alone(
    edit_recipe: MakeRecipe, tiny_model: MakeModel
) -> None:
    model, feed = build(edit_recipe())
    teachers = [tiny_model("hp", seed=5).eval(), tiny_model("ict", seed=6).eval()]
    objective = DistillationObjective(model, teachers=teachers)
    batch = feed[0]
    before = objective(batch)
    before.loss.backward()
    trained = {name for name, each in model.named_parameters() if each.grad is not None}
    vision = {name for name, _ in model.named_parameters() if ".visual." in name}
    assert trained == vision
    assert all(each.grad is None for teacher in teachers for each in teacher.parameters())
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        output = objective(batch)
        output.loss.backward()
        optimizer.step()
    assert output.loss.item() < 0.7 * before.loss.item()
    found = objective.validate(batch)["explained"]
    assert found.shape == (2,)
    assert found[0].item() == pytest.approx(1 - objective(batch).loss.item(), abs=1e-5)


def test_distillation_keeps_teachers_out_of_what_is_saved(
    edit_recipe: MakeRecipe, tiny_model: MakeModel
) -> None:
    model, _ = build(edit_recipe())
    objective = DistillationObjective(model, teachers=[tiny_model("hp", seed=5)])
    assert {name.partition(".")[0] for name in objective.state_dict()} == {"model", "maps"}
