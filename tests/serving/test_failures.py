"""Killed processes, clients that leave, and the end of a server."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import httpx2
import psutil
import pytest

if TYPE_CHECKING:
    from tests.serving.conftest import Server

IMAGE_MODEL = "hp-mini"

MakePng = Callable[[int, int], bytes]
Until = Callable[..., Any]


class Asking:
    """A request that is sent from a thread of its own."""

    def __init__(self, server: Server, image: bytes, client: str = "") -> None:
        self._server, self._client = server, client
        self._body = {
            "model": IMAGE_MODEL,
            "candidates": [base64.b64encode(image).decode()],
        }
        self.answer: httpx2.Response | None = None
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        with self._server.http(headers={"x-visreward-client": self._client}) as http:
            self.answer = http.post("/v1/score", json=self._body)

    def result(self) -> httpx2.Response:
        self._thread.join()
        assert self.answer is not None
        return self.answer


def score(server: Server, image: bytes) -> httpx2.Response:
    return Asking(server, image).result()


def test_disconnected_client_leaves_the_queue_before_the_model(
    server: Server, png: MakePng, until: Until
) -> None:
    scored = f'visreward_items_total{{model="{IMAGE_MODEL}"}}'
    before = server.metric(scored)
    batches = f'visreward_batch_items_sum{{model="{IMAGE_MODEL}"}}'
    sent_before = server.metric(batches)
    with server.frozen(IMAGE_MODEL):
        stays = Asking(server, png(8, 8), "stays")
        until(lambda: server.metric(batches) == sent_before + 1)
        body = {"model": IMAGE_MODEL, "candidates": [base64.b64encode(png(9, 9)).decode()]}
        leaving = server.http(headers={"x-visreward-client": "leaves"})
        with leaving as http, pytest.raises(httpx2.ReadTimeout):
            http.post("/v1/score", json=body, timeout=1.0)
        until(lambda: server.metric("visreward_queued_items") == 1)
    assert stays.result().status_code == 200
    assert score(server, png(8, 8)).status_code == 200
    assert server.metric(scored) == before + 2
    assert server.metric(batches) == sent_before + 2


def test_killed_decoder_is_replaced_and_the_next_image_is_read(
    server: Server, png: MakePng, until: Until
) -> None:
    before = score(server, png(8, 8)).json()["results"]
    decoders = [
        child
        for child in psutil.Process(server.process.pid).children()
        if "visreward.serving.workers.decoder" in child.cmdline()
    ]
    assert len(decoders) == 2
    for decoder in decoders:
        decoder.kill()
    for _ in decoders:
        assert score(server, png(8, 8)).json()["results"] == before
    assert server.metric("visreward_decoder_restarts_total") == 2


def test_killed_model_answers_503_and_comes_back_with_the_same_scores(
    server: Server, png: MakePng, until: Until
) -> None:
    before = score(server, png(8, 8)).json()["results"]
    with server.http() as http:  # there before the first restart, so that a rate sees it
        assert (
            f'visreward_model_restarts_total{{model="{IMAGE_MODEL}"}} 0.0'
            in http.get("/metrics").text.splitlines()
        )
    with server.frozen(IMAGE_MODEL) as pid:
        asking = [Asking(server, png(side, 8), f"client-{side}") for side in (8, 9, 10)]
        until(lambda: server.metric("visreward_queued_items") == 3)
        os.kill(pid, signal.SIGKILL)
        answers = [each.result() for each in asking]
    for answer in answers:
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "model_restarted"
        assert answer.json()["error"]["is_retryable"]
        assert int(answer.headers["retry-after"]) >= 1
    assert not server.is_ready()
    refused = score(server, png(8, 8))
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "model_not_ready"
    with server.http() as http:
        assert http.get("/live").status_code == 200
        states = {each["name"]: each["state"] for each in http.get("/v1/models").json()["models"]}
    assert states == {"editreward-mini": "ready", IMAGE_MODEL: "restarting"}
    until(server.is_ready)
    assert score(server, png(8, 8)).json()["results"] == before
    assert server.metric(f'visreward_model_restarts_total{{model="{IMAGE_MODEL}"}}') == 1


def test_sigterm_answers_what_is_in_flight_refuses_the_rest_and_exits_0(
    start_server: Callable[..., AbstractContextManager[Server]], png: MakePng, until: Until
) -> None:
    with start_server("--model", IMAGE_MODEL) as server:
        with server.http(headers={"host": "evil.example"}) as http:
            assert http.get("/v1/models").status_code == 403
            assert http.get("/live").status_code == 200
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert len(children) == 3
        with server.frozen(IMAGE_MODEL):
            asking = Asking(server, png(8, 8))
            until(lambda: server.metric("visreward_queued_items") == 1)
            server.process.send_signal(signal.SIGTERM)
            until(lambda: server.events("draining"))
            assert not server.is_ready()
            refused = score(server, png(8, 8))
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "shutting_down"
        assert asking.result().status_code == 200
        assert server.process.wait(timeout=120) == 0
        gone, alive = psutil.wait_procs(children, timeout=60)
        assert (len(gone), alive) == (3, [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "hp-mini", "--model", "hp-minni"], "Did you mean"),
        (["--model", "."], "no native folder"),
        (["--host", "0.0.0.0"], "API key"),
        (["--model", "hp-mini", "--model", "hp-mini"], "named twice"),
    ],
)
def test_serve_that_cannot_start_says_why_and_exits_2(arguments: list[str], words: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VISREWARD_API_KEY"}
    done = subprocess.run(
        [sys.executable, "-m", "visreward", "serve", "--port", "0", *arguments],
        capture_output=True,
        check=False,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 2
    assert words in done.stderr
    # Nothing was started for it, and nothing else was said.
    assert done.stderr.startswith("Error: ")


def test_server_client_and_decoder_import_no_torch() -> None:
    code = (
        "import sys, visreward.serving.run, visreward.serving.client\n"
        "import visreward.serving.workers.decoder\n"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
