"""Two processes against one: the worker next to this file is what each process runs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from visreward.losses.gather import gather_with_grad

WORKER = Path(__file__).with_name("gather_worker.py")
NUM_PROCESSES = 2
GRADIENTS = ("text_weight", "text_bias", "image_weight", "image_bias")


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gather_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def process_results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor | str]]:
    folder = tmp_path_factory.mktemp("gather")
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": loopback,
        "PYTHONWARNINGS": "error::FutureWarning",
    }
    outputs = [folder / f"{rank}.pt" for rank in range(NUM_PROCESSES)]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                str(WORKER),
                str(rank),
                str(NUM_PROCESSES),
                str(folder / "rendezvous"),
                str(output),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank, output in enumerate(outputs)
    ]
    try:
        logs = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, log in zip(processes, logs, strict=True):
        assert process.returncode == 0, log
    return [torch.load(output, weights_only=True) for output in outputs]


def as_tensor(value: Tensor | str) -> Tensor:
    assert isinstance(value, Tensor)
    return value


@pytest.mark.parametrize("name", ["ict", "contrastive"])
def test_gather_two_processes_loss_equals_one_process(
    process_results: list[dict[str, Tensor | str]], worker: ModuleType, name: str
) -> None:
    whole = worker.run_step(worker.make_batch())[name]
    for result in process_results:
        torch.testing.assert_close(as_tensor(result[name]), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", GRADIENTS)
def test_gather_two_processes_mean_gradient_equals_one_process(
    process_results: list[dict[str, Tensor | str]], worker: ModuleType, name: str
) -> None:
    whole = worker.run_step(worker.make_batch())[name]
    parts = [as_tensor(result[name]) for result in process_results]
    assert whole.abs().max() > 1e-3
    assert not torch.allclose(parts[0], parts[1], atol=1e-4)
    torch.testing.assert_close(torch.stack(parts).mean(dim=0), whole, rtol=0, atol=1e-6)


def test_gather_two_processes_rows_come_in_rank_order(
    process_results: list[dict[str, Tensor | str]],
) -> None:
    columns = torch.arange(12.0).reshape(3, 4)[:, ::2]
    for result in process_results:
        assert as_tensor(result["ranks"]).tolist() == [0, 0, 1, 1]
        assert torch.equal(as_tensor(result["strided"]), torch.cat([columns, columns + 100]))


def test_gather_unequal_rows_raises_on_every_process(
    process_results: list[dict[str, Tensor | str]],
) -> None:
    for result in process_results:
        assert "rows of shapes [(2, 3), (3, 3)]" in str(result["shape_error"])
        assert "drop or fill the last batch" in str(result["shape_error"])


def test_gather_without_processes_returns_the_tensor_itself() -> None:
    rows = torch.zeros(3, 2, requires_grad=True)
    assert gather_with_grad(rows) is rows
