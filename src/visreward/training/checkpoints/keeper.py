"""What a run writes for all its processes: checkpoints and models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from visreward.core.errors import StorageError, UsageError
from visreward.models.base import RewardModel
from visreward.models.weights import save_native
from visreward.training.checkpoints.checkpoint import (
    Checkpoint,
    find_checkpoints,
    read_checkpoint,
    save_checkpoint,
)
from visreward.training.checkpoints.state import TrainState
from visreward.training.checkpoints.storage import building, storing
from visreward.training.config import TrainConfig
from visreward.training.modeling.native_weights import native_weights

WEIGHTS_DTYPES = {"float32": torch.float32, "float16": torch.float16}


def storing_run(config: TrainConfig) -> AbstractContextManager[None]:
    """Say in a sentence what of a run is intact where the disk takes no more."""

    def advice() -> str:
        places = find_checkpoints(config.output)
        kept = (
            f"The checkpoint {places[0].name} is intact" if places else "There is no checkpoint yet"
        )
        return f"{kept}. Free some room, then run the same command again."

    return storing(f"What belongs into {config.output}", advice)


class Keeper:
    """Reads and writes what outlives a process; every process calls every method."""

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        self.config = config
        self.accelerator = accelerator

    def read(self, warn: Callable[[str], None]) -> Checkpoint | None:
        """Return the checkpoint to go on from, the same in all processes.

        Args:
            warn: Told of each damaged one.

        Raises:
            UsageError: if the processes do not see the same.
        """
        found = read_checkpoint(self.config.output, warn)
        steps = gather_object([None if found is None else found.step])
        if len(set(steps)) > 1:
            raise UsageError(
                f"The processes see checkpoints of the steps {steps} in {self.config.output}. "
                "Give an output=FOLDER on a disk that all of them share."
            )
        return found

    def save(self, state: TrainState, skipped: Mapping[int, str]) -> None:
        """Write a checkpoint.

        Raises:
            StorageError: in all processes, if the disk takes no more.
        """
        found = state.checkpoint(skipped)
        output, keep = self.config.output, self.config.keep_checkpoints
        self._by_main(lambda: save_checkpoint(found, output, keep=keep))

    def save_model(self, state: TrainState, model: RewardModel, folder: Path) -> None:
        """Write a native folder, which replaces one that is there as a whole.

        Raises:
            StorageError: in all processes, if the disk takes no more.
        """
        dtype = WEIGHTS_DTYPES[self.config.weights_dtype]
        weights = native_weights(model, state.weights_of(model))

        def write() -> None:
            with building(folder) as made:
                save_native(model, made, dtype=dtype, weights=weights)

        self._by_main(write)

    def _by_main(self, write: Callable[[], None]) -> None:
        """Let the main process write; where it cannot, stop all processes alike."""
        faults: list[StorageError | None] = [None]
        if self.accelerator.is_main_process:
            try:
                with storing_run(self.config):
                    write()
            except StorageError as error:
                faults = [error]
        fault = broadcast_object_list(faults)[0]
        if fault is not None:
            raise fault
