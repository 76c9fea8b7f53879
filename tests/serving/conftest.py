"""Real servers, as `visreward serve` starts them, with the models that ship."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from PIL import Image

T = TypeVar("T")

API_KEY = "a-key-of-the-tests-0123456789"
EDIT_MODEL = "editreward-mini"
IMAGE_MODEL = "hp-mini"
START_S = 300.0


@dataclass
class Server:
    """A running server, its log, and the limits that it was started with."""

    process: subprocess.Popen[str]
    log: list[dict[str, Any]] = field(default_factory=list)
    api_key: str | None = None

    def read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.log.append(json.loads(line) if line.startswith("{") else {"event": line})

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in list(self.log) if line["event"] == name]

    @property
    def port(self) -> int:
        return int(wait_for(lambda: self.events("listening"))[0]["port"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def model_pid(self, model: str) -> int:
        return int([e for e in self.events("model ready") if e["model"] == model][-1]["model_pid"])

    def http(self, **options: Any) -> httpx2.Client:
        headers = {} if self.api_key is None else {"authorization": f"Bearer {self.api_key}"}
        headers |= options.pop("headers", {})
        return httpx2.Client(base_url=self.url, headers=headers, timeout=START_S, **options)

    def metric(self, line_start: str) -> float:
        with self.http() as client:
            text = client.get("/metrics").text
        found = [line for line in text.splitlines() if line.startswith(line_start + " ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def is_ready(self) -> bool:
        with self.http() as client:
            return client.get("/ready").status_code == 200

    @contextmanager
    def frozen(self, model: str) -> Iterator[int]:
        """Keep a model from computing during the block."""
        pid = self.model_pid(model)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def wait_for(condition: Callable[[], T], timeout_s: float = START_S) -> T:
    """Return what a condition returns as soon as it is true."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing came of {condition} in {timeout_s} s")


@contextmanager
def running_server(*arguments: str, api_key: str | None = None) -> Iterator[Server]:
    environment = {name: value for name, value in os.environ.items() if name != "VISREWARD_API_KEY"}
    environment["PYTHONWARNINGS"] = "error:::visreward"
    if api_key is not None:
        environment["VISREWARD_API_KEY"] = api_key
    process = subprocess.Popen(
        [sys.executable, "-m", "visreward", "serve", "--port", "0", "--device", "cpu", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    server = Server(process, api_key=api_key)
    reading = threading.Thread(target=server.read_log)
    reading.start()
    try:
        wait_for(lambda: server.events("ready") or process.poll() is not None)
        assert process.poll() is None, server.log
        yield server
    finally:
        process.terminate()
        process.wait(timeout=START_S)
        reading.join()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Return a server with two models, an API key and small limits."""
    limits = {
        "--max-body-bytes": 400_000,
        "--max-images": 8,
        "--max-image-pixels": 250_000,
        "--max-prompt-chars": 100,
        "--max-queue-items": 12,
        "--max-held-bytes": 2_000_000,
    }
    options = [text for name, value in limits.items() for text in (name, str(value))]
    models = ["--model", EDIT_MODEL, "--model", IMAGE_MODEL]
    with running_server(*models, *options, api_key=API_KEY) as running:
        yield running


@pytest.fixture(scope="session")
def open_server() -> Iterator[Server]:
    """Return a server with all that is off by default, and without a key."""
    models = ["--model", "ict-hp-mini", "--model", EDIT_MODEL]
    with running_server(*models, "--allow-urls", "--flow-grpo") as running:
        yield running


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    """Return a client that shows the key; its name is its own."""
    with server.http(headers={"x-visreward-client": f"test-{time.monotonic_ns()}"}) as client:
        yield client


@pytest.fixture(scope="session")
def edits(project_dir: Path) -> dict[str, bytes]:
    """Return the example edits' files by name; `before` is the source image."""
    folder = project_dir / "examples" / "edits"
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.png"))}


@pytest.fixture(scope="session")
def start_server() -> Callable[..., AbstractContextManager[Server]]:
    """Return what starts a server of a test's own: `with start_server("--model", ...)`."""
    return running_server


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """Return what waits until a condition holds: `until(lambda: ...)`."""
    return wait_for


@pytest.fixture(scope="session")
def png() -> Callable[[int, int], bytes]:
    """Return what makes a PNG of one colour, by width and height."""

    def make(width: int, height: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), (200, 30, 60)).save(buffer, format="PNG")
        return buffer.getvalue()

    return make
