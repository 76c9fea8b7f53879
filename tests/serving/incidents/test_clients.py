"""Incidents 19, 21 and 22: demos that share, silent zeros, and storms of retries."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import msgpack
import pytest

from visreward.core.errors import RewardServerError
from visreward.serving.client import RewardClient
from visreward.serving.client_messages import ClientSettings, RetryPolicy
from visreward.serving.flow_grpo import flow_grpo_scores
from visreward.serving.problems import CATALOGUE, Code

if TYPE_CHECKING:
    from tests.serving.conftest import Server

IMAGE_MODEL = "hp-mini"
MSGPACK = {"content-type": "application/msgpack"}


def test_incident_19_no_source_shares_a_demo_or_loads_one(project_dir: Path) -> None:
    banned = re.compile(r"share\s*=\s*True|\bgr\.load\(|gradio\.load\(|allowed_paths\s*=\s*\[[^\]]")
    found = [
        str(path)
        for path in sorted((project_dir / "src").rglob("*.py"))
        if banned.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def numbers_of(value: Any) -> Iterator[float]:
    """Yield every number in a response, but for places and statuses."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key not in ("index", "rank", "total_tokens"):
                yield from numbers_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from numbers_of(part)
    elif isinstance(value, float | int) and not isinstance(value, bool):
        yield value


@pytest.mark.parametrize("path", ["/v1/score", "/v1/rank", "/rerank", "/score"])
def test_incident_21_failed_item_is_never_a_number(http: httpx2.Client, path: str) -> None:
    bad = ["", "!", "aGVsbG8=", "R0lGODlh", "/etc/passwd", "http://127.0.0.1/"]
    history = [
        {"history": [{"image_b64": each}], "required_rewards": [IMAGE_MODEL]} for each in bad
    ]
    body = {
        "/v1/score": {"model": IMAGE_MODEL, "candidates": bad},
        "/v1/rank": {"model": IMAGE_MODEL, "candidates": bad},
        "/rerank": {"model": IMAGE_MODEL, "query": "", "documents": bad},
        "/score": {"requests": history},
    }[path]
    response = http.post(path, json=body)
    assert list(numbers_of(response.json())) == []
    assert "NaN" not in response.text
    if path == "/score":
        assert [list(each) for each in response.json()["errors"]] == [[IMAGE_MODEL]] * len(bad)
    else:
        field = "documents" if path == "/rerank" else "candidates"
        errors = [item["error"] for item in response.json()["results"]]
        assert [error["field"] for error in errors] == [f"{field}.{n}" for n in range(len(bad))]


def test_incident_21_client_raises_unless_nan_is_asked_for(
    server: Server, edits: dict[str, bytes]
) -> None:
    settings = ClientSettings(url=server.url, api_key=server.api_key, client_name="incident-21")
    images = [edits["right"], b"no image"]
    with RewardClient(settings) as client:
        with pytest.raises(RewardServerError, match="image_format_unsupported"):
            client.score(prompt="", images=images, model=IMAGE_MODEL)
        with pytest.raises(RewardServerError, match="image_format_unsupported"):
            client.rank(prompt="", images=images, model=IMAGE_MODEL)
        found = client.score(prompt="", images=images, model=IMAGE_MODEL, on_error="nan")
    assert [math.isnan(score.value) for score in found] == [False, True]
    assert found[1].notes[0].startswith("image_format_unsupported: ")


class Refusing(BaseHTTPRequestHandler):
    """Refuses everything, and counts."""

    times: list[float] = []  # noqa: RUF012  reset by the fixture
    answer: tuple[int, str, str] = (503, "0", "")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.times.append(time.monotonic())
        status, wait, body = self.answer
        self.send_response(status)
        self.send_header("retry-after", wait)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    """Return the URL of a server that refuses."""
    Refusing.times.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def body_of(code: Code) -> str:
    entry = CATALOGUE[code]
    error = {"code": code.value, "message": entry.message, "field": None}
    return json.dumps({"error": error, "request_id": "x", "results": None})


def by_score(settings: ClientSettings) -> None:
    with RewardClient(settings) as client:
        client.score(prompt="x", images=[b"a"])


def by_pickle(settings: ClientSettings) -> None:
    flow_grpo_scores(settings, images=[b"a"], prompts=["x"])


@pytest.mark.parametrize("ask", [by_score, by_pickle])
def test_incident_22_retries_are_few(refusing: str, ask: Callable[[ClientSettings], None]) -> None:
    retry = RetryPolicy(base_s=0.001, max_pause_s=0.01)
    # A server that asks for a pause of a day gets no client to wait for one.
    Refusing.answer = (503, "86400", body_of(Code.MODEL_NOT_READY))
    with pytest.raises(RewardServerError, match="model_not_ready"):
        ask(ClientSettings(url=refusing, retry=retry))
    assert len(Refusing.times) == 1 + RetryPolicy().max_retries == 6


@pytest.mark.parametrize("ask", [by_score, by_pickle])
@pytest.mark.parametrize("code", [Code.INTERNAL_ERROR, Code.SCORE_NOT_FINITE, Code.PROMPT_TOO_LONG])
def test_incident_22_what_no_repetition_mends_is_not_repeated(
    refusing: str, ask: Callable[[ClientSettings], None], code: Code
) -> None:
    Refusing.answer = (CATALOGUE[code].status, "0", body_of(code))
    with pytest.raises(RewardServerError, match=code.value):
        ask(ClientSettings(url=refusing))
    assert len(Refusing.times) == 1


def test_incident_22_pauses_are_random_grow_and_are_capped() -> None:
    policy = RetryPolicy(base_s=1.0, max_pause_s=10.0)
    for attempt in range(3):
        pauses = {policy.pause_s(attempt, 2.0) for _ in range(50)}
        assert len(pauses) > 10
        assert 2.0 <= min(pauses) <= max(pauses) <= 2.0 + 2**attempt
    assert policy.pause_s(0, 1e9) == policy.pause_s(20, 10.0) == 10.0


def test_incident_22_only_what_passes_is_called_retryable(
    server: Server, http: httpx2.Client, png: Callable[..., bytes]
) -> None:
    body = msgpack.packb({"model": IMAGE_MODEL, "candidates": [png(8, 8)] * 7})
    response = http.post("/v1/score", content=body, headers=MSGPACK)
    assert response.status_code == 429
    assert response.json()["error"]["is_retryable"]
    assert 1 <= int(response.headers["retry-after"]) <= 30
    for code, entry in CATALOGUE.items():
        assert not entry.is_retryable or entry.status in (408, 429, 503, 504), code
