"""Many `visreward train` processes at the price of one: all is imported once, then forked.

Run as a program, it takes requests; `TrainServer` is the other end. Each child runs the command
line of the package as a process of its own, with its own signals, limits and exit status.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

IMPORTED = (
    "visreward.cli.main",
    "visreward.cli.train",
    "visreward.training.run",
    "transformers.models.clip.modeling_clip",
    "transformers.models.qwen3_vl.modeling_qwen3_vl",
    "torch.distributed.fsdp",
)


def serve() -> None:
    """Answer requests, one JSON line each, until the input ends."""
    import torch

    torch.set_num_threads(1)
    for name in IMPORTED:
        importlib.import_module(name)
    reply({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            reply({"status": os.waitstatus_to_exitcode(status)})
            continue
        child = os.fork()
        if child == 0:
            run(request)
        reply({"pid": child})


def reply(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def run(request: dict[str, Any]) -> None:
    """Be one process of a training."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["environment"].get("WITH_DEEPSPEED"):
        spare_compilers()
    if request["slow_s"]:
        slow_down(request["slow_s"])
    if request["file_limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_limit"],) * 2)
    sys.argv = ["visreward", "train", *request["arguments"]]
    status: Any = 0
    try:
        importlib.import_module("visreward.cli.main").run()
    except SystemExit as ended:
        status = ended.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


def spare_compilers() -> None:
    """Leave DeepSpeed's collectives for CPUs of one machine out: compiling them takes minutes."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    operators = importlib.import_module("deepspeed.ops")
    operators.__compatible_ops__["deepspeed_shm_comm"] = False


def slow_down(seconds: float) -> None:
    """Give this process a disk that takes a while to store each file."""
    fsync = os.fsync

    def slow_fsync(file: int) -> None:
        time.sleep(seconds)
        fsync(file)

    os.fsync = slow_fsync  # type: ignore[assignment]


@dataclass
class Training:
    """A process that trains."""

    server: TrainServer
    pid: int
    log: Path
    _status: int | None = None

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Return the exit status; that of a process ended by signal n is -n."""
        if self._status is None:
            self._status = self.server.ask({"wait": self.pid})["status"]
        return self._status

    def is_running(self) -> bool:
        stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return stat[0] != "Z"


@dataclass
class TrainServer:
    """Starts trainings."""

    process: subprocess.Popen[str] = field(init=False)

    def __enter__(self) -> TrainServer:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "NO_COLOR": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert self.answer() == {"ready": True}
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def start(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        environment: dict[str, str] | None = None,
        slow_s: float = 0.0,
        file_limit: int = 0,
    ) -> Training:
        """Start `visreward train` with some arguments; its output goes to the end of `log`."""
        request = {
            "arguments": list(arguments),
            "log": str(log),
            "environment": environment or {},
            "slow_s": slow_s,
            "file_limit": file_limit,
        }
        return Training(server=self, pid=self.ask(request)["pid"], log=log)

    def start_many(
        self, num: int, arguments: Sequence[str], *, log: Path, **environment: str
    ) -> list[Training]:
        """Start processes that know each other, as a launcher does."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        known = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(num),
            "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
            **environment,
        }
        return [
            self.start(
                arguments,
                log=log.with_suffix(f".{rank}.txt"),
                environment={**known, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(num)
        ]

    def finish(self, arguments: Sequence[str], *, log: Path, **options: Any) -> str:
        """Run to the end, which has to be a good one; return the output."""
        training = self.start(arguments, log=log, **options)
        assert training.wait() == 0, log.read_text()
        return log.read_text()


if __name__ == "__main__":
    serve()
