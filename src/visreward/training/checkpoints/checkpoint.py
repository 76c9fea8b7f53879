"""Checkpoints: each is there whole or not at all, and a damaged one is known as such.

Weights and optimizer are safetensors, the rest is JSON: reading one runs no code. What is saved
belongs to the run as a whole, so that any number of processes can go on with it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from visreward.core.errors import UnsafePickleError, WeightsError
from visreward.training.checkpoints.storage import BUILDING, OLD, building, remove_folder

FOLDER: Final = "checkpoints"
WEIGHTS, MOMENTS, FIGURES = "model.safetensors", "optimizer.safetensors", "state.json"

Warn = Callable[[str], None]

_PICKLES: Final = frozenset({".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"})
_PICKLE_STARTS: Final = (b"\x80", b"PK\x03\x04")
"""How a pickle begins, and the zip file that torch.save puts it into."""


@dataclass(kw_only=True)
class Checkpoint:
    """Everything that changes while training, as whole tensors on the CPU.

    Learning rate, order of the rows and dropout follow from the step, so they are not kept.

    Attributes:
        weights: The module's state by name.
        moments: The optimizer's state by parameter number and name.
        step: Optimizer steps done.
        best: Best value of the primary validation metric so far, or None.
        validated: The step of the last validation, 0 before the first.
        skipped: Training rows that could not be read, and why.
    """

    weights: dict[str, Tensor]
    moments: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    step: int = 0
    best: float | None = None
    validated: int = 0
    skipped: dict[int, str] = field(default_factory=dict)


def find_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, the newest first."""
    places = [
        place
        for place in (folder / FOLDER).glob("step-*")
        if place.is_dir() and place.name.removeprefix("step-").isdigit()
    ]
    return sorted(places, key=_step_of, reverse=True)


def _step_of(place: Path) -> int:
    """Return the step in a checkpoint's name."""
    return int(place.name.removeprefix("step-"))


def save_checkpoint(checkpoint: Checkpoint, folder: Path, *, keep: int = 2) -> None:
    """Write a checkpoint of a run, then remove all but the newest ones.

    Args:
        checkpoint: What to write.
        folder: The run's folder.
        keep: How many are kept, this one included.
    """
    place = folder / FOLDER / f"step-{checkpoint.step:08d}"
    with building(place) as made:
        _write_tensors(checkpoint.weights, made / WEIGHTS)
        moments = {
            f"{index}.{name}": value
            for index, values in checkpoint.moments.items()
            for name, value in values.items()
        }
        _write_tensors(moments, made / MOMENTS)
        figures = {
            "step": checkpoint.step,
            "best": checkpoint.best,
            "validated": checkpoint.validated,
            "skipped": checkpoint.skipped,
            "sha256": {name: _digest(made / name) for name in (WEIGHTS, MOMENTS)},
        }
        (made / FIGURES).write_text(json.dumps(figures) + "\n", encoding="utf-8")
    # What is newer was damaged, or this run would have gone on from there.
    others = [each for each in find_checkpoints(folder) if each != place]
    newer = [each for each in others if _step_of(each) > checkpoint.step]
    older = [each for each in others if _step_of(each) <= checkpoint.step]
    for each in [*newer, *older[keep - 1 :]]:
        remove_folder(each)
    # What a kill left half written or half removed.
    for each in place.parent.iterdir():
        if each.suffix in (BUILDING, OLD):
            shutil.rmtree(each, ignore_errors=True)


def _write_tensors(values: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: value.contiguous() for name, value in values.items()}, path)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_checkpoint(folder: Path, warn: Warn) -> Checkpoint | None:
    """Return the newest checkpoint of a run that is sound, or None where the run has none.

    Args:
        folder: The run's folder.
        warn: Told of each newer one that is damaged, and why.

    Raises:
        WeightsError: if there are some, and all are damaged.
        UnsafePickleError: if a pickle lies in the folder or in a checkpoint.
    """
    places = find_checkpoints(folder)
    for each in [folder, *places] if folder.is_dir() else []:
        _refuse_pickles(path for path in each.iterdir() if path.suffix in _PICKLES)
    faults: list[str] = []
    for number, place in enumerate(places):
        try:
            found = _read(place)
        except (
            SafetensorError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            _refuse_pickles(each for each in place.iterdir() if _starts_like_a_pickle(each))
            fault = f"The checkpoint in {place} is damaged: {_reason(error)}."
            faults.append(fault)
            if number + 1 < len(places):
                warn(f"{fault} Going back to the one before, {places[number + 1].name}.")
        else:
            return found
    if faults:
        raise WeightsError(f"{' '.join(faults)} Delete {folder} to begin the run again.")
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{Path(error.filename).name} is missing"
    if isinstance(error, KeyError):
        return f"{FIGURES} has no {error}"
    return str(error).rstrip(".")


def _read(place: Path) -> Checkpoint:
    figures: Any = json.loads((place / FIGURES).read_text(encoding="utf-8"))  # whatever is there
    if not isinstance(figures, dict):
        raise TypeError(f"{FIGURES} holds a {type(figures).__name__}")
    for name, known in figures["sha256"].items():
        if _digest(place / Path(name).name) != known:
            raise ValueError(f"{name} is not what was written")
    found = Checkpoint(
        weights=load_file(place / WEIGHTS),
        moments=_by_parameter(load_file(place / MOMENTS)),
        step=int(figures["step"]),
        best=figures["best"],
        validated=int(figures["validated"]),
        skipped={int(row): reason for row, reason in figures["skipped"].items()},
    )
    if found.step != _step_of(place):
        raise ValueError(f"{FIGURES} says step {found.step}")
    return found


def _by_parameter(moments: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Return the optimizer's state by parameter number and name."""
    found: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        index, _, name = key.partition(".")
        found.setdefault(int(index), {})[name] = value
    return found


def _refuse_pickles(paths: Iterable[Path]) -> None:
    """Stop at the first of some files.

    Raises:
        UnsafePickleError: naming it.
    """
    for path in paths:
        raise UnsafePickleError(
            f"{path} is a pickle, or named like one, which can run code when it is read. "
            "No checkpoint of visreward holds one: delete it, or give another output=FOLDER."
        )


def _starts_like_a_pickle(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4).startswith(_PICKLE_STARTS)
