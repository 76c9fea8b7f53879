"""What the launcher promised, and what takes part."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.console import Console

from visreward.core import extras
from visreward.core.errors import MissingExtraError, UsageError
from visreward.training.config import TrainConfig
from visreward.training.distributed.processes import check_shares, launch_warning
from visreward.training.run import train

MakeRecipe = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    ("environment", "num_processes", "phrase"),
    [
        ({"WORLD_SIZE": "2"}, 1, "the launcher set WORLD_SIZE=2, but 1 process(es) take part"),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, 1, "set OMPI_COMM_WORLD_SIZE=4, but 1 process(es)"),
        ({"SLURM_STEP_NUM_TASKS": "8"}, 1, "SLURM_STEP_NUM_TASKS=8"),
        ({"WORLD_SIZE": "1"}, 2, "WORLD_SIZE=1, but 2 process(es)"),
        # What `accelerate launch --cpu --num_processes 2` sets.
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}, 1, "MASTER_ADDR, as for several"),
    ],
)
def test_launch_warning_another_number_is_told_with_what_to_do(
    environment: dict[str, str], num_processes: int, phrase: str
) -> None:
    warning = launch_warning(environment, num_processes)
    assert warning is not None
    assert phrase in warning
    assert warning.endswith("Launch with: torchrun --nproc_per_node N -m visreward train ...")


@pytest.mark.parametrize(
    ("environment", "num_processes"),
    [
        ({}, 1),
        ({"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}, 2),
        # Two nodes, whose launcher starts eight processes each.
        ({"WORLD_SIZE": "16", "SLURM_STEP_NUM_TASKS": "2"}, 16),
        ({"WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}, 1),
        ({"WORLD_SIZE": ""}, 1),
    ],
)
def test_launch_warning_the_number_promised_is_no_news(
    environment: dict[str, str], num_processes: int
) -> None:
    assert launch_warning(environment, num_processes) is None


def test_batch_that_cannot_be_shared_is_refused_before_anything_is_written(
    recipe: MakeRecipe, quiet: Console
) -> None:
    config = recipe("hp", optim={"batch_size": 6, "accumulation": 4})
    with pytest.raises(UsageError, match=r"batch_size 6 is not a multiple of 1 process\(es\) x 4"):
        train(config, console=quiet)
    assert not config.output.exists()


def test_deepspeed_for_several_processes_has_to_be_installed(
    recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    config = recipe("hp", parallel={"strategy": "deepspeed"})
    check_shares(config, 1)
    with pytest.raises(MissingExtraError, match=r"pip install 'visreward\[deepspeed\]'"):
        check_shares(config, 2)
