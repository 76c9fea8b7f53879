"""This process and its like: which take part, on which device, in which precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from visreward.core.errors import UsageError
from visreward.core.extras import require_extra
from visreward.models.devices import find_device, is_native
from visreward.training.config import TrainConfig

SIZE_NAMES: Final = (
    "WORLD_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS",
)
"""Where torchrun, mpirun and srun say how many processes they start; the first one set counts."""


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Return accelerate's view of this process, its device and its precision.

    Raises:
        UsageError: if the launcher asks for sharding of its own, or `device` is not there.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device is 'cuda', but no CUDA device is found. Use device=cpu.")
    # One process may train several recipes, each in its own precision.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        cpu=config.device == "cpu" or (config.device == "auto" and not torch.cuda.is_available()),
        mixed_precision="bf16" if config.precision == "bfloat16" else "no",
    )
    sharded = (DistributedType.FSDP, DistributedType.DEEPSPEED)
    if accelerator.distributed_type in sharded:
        raise UsageError(
            f"The launcher asks for {accelerator.distributed_type.value}, but the recipe decides "
            "how a model is shared out. Launch plainly (torchrun, or accelerate launch "
            "--multi_gpu), and give parallel.strategy=fsdp2."
        )
    return accelerator


def launch_warning(environment: Mapping[str, str], num_processes: int) -> str | None:
    """Return what to tell where a launcher promised another number of processes, or None.

    accelerate's launcher was seen to start one process, and to say nothing, when it was asked
    for two on a CPU: it sets an address to meet at, and no number.

    Args:
        environment: The environment variables.
        num_processes: How many really take part.
    """
    named = next((name for name in SIZE_NAMES if environment.get(name, "").isdigit()), None)
    if named is not None:
        promised = f"{named}={environment[named]}"
        is_kept = int(environment[named]) == num_processes
    else:
        promised = "MASTER_ADDR, as for several processes"
        is_kept = "MASTER_ADDR" not in environment or num_processes > 1
    if is_kept:
        return None
    return (
        f"Warning: the launcher set {promised}, but {num_processes} process(es) take part in this "
        "training. Launch with: torchrun --nproc_per_node N -m visreward train ..."
    )


def check_shares(config: TrainConfig, num_processes: int) -> None:
    """Stop where so many processes cannot share out a batch evenly, or lack what they share with.

    Raises:
        UsageError: if the batch size is not a multiple.
        MissingExtraError: if DeepSpeed is asked for and not installed.
    """
    if config.parallel.strategy == "deepspeed" and num_processes > 1:
        require_extra("deepspeed", "deepspeed")
    optim = config.optim
    if optim.batch_size % (num_processes * optim.accumulation):
        raise UsageError(
            f"optim.batch_size {optim.batch_size} is not a multiple of {num_processes} process(es) "
            f"x {optim.accumulation} accumulation steps. Choose a multiple."
        )


def with_precision(config: TrainConfig) -> TrainConfig:
    """Return the configuration with `precision` auto decided by the device."""
    if config.precision != "auto":
        return config
    fast = is_native(torch.bfloat16, find_device(config.device))
    return config.model_copy(update={"precision": "bfloat16" if fast else "float32"})
