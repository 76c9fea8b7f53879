"""DeepSpeed's ZeRO: gradients and moments are shared out over processes, with stage 3 weights too.

What a run saves is gathered whole, as with every other strategy: DeepSpeed's own checkpoints are
pickles, and belong to one number of processes.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Mapping
from typing import Any, Final

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from visreward.core.errors import UsageError, missing_extra
from visreward.training.checkpoints.state import TrainState
from visreward.training.config import TrainConfig
from visreward.training.distributed.parallel import Parallel
from visreward.training.objectives.base import Objective

MOMENTS: Final = ("exp_avg", "exp_avg_sq")
STEP: Final = "step"


def zero_settings(config: TrainConfig, num_processes: int) -> dict[str, Any]:  # JSON values
    """Return DeepSpeed's configuration of a run: float32, as autocast decides the precision.

    Args:
        config: The run.
        num_processes: How many processes take part.
    """
    optim = config.optim
    return {
        "train_batch_size": optim.batch_size,
        "train_micro_batch_size_per_gpu": optim.batch_size // (num_processes * optim.accumulation),
        "gradient_accumulation_steps": optim.accumulation,
        "gradient_clipping": 0.0 if optim.grad_clip is None else optim.grad_clip,
        "zero_optimization": {"stage": config.parallel.zero_stage or 2},
        # AdamW of torch, so that a run can go on with another strategy.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": optim.steps + 1,
    }


class Zero(Parallel):
    """Every process has a part of gradients and moments, with stage 3 of the weights too."""

    def __init__(self, objective: Objective, config: TrainConfig, accelerator: Accelerator) -> None:
        numbers = [name for name, each in objective.named_parameters() if each.ndim == 0]
        if numbers:
            raise UsageError(
                f"DeepSpeed cannot share out {numbers[0]}, a single number. Give "
                "parallel.strategy=fsdp2."
            )
        objective.pass_once()
        self._config = config
        super().__init__(objective, config, accelerator)
        self.state = ZeroState(
            module=objective, optimizer=self.state.optimizer, engine=self.module, order=self._order
        )

    def _prepare(self, objective: Objective, optimizer: Optimizer) -> tuple[nn.Module, Any]:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # where its notes go for good
                import deepspeed
        except ImportError as error:
            raise missing_extra("deepspeed", "deepspeed") from error
        # Stage 3 cannot see into what an objective takes and returns. It has no weights of its own.
        logging.getLogger("DeepSpeed").addFilter(
            lambda record: "unknown inputs or outputs type" not in record.getMessage()
        )
        warnings.filterwarnings(  # once for each weight and step, under torch 2.13
            "ignore", message=r"`torch\.distributed\.\w+` is deprecated", category=FutureWarning
        )
        # DeepSpeed puts flat tensors in the place of the parameters.
        self._order = [each for group in optimizer.param_groups for each in group["params"]]
        engine, *_ = deepspeed.initialize(
            model=objective,
            optimizer=optimizer,
            config=zero_settings(self._config, self.accelerator.num_processes),
        )
        return engine, engine

    def backward(self, loss: Tensor, *, is_last: bool) -> None:
        """Add the gradients of a part of a step; after the last one they are shared out."""
        self.optimizer.set_gradient_accumulation_boundary(is_last)
        self.optimizer.backward(loss, scale_wrt_gas=False)

    def clip(self, limit: float | None) -> Tensor:  # noqa: ARG002
        """Clip and take the step; DeepSpeed takes none where the norm is not finite."""
        self.optimizer.step()
        return torch.as_tensor(float(self.optimizer.get_global_grad_norm()))

    def step(self) -> None:
        """Do nothing more: `clip` took the step."""


class ZeroState(TrainState):
    """Where a run of DeepSpeed stands."""

    def __init__(
        self,
        *,
        module: nn.Module,
        optimizer: Optimizer,
        engine: Any,  # noqa: ANN401  deepspeed has no types
        order: list[nn.Parameter],
    ) -> None:
        super().__init__(module=module, optimizer=optimizer)
        self.order = order
        zero = engine.optimizer
        shares_weights = engine.zero_optimization_stage() == 3
        self._flat: list[Tensor] = (
            zero.fp32_partitioned_groups_flat
            if shares_weights
            else zero.single_partition_of_fp32_groups
        )
        # Stage 2 looks for the moments of all groups when the first one has them.
        for flat in self._flat:
            optimizer.state[flat] = {
                STEP: torch.zeros((), device=flat.device),
                **{name: torch.zeros_like(flat) for name in MOMENTS},
            }
        if not shares_weights:
            zero._lazy_init_hp_params_optimizer_state()

    def weights_of(self, module: nn.Module) -> dict[str, Tensor]:
        """Return a module's state by name, whole and on the CPU, one tensor at a time."""
        from deepspeed.runtime.zero import GatheredParameters

        found = {}
        for name, value in module.state_dict(keep_vars=True).items():
            with GatheredParameters([value] if isinstance(value, nn.Parameter) else []):
                found[name] = value.detach().to("cpu", copy=True).contiguous()
        return found

    def moments(self) -> dict[int, dict[str, Tensor]]:
        """Return the moments of all parameters, whole and on the CPU."""
        from deepspeed.utils import safe_get_full_optimizer_state

        if self.step == 0:
            return {}
        step = torch.tensor(float(self.step))
        return {
            index: {
                STEP: step.clone(),
                **{
                    name: safe_get_full_optimizer_state(parameter, name).to("cpu").contiguous()
                    for name in MOMENTS
                },
            }
            for index, parameter in enumerate(self.order)
        }

    def take_moments(self, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Give each process its part of the moments."""
        from deepspeed.utils import safe_set_full_optimizer_state

        for flat in self._flat:
            self.optimizer.state[flat][STEP].fill_(self.step)
        for index, values in moments.items():
            parameter = self.order[index]
            for name in MOMENTS:
                safe_set_full_optimizer_state(parameter, values[name].to(parameter.device), name)
