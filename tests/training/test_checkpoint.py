"""Checkpoints: whole or absent, exact, and no way in for a pickle."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from visreward.core.errors import UnsafePickleError, WeightsError
from visreward.training.checkpoints.checkpoint import (
    Checkpoint,
    find_checkpoints,
    read_checkpoint,
    save_checkpoint,
)
from visreward.training.checkpoints.state import TrainState, take_weights
from visreward.training.optim import make_optimizer, set_rate
from visreward.training.options.optim_config import OptimConfig

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


def save(state: TrainState, folder: Path, *, keep: int = 2) -> None:
    save_checkpoint(state.checkpoint(), folder, keep=keep)


def saved_twice(folder: Path) -> dict[int, dict[str, Tensor]]:
    """Leave checkpoints of the steps 1 and 2; return the weights of both."""
    state = make_state()
    found = {}
    for _ in range(2):
        step(state)
        save(state, folder)
        found[state.step] = weights(state)
    return found


def never(fault: str) -> None:
    raise AssertionError(fault)


def load(state: TrainState, folder: Path, *, warnings: list[str] | None = None) -> Checkpoint:
    found = read_checkpoint(folder, never if warnings is None else warnings.append)
    assert found is not None
    take_weights(state.module, found, source=str(folder))
    state.take(found, source=str(folder))
    return found


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in (folder / "checkpoints").iterdir())


def test_checkpoint_resumed_training_repeats_every_bit(tmp_path: Path) -> None:
    whole, first, second = make_state(), make_state(), make_state(seed=9)
    for _ in range(4):
        step(whole)
    for _ in range(2):
        step(first)
    first.best, first.validated = 0.625, 1
    save_checkpoint(first.checkpoint({7: "no image"}), tmp_path)
    assert load(second, tmp_path).skipped == {7: "no image"}
    assert (second.step, second.best, second.validated) == (2, 0.625, 1)
    assert_equal(weights(second), weights(first))
    for _ in range(2):
        step(second)
    assert_equal(weights(second), weights(whole))


def test_checkpoint_before_the_first_step_is_kept(tmp_path: Path) -> None:
    save(make_state(), tmp_path)
    state = make_state(seed=4)
    load(state, tmp_path)
    assert (state.step, state.best) == (0, None)
    assert_equal(weights(state), weights(make_state()))


def test_checkpoint_absent_is_none(tmp_path: Path) -> None:
    assert find_checkpoints(tmp_path) == []
    assert read_checkpoint(tmp_path, never) is None
    assert read_checkpoint(tmp_path / "nowhere", never) is None


@pytest.mark.parametrize("keep", [1, 3])
def test_checkpoints_saved_one_after_the_other_leave_the_newest(tmp_path: Path, keep: int) -> None:
    state = make_state()
    for _ in range(5):
        step(state)
        save(state, tmp_path, keep=keep)
    assert names(tmp_path) == [f"step-{number:08d}" for number in range(6 - keep, 6)]
    loaded = make_state(seed=1)
    load(loaded, tmp_path)
    assert loaded.step == 5
    assert_equal(weights(loaded), weights(state))


class Killed(BaseException):
    """Stands for a process that ends between two system calls."""


@pytest.mark.parametrize("renames_done", [0, 1])
def test_checkpoint_killed_between_two_renames_leaves_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames_done: int
) -> None:
    # The renames: the new checkpoint into its place, the oldest one out of its place.
    known = saved_twice(tmp_path)
    state = make_state()
    load(state, tmp_path)
    step(state)
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
            save(state, tmp_path)
    resumed = make_state(seed=1)
    load(resumed, tmp_path)
    assert resumed.step == 2 + renames_done
    assert_equal(weights(resumed), weights(state) if renames_done else known[2])
    save(state, tmp_path)
    assert names(tmp_path) == ["step-00000002", "step-00000003"]


FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


def damage(place: Path, how: str) -> None:
    content = place.read_bytes()
    if how == "missing":
        place.unlink()
    elif how == "truncated":
        place.write_bytes(content[:-9])
    elif how == "empty":
        place.write_bytes(b"")
    elif how == "other":
        place.write_text("[1, 2]")
    else:
        place.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])


@pytest.mark.parametrize("how", ["missing", "truncated", "empty", "other", "one bit"])
@pytest.mark.parametrize("name", FILES)
def test_checkpoint_damaged_falls_back_to_the_one_before_and_says_why(
    tmp_path: Path, name: str, how: str
) -> None:
    known = saved_twice(tmp_path)
    newest = tmp_path / "checkpoints" / "step-00000002"
    damage(newest / name, how)
    warnings: list[str] = []
    state = make_state(seed=1)
    load(state, tmp_path, warnings=warnings)
    assert state.step == 1
    assert_equal(weights(state), known[1])
    (warning,) = warnings
    assert warning.startswith(f"The checkpoint in {newest} is damaged: ")
    assert warning.endswith(". Going back to the one before, step-00000001.")
    if how != "one bit" or name != "state.json":
        assert name in warning or how in ("truncated", "empty", "other")
    step(state)
    save(state, tmp_path)
    assert_equal(weights(state), known[2])
    load(make_state(), tmp_path)


def test_checkpoint_of_a_later_step_than_the_sound_one_goes_when_the_next_is_saved(
    tmp_path: Path,
) -> None:
    state = make_state()
    for _ in range(4):
        step(state)
        save(state, tmp_path, keep=4)
    for number in (3, 4):
        damage(tmp_path / "checkpoints" / f"step-{number:08d}" / "state.json", "empty")
    warnings: list[str] = []
    load(state, tmp_path, warnings=warnings)
    assert len(warnings) == 2
    step(state)
    save(state, tmp_path, keep=4)
    assert names(tmp_path) == [f"step-{number:08d}" for number in (1, 2, 3)]


def test_checkpoints_all_damaged_stop_with_what_is_wrong_with_each(tmp_path: Path) -> None:
    saved_twice(tmp_path)
    for number, name in ((1, "state.json"), (2, "model.safetensors")):
        damage(tmp_path / "checkpoints" / f"step-0000000{number}" / name, "missing")
    with pytest.raises(
        WeightsError,
        match=r"step-00000002 is damaged: model.safetensors is missing\. "
        r".*step-00000001 is damaged: state.json is missing\. Delete .* to begin the run again\.",
    ):
        read_checkpoint(tmp_path, print)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, (str(self.marker), 0o700)


def write_pickle(place: Path, marker: Path, *, is_torch_file: bool) -> None:
    if is_torch_file:
        torch.save({"step": Payload(marker)}, place)
    else:
        place.write_bytes(pickle.dumps({"step": Payload(marker)}))


@pytest.mark.parametrize("name", [*FILES, "optimizer.pt", "rng.pth", "pytorch_model.bin"])
@pytest.mark.parametrize("is_torch_file", [True, False])
def test_checkpoint_with_a_crafted_pickle_is_refused_and_leaves_no_trace(
    tmp_path: Path, name: str, is_torch_file: bool
) -> None:
    marker = tmp_path / "marker"
    saved_twice(tmp_path)
    place = tmp_path / "checkpoints" / "step-00000002" / name
    write_pickle(place, marker, is_torch_file=is_torch_file)
    with pytest.raises(UnsafePickleError, match=rf"{name} is a pickle, or named like one"):
        read_checkpoint(tmp_path, never)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists()


def test_checkpoint_beside_a_crafted_pickle_in_the_run_folder_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    write_pickle(tmp_path / "optimizer.pt", marker, is_torch_file=True)
    with pytest.raises(UnsafePickleError, match=r"optimizer\.pt is a pickle.*delete it"):
        read_checkpoint(tmp_path, never)
    assert not marker.exists()


def test_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    save(make_state(width=5), tmp_path)
    with pytest.raises(WeightsError, match="does not fit the recipe's model"):
        load(make_state(), tmp_path)
