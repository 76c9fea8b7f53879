"""Two processes against one: the worker next to this file is what each process runs."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from visreward.models.loading import load_model

WORKER = Path(__file__).with_name("ddp_worker.py")
NUM_PROCESSES = 2
CASES = ("contrastive", "ict-released", "ict-paper", "hp-released", "hp-paper")


class Parallel(NamedTuple):
    """What the processes left: gradients and metrics of each, and the folder of their run."""

    results: list[dict[str, dict[str, Tensor]]]
    metrics: list[dict[str, float]]
    run: Path


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ddp_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def parallel(
    worker: ModuleType,
    pick_high: Path,
    captions: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Parallel:
    output = tmp_path_factory.mktemp("parallel")
    tiny = worker.load_tiny()
    damaged = tiny.write_pick_high(output / "damaged", rows={"train": 12, "val": 4})
    # Both are read in the first epoch, each by one process only.
    for row in (3, 8):
        (damaged / "pick_refine_img" / "train" / f"{row}.png").write_bytes(b"no image")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(NUM_PROCESSES),
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
        "ACCELERATE_USE_CPU": "true",
    }
    folders = [str(folder) for folder in (pick_high, captions, damaged, output)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), *folders],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(NUM_PROCESSES)
    ]
    try:
        logs = [process.communicate(timeout=400)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, log in zip(processes, logs, strict=True):
        assert process.returncode == 0, log
    return Parallel(
        results=[torch.load(output / f"{rank}.pt", weights_only=True) for rank in range(2)],
        metrics=[torch.load(output / f"metrics-{rank}.pt", weights_only=True) for rank in range(2)],
        run=output / "run",
    )


@pytest.mark.parametrize("case", CASES)
def test_two_processes_have_the_loss_and_gradients_of_one(
    parallel: Parallel, worker: ModuleType, pick_high: Path, captions: Path, case: str
) -> None:
    folder = captions if case == "contrastive" else pick_high
    whole: dict[str, Tensor] = worker.run_case(worker.load_tiny(), case, folder)
    # The released arithmetic rounds to bfloat16, whose sums depend on the order of the rows.
    tolerance = 2e-2 if case == "ict-released" else 1e-5
    scale = max(value.abs().max().item() for name, value in whole.items() if name != "loss")
    assert scale > 1e-4
    for result in parallel.results:
        found = result[case]
        assert found.keys() == whole.keys()
        assert found["loss"].item() == pytest.approx(whole["loss"].item(), rel=tolerance)
        for name, value in whole.items():
            if name != "loss":
                torch.testing.assert_close(
                    found[name], value, rtol=tolerance, atol=tolerance * scale
                )


def test_two_processes_agree_on_rows_that_cannot_be_read(parallel: Parallel) -> None:
    skipped = json.loads((parallel.run / "skipped.json").read_text())
    assert sorted(skipped["train"]) == ["3", "8"]
    assert parallel.metrics[0] == parallel.metrics[1]


def test_two_processes_leave_one_log_and_one_model(parallel: Parallel, worker: ModuleType) -> None:
    lines = (parallel.run / "log.jsonl").read_text().splitlines()
    entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [entry["step"] for entry in entries if entry["kind"] == "train"] == [1, 2, 3, 4]
    assert json.loads((parallel.run / "metrics.json").read_text()) == parallel.metrics[0]
    assert load_model(str(parallel.run / "model")).facts.name == "tiny-ict"
