"""How several processes train one model: each with all weights (DDP), or each with a part (FSDP2).

accelerate makes the processes known to each other; FSDP2 is torch's own `fully_shard`, because
accelerate uses it on accelerators alone, and a run has to be testable on CPUs.
"""

from __future__ import annotations

import warnings
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from visreward.training.checkpoints.state import TrainState
from visreward.training.config import TrainConfig
from visreward.training.objectives.base import Objective
from visreward.training.optim import count_parameters, make_optimizer, rate_groups


class Parallel:
    """Every process has all weights; gradients are averaged. Also for one process.

    Attributes:
        counts: How many numbers are trained and how many frozen, of the whole model.
        rates: What each part is trained with, as `rate_groups` says it.
        module: What a step calls.
        state: Where the run stands.
    """

    def __init__(self, objective: Objective, config: TrainConfig, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        optimizer = make_optimizer(objective, config.optim)
        # DeepSpeed leaves none of the numbers in its weights, and parts of them in the optimizer.
        self.counts = count_parameters(objective)
        self.rates = [*rate_groups(optimizer)]
        self.module: nn.Module
        self.optimizer: Any  # accelerate's wrapper is no Optimizer to mypy
        self.module, self.optimizer = self._prepare(objective, optimizer)
        self.state = TrainState(module=objective, optimizer=optimizer)

    def _prepare(self, objective: Objective, optimizer: Optimizer) -> tuple[nn.Module, Any]:
        # accelerate wraps for DDP; the state keeps the bare module.
        return self.accelerator.prepare(objective, optimizer)  # type: ignore[no-any-return]

    def backward(self, loss: Tensor, *, is_last: bool) -> None:  # noqa: ARG002
        """Add the gradients of a part of a step; say whether it is the last one."""
        self.accelerator.backward(loss)

    def clip(self, limit: float | None) -> Tensor:
        """Scale all gradients down to a norm of `limit`, and return their norm before."""
        norm = self.accelerator.clip_grad_norm_(
            self.module.parameters(), float("inf") if limit is None else limit
        )
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def step(self) -> None:
        """Take an optimizer step."""
        self.optimizer.step()

    def rest(self) -> None:
        """Give back what a forward pass without a backward pass still holds."""


class Sharded(Parallel):
    """Every process has a part of each weight, its gradient and its moments (FSDP2)."""

    def __init__(self, objective: Objective, config: TrainConfig, accelerator: Accelerator) -> None:
        objective.pass_once()
        # The pooled layer's output is a view; nobody changes it in place.
        warnings.filterwarnings("ignore", message=r"FSDP2-wrapped module .* returned a view")
        # Single numbers cannot be shared out.
        self._numbers = [each for each in objective.parameters() if each.ndim == 0]
        mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
        options: dict[str, Any] = {"mesh": mesh}  # of fully_shard
        if self._numbers:
            options["ignored_params"] = set(self._numbers)
        for each in [*shared_layers(objective), objective]:
            fully_shard(each, **options)
        for name in ("validate", "shown_scores"):
            register_fsdp_forward_method(objective, name)
        super().__init__(objective, config, accelerator)

    def _prepare(self, objective: Objective, optimizer: Optimizer) -> tuple[nn.Module, Any]:
        return objective, optimizer

    def clip(self, limit: float | None) -> Tensor:
        """Average the gradients of single numbers, then do as the parent does."""
        for number in self._numbers:
            if number.grad is not None:
                dist.all_reduce(number.grad)
                number.grad /= self.accelerator.num_processes
        return super().clip(limit)

    def rest(self) -> None:
        """Give back the weights of the other processes."""
        for module in self.module.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


def shared_layers(module: nn.Module) -> list[nn.Module]:
    """Return the modules that FSDP2 gathers each on its own, innermost first.

    They are those that transformers names as not to be split.
    """
    names = {
        name
        for each in module.modules()
        if isinstance(each, PreTrainedModel)
        for name in each._no_split_modules or ()
    }
    found = [
        each
        for each in module.modules()
        # Some of our own classes take the place of such a one.
        if any(parent.__name__ in names for parent in type(each).__mro__)
        and any(True for _ in each.parameters())
    ]
    return found[::-1]
