"""Where the figures of a run go beside its own log: TensorBoard, and Weights & Biases if asked."""

from __future__ import annotations

import uuid
from typing import Any, Protocol

from torch.utils.tensorboard import SummaryWriter

from visreward.data.base import load_optional
from visreward.training.config import TrainConfig

_RUN_ID = "wandb-id"


class Tracker(Protocol):
    """Takes figures by name."""

    def add(self, figures: dict[str, float], step: int) -> None:
        """Take in the figures of a step."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class TensorBoard:
    """Event files in the folder of the run."""

    def __init__(self, config: TrainConfig, *, first_step: int) -> None:
        self._board = SummaryWriter(str(config.output / "tensorboard"), purge_step=first_step + 1)

    def add(self, figures: dict[str, float], step: int) -> None:
        """Take in the figures of a step."""
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._board.close()


class WeightsAndBiases:
    """A run of a project at Weights & Biases; with WANDB_MODE=offline, a folder to sync later.

    The id of the run is kept in its folder, so that a resumed run goes on in the same curves.
    """

    def __init__(self, config: TrainConfig) -> None:
        wandb: Any = load_optional("wandb", extra="wandb")  # ships its types with itself alone
        place = config.output / _RUN_ID
        if not place.is_file():
            place.write_text(uuid.uuid4().hex[:8], encoding="utf-8")
        self._run = wandb.init(
            project=config.wandb_project,
            id=place.read_text(encoding="utf-8"),
            resume="allow",
            name=config.output.name,
            dir=str(config.output),
            config=config.model_dump(mode="json"),
        )
        # Its own count of steps refuses those that a resumed run takes again.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def add(self, figures: dict[str, float], step: int) -> None:
        """Take in the figures of a step."""
        self._run.log({"step": step, **figures})

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()


def open_trackers(config: TrainConfig, *, first_step: int) -> list[Tracker]:
    """Return where the figures of a run go.

    Raises:
        MissingExtraError: if `wandb_project` is given, and wandb is not installed.
    """
    trackers: list[Tracker] = [TensorBoard(config, first_step=first_step)]
    if config.wandb_project is not None:
        trackers.append(WeightsAndBiases(config))
    return trackers
