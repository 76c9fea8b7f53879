"""Which way of sharing a model among processes a configuration asks for."""

from __future__ import annotations

from accelerate import Accelerator

from visreward.training.config import TrainConfig
from visreward.training.distributed.parallel import Parallel, Sharded
from visreward.training.distributed.zero import Zero
from visreward.training.objectives.base import Objective

STRATEGIES: dict[str, type[Parallel]] = {"ddp": Parallel, "fsdp2": Sharded, "deepspeed": Zero}


def make_parallel(objective: Objective, config: TrainConfig, accelerator: Accelerator) -> Parallel:
    """Return the strategy of the configuration; a single process has nothing to share out."""
    kind = STRATEGIES[config.parallel.strategy] if accelerator.num_processes > 1 else Parallel
    return kind(objective, config, accelerator)
