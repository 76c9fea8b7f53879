"""A full queue, deadlines and what may be held; limits of single requests: incidents 14 and 17."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from tests.serving.conftest import Server

IMAGE_MODEL = "hp-mini"
BODY_BYTES, QUEUE_ITEMS = 400_000, 12

MakePng = Callable[[int, int], bytes]


def request_of(image: bytes, count: int = 1, **changes: Any) -> dict[str, Any]:
    candidates = [base64.b64encode(image).decode()] * count
    return {"model": IMAGE_MODEL, "candidates": candidates, **changes}


def code_of(response: httpx2.Response) -> str:
    return str(response.json()["error"]["code"])


def test_one_client_may_fill_half_of_the_queue(http: httpx2.Client, png: MakePng) -> None:
    response = http.post("/v1/score", json=request_of(png(8, 8), QUEUE_ITEMS // 2))
    assert response.status_code == 200
    response = http.post("/v1/score", json=request_of(png(8, 8), QUEUE_ITEMS // 2 + 1))
    assert (response.status_code, code_of(response)) == (429, "client_queue_full")
    assert int(response.headers["retry-after"]) >= 1


def test_full_queue_answers_429_at_once_and_what_waits_is_answered(
    server: Server, png: MakePng, until: Callable[..., Any]
) -> None:
    answers: list[httpx2.Response] = []

    def ask(client: str) -> None:
        with server.http(headers={"x-visreward-client": client}) as http:
            body = request_of(png(8, 8), QUEUE_ITEMS // 2)
            answers.append(http.post("/v1/score", json=body))

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("first", "second")]
    with server.frozen(IMAGE_MODEL):
        for thread in threads:
            thread.start()
        until(lambda: server.metric("visreward_queued_items") == QUEUE_ITEMS)
        with server.http(headers={"x-visreward-client": "third"}) as http:
            response = http.post("/v1/score", json=request_of(png(8, 8)))
            assert (response.status_code, code_of(response)) == (429, "queue_full")
            assert int(response.headers["retry-after"]) >= 1
            assert http.get("/v1/models").status_code == 200
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert server.metric("visreward_queued_items") == 0
    assert server.metric("visreward_decoded_bytes") == 0


def test_bodies_beyond_what_may_be_held_are_refused_while_the_queue_has_room(
    server: Server, png: MakePng, until: Callable[..., Any]
) -> None:
    body = json.dumps(request_of(png(8, 8))).encode().ljust(BODY_BYTES)
    answers: list[httpx2.Response] = []

    def ask(client: str) -> None:
        headers = {"x-visreward-client": client, "content-type": "application/json"}
        with server.http(headers=headers) as http:
            answers.append(http.post("/v1/score", content=body))

    threads = [threading.Thread(target=ask, args=(f"held-{n}",)) for n in range(5)]
    with server.frozen(IMAGE_MODEL):
        for thread in threads:
            thread.start()
        until(lambda: server.metric("visreward_queued_items") == 5)
        with server.http(headers={"x-visreward-client": "one-more"}) as http:
            response = http.post("/v1/score", json=request_of(png(8, 8)))
            assert (response.status_code, code_of(response)) == (429, "queue_full")
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 5


def test_deadline_passes_in_the_queue_and_the_request_is_dropped(
    server: Server, http: httpx2.Client, png: MakePng
) -> None:
    with server.frozen(IMAGE_MODEL):
        response = http.post("/v1/score", json=request_of(png(8, 8), timeout_s=0.3))
        assert (response.status_code, code_of(response)) == (408, "timeout_passed")
        assert response.json()["error"]["field"] == "timeout_s"
        assert server.metric("visreward_queued_items") == 0


def test_servers_own_limit_is_a_504_whatever_the_request_gives(
    start_server: Callable[..., AbstractContextManager[Server]], png: MakePng
) -> None:
    with (
        start_server("--model", IMAGE_MODEL, "--timeout-s", "0.3") as server,
        server.frozen(IMAGE_MODEL),
        server.http() as http,
    ):
        for fields in ({}, {"timeout_s": 60}):
            response = http.post("/v1/score", json=request_of(png(8, 8), **fields))
            assert (response.status_code, code_of(response)) == (504, "deadline_exceeded")
