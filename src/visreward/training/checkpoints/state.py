"""The state of a run: from module and optimizer, sharded or not, to whole tensors and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from visreward.core.errors import WeightsError
from visreward.training.checkpoints.checkpoint import Checkpoint
from visreward.training.modeling.lora import kept_names, load_kept_weights


@dataclass(kw_only=True)
class TrainState:
    """Where a run stands.

    Attributes:
        module: What is trained, without what wraps it for several processes.
        optimizer: Its optimizer, likewise.
        step: Optimizer steps done.
        best: Best value of the primary validation metric so far, or None.
        validated: The step of the last validation, 0 before the first.
    """

    module: nn.Module
    optimizer: Optimizer
    step: int = 0
    best: float | None = None
    validated: int = 0

    def checkpoint(self, skipped: Mapping[int, str] | None = None) -> Checkpoint:
        """Return the state in whole tensors on the CPU; every process has to call this.

        Args:
            skipped: Training rows that could not be read, and why.
        """
        kept = kept_names(self.module)
        return Checkpoint(
            weights={
                name: value for name, value in self.weights_of(self.module).items() if name in kept
            },
            moments=self.moments(),
            step=self.step,
            best=self.best,
            validated=self.validated,
            skipped=dict(skipped or {}),
        )

    def weights_of(self, module: nn.Module) -> dict[str, Tensor]:
        """Return a module's state by name, whole and on the CPU; every process has to call this."""
        return {name: whole(value) for name, value in module.state_dict().items()}

    def moments(self) -> dict[int, dict[str, Tensor]]:
        """Return the optimizer's state, likewise, by parameter number and name."""
        return {
            index: {name: whole(value) for name, value in values.items()}
            for index, values in self.optimizer.state_dict()["state"].items()
        }

    def take(self, found: Checkpoint, *, source: str) -> None:
        """Take over figures and the optimizer's state; every process has to call this.

        Raises:
            WeightsError: if it does not fit; `source` is what the message calls it.
        """
        self.step, self.best, self.validated = found.step, found.best, found.validated
        try:
            self.take_moments(found.moments)
        except (RuntimeError, ValueError, IndexError) as error:
            raise _misfit(source, error) from error

    def take_moments(self, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Give the optimizer its state, each process its part."""
        parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
        # The groups come from the recipe, which a resumed run shares.
        groups = self.optimizer.state_dict()["param_groups"]
        state = {
            index: {name: _like(value, parameters[index]) for name, value in values.items()}
            for index, values in moments.items()
        }
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def take_weights(module: nn.Module, found: Checkpoint, *, source: str) -> None:
    """Put the weights of a checkpoint into a module that is not sharded yet.

    Raises:
        WeightsError: if they do not fit; `source` is what the message calls them.
    """
    try:
        load_kept_weights(module, found.weights)
    except RuntimeError as error:
        raise _misfit(source, error) from error


def whole(value: Tensor) -> Tensor:
    """Return a tensor on the CPU, gathered from all processes where it is sharded."""
    gathered = value.full_tensor() if isinstance(value, DTensor) else value
    return gathered.detach().to("cpu").contiguous()


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """Return one number of the optimizer's state as it is, all else sharded like its parameter."""
    if not isinstance(parameter, DTensor) or value.ndim == 0:
        return value
    device = torch.device(parameter.device_mesh.device_type)
    return distribute_tensor(value.to(device), parameter.device_mesh, parameter.placements)


def _misfit(source: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"The checkpoint in {source} does not fit the recipe's model: {error}. "
        "Choose another output folder, or the recipe that began the run."
    )
