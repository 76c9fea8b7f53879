"""A real HTTP server on loopback that answers as a judge would, and misbehaves when told to."""

from __future__ import annotations

import base64
import io
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from visreward.core.types import Sample
from visreward.data.preferences import JudgedImage, PreferenceRow
from visreward.evaluation.benchmarks.records import BenchGroup
from visreward.evaluation.judges import load_judge
from visreward.evaluation.judges.comparisons import ComparingJudge
from visreward.evaluation.judges.scores import ScoreJudge


@dataclass(frozen=True)
class Ask:
    """A request as the server got it."""

    body: dict[str, Any]
    headers: dict[str, str]
    path: str
    num: int
    """How often this body has come, this time included."""
    total: int
    """How many requests have come, this one included."""

    @property
    def content(self) -> list[dict[str, Any]]:
        return list(self.body["messages"][0]["content"])

    @property
    def text(self) -> str:
        return "".join(part.get("text", "<IMAGE>") for part in self.content)

    @property
    def pictures(self) -> list[Image.Image]:
        found: list[Image.Image] = []
        for part in self.content:
            if part["type"] == "image_url":
                data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                found.append(Image.open(io.BytesIO(data)))
        return found

    @property
    def redness(self) -> list[float]:
        return [float(np.asarray(picture)[..., 0].mean()) for picture in self.pictures]


@dataclass(frozen=True)
class Reply:
    """What the server does: answers, or misbehaves."""

    text: str | None = "[[5]]"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish_reason: str | None = "stop"
    refusal: str | None = None
    usage: Any = field(default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 10})
    raw: bytes | None = None
    """Instead of a completion."""
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""
    reset: bool = False
    """Reset the connection instead of answering."""
    hangs: bool = False
    """Send a byte at a time without end, until the server stops."""

    @property
    def data(self) -> bytes:
        if self.raw is not None:
            return self.raw
        message = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        payload = {
            "model": "served-1",
            "choices": [{"message": message, "finish_reason": self.finish_reason}],
            "usage": self.usage,
        }
        return json.dumps(payload).encode()


class JudgeServer:
    """The server, what it was asked, and how many requests were open at once."""

    Reply = Reply

    def __init__(self) -> None:
        self.asks: list[Ask] = []
        self.answers: Callable[[Ask], Reply] = lambda ask: Reply()
        self.most_open = 0
        self.stopping = threading.Event()
        self._bodies: Counter[str] = Counter()
        self._open = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def asked_twice(self) -> int:
        return sum(num - 1 for num in self._bodies.values())

    def close(self) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def begin(self, data: bytes, headers: dict[str, str], path: str) -> Ask:
        with self._lock:
            self._open += 1
            self.most_open = max(self.most_open, self._open)
            self._bodies[data.decode()] += 1
            num = self._bodies[data.decode()]
            ask = Ask(json.loads(data), headers, path, num, len(self.asks) + 1)
            self.asks.append(ask)
        return ask

    def end(self) -> None:
        with self._lock:
            self._open -= 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                ask = server.begin(data, dict(self.headers.items()), self.path)
                try:
                    reply = server.answers(ask)
                finally:
                    # Before the client has the answer, and so before it can ask again.
                    server.end()
                try:
                    self._send(reply)
                except ConnectionError:  # the client gave up
                    self.close_connection = True

            def _send(self, reply: Reply) -> None:
                if reply.reset:
                    # Closing with unsent data and a linger of 0 sends RST.
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                length = 10**6 if reply.hangs else len(reply.data)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                while reply.hangs and not server.stopping.wait(0.02):
                    self.wfile.write(b" ")
                self.wfile.write(reply.data[: reply.cut_after])
                self.close_connection = reply.cut_after is not None or reply.hangs

            def log_message(self, *args: object) -> None:
                return

            def finish(self) -> None:
                if self.connection.fileno() != -1:
                    super().finish()

        return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = JudgeServer()
    yield server
    server.close()


WriteJudge = Callable[..., Path]


@pytest.fixture
def write_judge(server: JudgeServer, tmp_path: Path) -> WriteJudge:
    """Return a function that writes a configuration for the server."""

    def write(
        kind: str,
        *,
        endpoint: dict[str, Any] | None = None,
        name: str = "judge.yaml",
        **values: Any,  # of the configuration
    ) -> Path:
        quick = {"max_attempts": 4, "first_wait_s": 0.001, "max_wait_s": 0.002}
        base = {"base_url": server.url, "model": "tiny", "retry": quick, "concurrency": 4}
        path = tmp_path / name
        path.write_text(
            yaml.safe_dump({"kind": kind, "endpoint": base | (endpoint or {})} | values)
        )
        return path

    return write


@pytest.fixture
def score_judge(write_judge: WriteJudge) -> Callable[..., ScoreJudge]:
    """Return a function that loads a judge of scores."""

    def load(**values: Any) -> ScoreJudge:  # of the configuration
        judge = load_judge(write_judge("scores", **values))
        assert isinstance(judge, ScoreJudge)
        return judge

    return load


@pytest.fixture
def pair_judge(write_judge: WriteJudge) -> Callable[..., ComparingJudge]:
    """Return a function that loads a judge that compares."""

    def load(kind: str = "pairs", **values: Any) -> ComparingJudge:  # of the configuration
        judge = load_judge(write_judge(kind, **values))
        assert isinstance(judge, ComparingJudge)
        return judge

    return load


@pytest.fixture
def red(tmp_path: Path) -> Callable[[int], Path]:
    """Return a function that makes a picture of one redness, 0 to 255."""

    def make(level: int) -> Path:
        path = tmp_path / f"red{level}.png"
        Image.new("RGB", (16, 12), (level, 40, 90)).save(path)
        return path

    return make


@pytest.fixture
def samples(red: Callable[[int], Path]) -> Callable[[int], list[Sample]]:
    """Return a function that makes so many samples of different redness."""

    def make(num: int) -> list[Sample]:
        return [Sample(prompt=f"prompt {place}", image=red(place * 3)) for place in range(num)]

    return make


@pytest.fixture
def group(red: Callable[[int], Path]) -> Callable[..., BenchGroup]:
    """Return a function that makes a group of pictures with these rednesses."""

    def make(
        *levels: int, source: int | None = None, name: str = "g", prompt: str = "p"
    ) -> BenchGroup:
        images = tuple(JudgedImage(image=red(level), rank=None) for level in levels)
        sources = () if source is None else (red(source),)
        return BenchGroup(row=PreferenceRow(id=name, prompt=prompt, images=images, sources=sources))

    return make
