"""One step at a time: accumulation, clipping, shares, and what accelerate may not do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from rich.console import Console
from torch import Tensor, nn

from visreward.core.errors import NonFiniteError, UsageError
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.training.config import TrainConfig
from visreward.training.data.feeds import Feed
from visreward.training.data.frozen import ICT_SCORES
from visreward.training.distributed import processes
from visreward.training.distributed.processes import make_accelerator, with_precision
from visreward.training.objectives.hp import HPObjective
from visreward.training.options.objective_config import HPConfig
from visreward.training.trainer import Trainer

MakeRecipe = Callable[..., TrainConfig]
MakeModel = Callable[..., CLIPRewardModel]
MakeFeed = Callable[..., Feed]
MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def make_trainer(
    tiny_model: MakeModel,
    make_feed: MakeFeed,
    pick_high: Path,
    recipe: MakeRecipe,
    quiet: Console,
) -> MakeTrainer:
    """Return a function that makes a trainer of HP without dropout and batch statistics."""

    def make(**optim: Any) -> Trainer:
        config = recipe("hp", optim=optim)
        model = tiny_model("hp", stem=False)
        assert isinstance(model, HP)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return Trainer(
            config,
            HPObjective(model, HPConfig(name="hp", margin=0.3)),
            train_feed=make_feed(model, pick_high),
            validation_feed=make_feed(model, pick_high, split="val", shuffle=False),
            accelerator=make_accelerator(config),
            console=quiet,
        )

    return make


def gradients(trainer: Trainer) -> dict[str, Tensor]:
    return {
        name: parameter.grad.clone()
        for name, parameter in trainer.objective.named_parameters()
        if parameter.grad is not None
    }


def test_step_accumulated_in_parts_has_the_gradient_of_the_whole_batch(
    make_trainer: MakeTrainer,
) -> None:
    found = []
    for accumulation in (1, 2, 3):
        trainer = make_trainer(accumulation=accumulation, grad_clip=None)
        output, _, _ = trainer._step(trainer.train_feed[0])
        found.append((output.loss.item(), gradients(trainer)))
    for loss, parts in found[1:]:
        assert loss == pytest.approx(found[0][0], abs=1e-6)
        for name, gradient in found[0][1].items():
            torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-7)


def test_step_clips_the_gradient_and_reports_its_norm_before(make_trainer: MakeTrainer) -> None:
    def norm(trainer: Trainer) -> float:
        return float(torch.cat([g.flatten() for g in gradients(trainer).values()]).norm())

    free, clipped = make_trainer(grad_clip=None), make_trainer(grad_clip=1e-3)
    _, _, norm_before = free._step(free.train_feed[0])
    assert norm(free) == pytest.approx(norm_before, rel=1e-4)
    assert norm_before > 1e-2
    _, _, reported = clipped._step(clipped.train_feed[0])
    assert reported == pytest.approx(norm_before, rel=1e-5)
    assert norm(clipped) == pytest.approx(1e-3, rel=1e-2)


def test_step_with_a_bad_sample_names_it_alone_with_its_files(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(accumulation=2)
    before = {name: value.clone() for name, value in trainer.objective.state_dict().items()}
    scores = torch.rand(24, 3)
    row = trainer.train_feed.row_ids(0)[4]
    scores[row] = float("nan")
    trainer.train_feed.extra[ICT_SCORES] = scores
    easy, refined = "pick_easy_img/train", "pick_refine_img/train"
    named = f"row {row} ({easy}/{row}_0.png, {easy}/{row}_1.png, {refined}/{row}.png)."
    with pytest.raises(NonFiniteError, match=re.escape(f"is nan at step 1, {named} No step was")):
        trainer._step(trainer.train_feed[0])
    assert trainer.state.step == 0
    assert all(torch.equal(before[name], v) for name, v in trainer.objective.state_dict().items())


def test_step_with_a_bad_gradient_alone_names_all_its_rows(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer()
    weight = next(p for p in trainer.objective.parameters() if p.requires_grad)
    weight.register_hook(lambda gradient: gradient * float("inf"))
    rows = trainer.train_feed.row_ids(0)
    with pytest.raises(NonFiniteError) as raised:
        trainer._step(trainer.train_feed[0])
    assert [f" {row} (pick" in str(raised.value) for row in rows] == [True] * 6


def test_trainer_saves_over_an_older_model_as_a_whole(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer = make_trainer()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "left-over.txt").write_text("of another model")
    trainer.save_model(tmp_path / "model")
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    assert not (tmp_path / "model" / "left-over.txt").exists()
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_accelerator_changes_its_precision_within_one_process(recipe: MakeRecipe) -> None:
    found = [
        make_accelerator(recipe("hp", precision=precision)).mixed_precision
        for precision in ("float32", "bfloat16", "float32")
    ]
    assert found == ["no", "bf16", "no"]


@pytest.mark.parametrize(("native", "decided"), [(True, "bfloat16"), (False, "float32")])
def test_precision_auto_follows_the_device(
    recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, native: bool, decided: str
) -> None:
    monkeypatch.setattr(processes, "is_native", lambda dtype, device: native)
    assert with_precision(recipe("hp", precision="auto")).precision == decided
    for asked in ("float32", "bfloat16"):
        assert with_precision(recipe("hp", precision=asked)).precision == asked


def test_accelerator_sharded_by_the_launcher_is_refused(
    recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType.FSDP)
    with pytest.raises(UsageError, match=r"asks for FSDP, but the recipe.*strategy=fsdp2"):
        make_accelerator(recipe("hp"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_accelerator_without_a_cuda_device_says_so(recipe: MakeRecipe) -> None:
    with pytest.raises(UsageError, match=r"no CUDA device is found. Use device=cpu"):
        make_accelerator(recipe("hp", device="cuda"))
