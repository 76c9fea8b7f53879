"""A server as `visreward serve` starts it, its log, and what each of its processes uses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

START_S = 300.0
_POLL_S = 0.02
_ROLES = {
    "decoder": "visreward.serving.workers.decoder",
    "model": "visreward.serving.workers.model",
}


@dataclass
class Server:
    """A running server, whose log goes to a file: reading it while it comes would cost its cores.

    Attributes:
        lines: Of its log, to be read from the start.
    """

    process: subprocess.Popen[bytes]
    lines: IO[bytes]
    _log: list[dict[str, Any]] = field(default_factory=list)

    @property
    def log(self) -> list[dict[str, Any]]:
        """Return the JSON lines so far."""
        while (line := self.lines.readline()).endswith(b"\n"):
            text = line.decode()
            self._log.append(json.loads(text) if text.startswith("{") else {"event": text})
        self.lines.seek(-len(line), os.SEEK_CUR)  # a line that is not whole yet
        return self._log

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log's lines of one kind."""
        return [line for line in self.log if line["event"] == name]

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        return int(self.events("listening")[0]["port"])

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the body of a route."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self) -> bool:
        """Return whether /ready says so."""
        return self.get("/ready")[0] == 200

    def metric(self, line_start: str) -> float:
        """Return one value of /metrics; 0 where it is not there yet."""
        lines = self.get("/metrics")[1].splitlines()
        found = [line for line in lines if line.startswith(line_start + " ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the processes by what they do: http, decoder, model."""
        parent = psutil.Process(self.process.pid)
        found: dict[str, list[psutil.Process]] = {"http": [parent]}
        for child in parent.children(recursive=True):
            for role, module in _ROLES.items():
                if module in child.cmdline():
                    found.setdefault(role, []).append(child)
        return found

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time used so far, by what processes do."""
        return {
            role: sum(sum(each.cpu_times()[:2]) for each in processes)
            for role, processes in self.processes().items()
        }

    def memory_mib(self) -> dict[str, float]:
        """Return the memory of their own, by what processes do, and that of decoded pictures."""
        own = {
            role: sum(each.memory_full_info().uss for each in processes) / 2**20
            for role, processes in self.processes().items()
        }
        return own | {"pictures": self.metric("visreward_decoded_bytes") / 2**20}

    def pids(self) -> set[int]:
        """Return the ids of all processes."""
        return {each.pid for processes in self.processes().values() for each in processes}


def holds_within(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until a condition holds, for some seconds at most; return whether it does."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > timeout_s:
            return False
        time.sleep(_POLL_S)
    return True


def wait_for(condition: Callable[[], bool], timeout_s: float = START_S) -> float:
    """Wait until a condition holds; return how long that took.

    Raises:
        TimeoutError: if it never does.
    """
    start = time.monotonic()
    if not holds_within(condition, timeout_s):
        raise TimeoutError(f"Waited {timeout_s} s for nothing. See the server's log.")
    return time.monotonic() - start


@contextmanager
def running_server(
    models: Sequence[str], options: Sequence[str] = (), *, threads: int | None = None
) -> Iterator[Server]:
    """Start a server on a free port, and end it after the block.

    Args:
        models: Names of models to serve.
        options: More of `visreward serve`.
        threads: Of torch; None leaves the choice to torch.
    """
    named = [text for model in models for text in ("--model", model)]
    with tempfile.NamedTemporaryFile() as log, Path(log.name).open("rb") as lines:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "visreward", "serve", "--port", "0", "--device", "cpu"),
                *named,
                *options,
            ],
            stderr=log,
            env=environment(threads),
        )
        server = Server(process, lines)
        try:
            wait_for(lambda: bool(server.events("ready")) or process.poll() is not None)
            if process.poll() is not None:
                raise RuntimeError(f"The server ended before it was ready: {server.log}")
            yield server
        finally:
            process.terminate()
            process.wait(timeout=START_S)


def environment(threads: int | None) -> dict[str, str]:
    """Return a child's environment, with a number of threads for torch."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    found = {
        name: value
        for name, value in os.environ.items()
        if name not in (*names, "VISREWARD_API_KEY")
    }
    return found | dict.fromkeys(names, str(threads)) if threads else found
