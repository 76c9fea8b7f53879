"""Checkpoints: written beside and renamed, so that one is there whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from visreward.core.errors import WeightsError

LAST = "last"


@dataclass(kw_only=True)
class TrainState:
    """Everything that changes while training.

    Attributes:
        step: Optimizer steps done.
        best: Best value of the primary validation metric so far, or None.
    """

    module: nn.Module
    optimizer: Optimizer
    schedule: LambdaLR
    step: int = 0
    best: float | None = None


def save_checkpoint(state: TrainState, folder: Path) -> None:
    """Write the last checkpoint of a run."""
    building = folder / f"{LAST}.building"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    save_file(
        {name: value.contiguous() for name, value in state.module.state_dict().items()},
        building / "model.safetensors",
    )
    torch.save(
        {
            "step": state.step,
            "best": state.best,
            "optimizer": state.optimizer.state_dict(),
            "schedule": state.schedule.state_dict(),
            "random": _random_state(),
        },
        building / "state.pt",
    )
    old = folder / f"{LAST}.old"
    place = folder / LAST
    shutil.rmtree(old, ignore_errors=True)
    if place.is_dir():
        place.rename(old)
    building.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(state: TrainState, folder: Path) -> bool:
    """Bring a run back to its last checkpoint; return whether there was one.

    Raises:
        WeightsError: if the checkpoint does not fit the model.
    """
    place = folder / LAST
    if not place.is_dir():
        place = folder / f"{LAST}.old"
    if not place.is_dir():
        return False
    try:
        state.module.load_state_dict(load_file(place / "model.safetensors"), strict=True)
    except RuntimeError as error:
        raise WeightsError(
            f"The checkpoint in {place} does not fit the recipe's model: {error}. "
            "Choose another output folder, or the recipe that began the run."
        ) from error
    saved = torch.load(place / "state.pt", weights_only=True)
    state.step, state.best = saved["step"], saved["best"]
    state.optimizer.load_state_dict(saved["optimizer"])
    state.schedule.load_state_dict(saved["schedule"])
    _set_random_state(saved["random"])
    return True


def _random_state() -> dict[str, Any]:  # tensors by name
    """Return what dropout draws from; nothing else in a run is random."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def _set_random_state(state: dict[str, Any]) -> None:  # tensors by name
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
