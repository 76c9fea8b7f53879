"""Checkpoints: written beside and renamed, so that one is there whole or not at all.

Weights and optimizer are safetensors, the rest is JSON: reading one runs no code.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from visreward.core.errors import WeightsError
from visreward.training.lora import kept_names, load_kept_weights

LAST = "last"
WEIGHTS, MOMENTS, FIGURES = "model.safetensors", "optimizer.safetensors", "state.json"


@dataclass(kw_only=True)
class TrainState:
    """Everything that changes while training.

    Learning rate, order of the rows and dropout follow from the step, so they are not kept.

    Attributes:
        step: Optimizer steps done.
        best: Best value of the primary validation metric so far, or None.
    """

    module: nn.Module
    optimizer: Optimizer
    step: int = 0
    best: float | None = None


def replace_folder(building: Path, place: Path) -> None:
    """Put a finished folder in the place of another.

    A kill at any moment leaves a whole folder at `place` or at `place` with `.old` added.
    """
    old = place.with_name(f"{place.name}.old")
    if place.is_dir():
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    building.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def find_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint of a run, or None where there is none."""
    for name in (LAST, f"{LAST}.old"):
        if (folder / name).is_dir():
            return folder / name
    return None


def save_checkpoint(state: TrainState, folder: Path) -> None:
    """Write the last checkpoint of a run."""
    building = folder / f"{LAST}.building"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    kept = kept_names(state.module)
    save_file(
        {
            name: value.contiguous()
            for name, value in state.module.state_dict().items()
            if name in kept
        },
        building / WEIGHTS,
    )
    moments = state.optimizer.state_dict()["state"]
    save_file(
        {
            f"{index}.{name}": value.contiguous()
            for index, values in moments.items()
            for name, value in values.items()
        },
        building / MOMENTS,
    )
    figures = {"step": state.step, "best": state.best}
    (building / FIGURES).write_text(json.dumps(figures) + "\n", encoding="utf-8")
    replace_folder(building, folder / LAST)


def load_checkpoint(state: TrainState, folder: Path) -> bool:
    """Bring a run back to its last checkpoint; return whether there was one.

    Raises:
        WeightsError: if the checkpoint is damaged or does not fit the model.
    """
    place = find_checkpoint(folder)
    if place is None:
        return False
    try:
        weights, moments = load_file(place / WEIGHTS), load_file(place / MOMENTS)
        figures = json.loads((place / FIGURES).read_text(encoding="utf-8"))
        step, best = int(figures["step"]), figures["best"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"The checkpoint in {place} is damaged: {error}. "
            "Delete that folder to begin the run again."
        ) from error
    try:
        load_kept_weights(state.module, weights)
        # The groups come from the recipe, which a resumed run shares.
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": _by_parameter(moments), "param_groups": groups})
    except (RuntimeError, ValueError) as error:
        raise WeightsError(
            f"The checkpoint in {place} does not fit the recipe's model: {error}. "
            "Choose another output folder, or the recipe that began the run."
        ) from error
    state.step, state.best = step, best
    return True


def _by_parameter(moments: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Return the optimizer's state by parameter number and name."""
    found: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        index, _, name = key.partition(".")
        found.setdefault(int(index), {})[name] = value
    return found
