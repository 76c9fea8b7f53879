"""Checkpoints: whole or absent, exact, and no way in for a pickle."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from visreward.core.errors import WeightsError
from visreward.training.checkpoint import (
    TrainState,
    find_checkpoint,
    load_checkpoint,
    replace_folder,
    save_checkpoint,
)
from visreward.training.optim import make_optimizer, set_rate
from visreward.training.optim_config import OptimConfig

CONFIG = OptimConfig(steps=10, batch_size=1, learning_rate=0.1, betas=(0.8, 0.9))


def make_state(seed: int = 0, width: int = 3) -> TrainState:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(width, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    return TrainState(module=module, optimizer=make_optimizer(module, CONFIG))


def step(state: TrainState) -> None:
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(state.step))
    set_rate(state.optimizer, state.step, CONFIG)
    state.optimizer.zero_grad()
    torch.autograd.backward(state.module(inputs).square().mean())
    state.optimizer.step()
    state.step += 1


def weights(state: TrainState) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.module.state_dict().items()}


def assert_equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_checkpoint_resumed_training_repeats_every_bit(tmp_path: Path) -> None:
    whole, first, second = make_state(), make_state(), make_state(seed=9)
    for _ in range(4):
        step(whole)
    for _ in range(2):
        step(first)
    first.best = 0.625
    save_checkpoint(first, tmp_path)
    assert load_checkpoint(second, tmp_path)
    assert (second.step, second.best) == (2, 0.625)
    assert_equal(weights(second), weights(first))
    for _ in range(2):
        step(second)
    assert_equal(weights(second), weights(whole))


def test_checkpoint_before_the_first_step_is_kept(tmp_path: Path) -> None:
    save_checkpoint(make_state(), tmp_path)
    state = make_state(seed=4)
    assert load_checkpoint(state, tmp_path)
    assert (state.step, state.best) == (0, None)
    assert_equal(weights(state), weights(make_state()))


def test_checkpoint_absent_changes_nothing(tmp_path: Path) -> None:
    state = make_state()
    before = weights(state)
    assert find_checkpoint(tmp_path) is None
    assert not load_checkpoint(state, tmp_path)
    assert_equal(weights(state), before)


def test_checkpoint_saved_again_replaces_the_last_and_leaves_nothing_else(tmp_path: Path) -> None:
    state = make_state()
    for _ in range(2):
        step(state)
        save_checkpoint(state, tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["last"]
    loaded = make_state(seed=1)
    load_checkpoint(loaded, tmp_path)
    assert loaded.step == 2


class Killed(BaseException):
    """Stands for a process that ends between two system calls."""


@pytest.mark.parametrize("renames_done", [0, 1])
def test_checkpoint_killed_while_it_is_put_in_place_falls_back_to_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames_done: int
) -> None:
    state = make_state()
    step(state)
    save_checkpoint(state, tmp_path)
    kept = weights(state)

    def killed_saves() -> None:
        rename = Path.rename
        left = renames_done

        def counted(self: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return rename(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", counted)
            with pytest.raises(Killed):
                save_checkpoint(state, tmp_path)

    step(state)
    killed_saves()
    resumed = make_state(seed=1)
    assert load_checkpoint(resumed, tmp_path)
    assert resumed.step == 1
    assert_equal(weights(resumed), kept)
    save_checkpoint(state, tmp_path)
    assert load_checkpoint(resumed, tmp_path)
    assert resumed.step == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["last"]


def test_replace_folder_keeps_the_old_one_while_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A kill between the renames left only `.old`; the next save must not delete it first.
    place, old, building = (tmp_path / name for name in ("last", "last.old", "last.building"))
    old.mkdir()
    building.mkdir()

    def killed(self: Path, target: Path) -> Path:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            replace_folder(building, place)
    assert old.is_dir()
    replace_folder(building, place)
    assert place.is_dir()
    assert not old.exists()


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, (str(self.marker), 0o700)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("is_torch_file", [True, False])
def test_checkpoint_with_a_crafted_pickle_is_refused_and_leaves_no_trace(
    tmp_path: Path, name: str, is_torch_file: bool
) -> None:
    marker = tmp_path / "marker"
    save_checkpoint(make_state(), tmp_path)
    place = tmp_path / "last" / name
    if is_torch_file:
        torch.save({"step": Payload(marker)}, place)
    else:
        place.write_bytes(pickle.dumps({"step": Payload(marker)}))
    with pytest.raises(WeightsError, match="damaged"):
        load_checkpoint(make_state(), tmp_path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_checkpoint_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    state = make_state()
    step(state)
    save_checkpoint(state, tmp_path)
    place = tmp_path / "last" / name
    place.write_bytes(place.read_bytes()[:-9])
    with pytest.raises(WeightsError, match=r"last is damaged.*Delete that folder"):
        load_checkpoint(make_state(), tmp_path)


def test_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    save_checkpoint(make_state(width=5), tmp_path)
    with pytest.raises(WeightsError, match="does not fit the recipe's model"):
        load_checkpoint(make_state(), tmp_path)
