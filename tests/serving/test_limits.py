"""Every limit, at the limit and one beyond; what is too slow; and a full queue."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from tests.serving.conftest import Server

IMAGE_MODEL = "hp-mini"
BODY_BYTES, IMAGES, PIXELS, PROMPT_CHARS, QUEUE_ITEMS = 400_000, 8, 250_000, 100, 12
HEADER_BYTES = 16 << 10

MakePng = Callable[[int, int], bytes]


def request_of(image: bytes, count: int = 1, **changes: Any) -> dict[str, Any]:
    candidates = [base64.b64encode(image).decode()] * count
    return {"model": IMAGE_MODEL, "candidates": candidates, **changes}


def code_of(response: httpx2.Response) -> str:
    return str(response.json()["error"]["code"])


@pytest.mark.parametrize("is_chunked", [False, True])
def test_body_at_the_limit_is_read_and_one_byte_more_is_refused(
    http: httpx2.Client, png: MakePng, is_chunked: bool
) -> None:
    body = json.dumps(request_of(png(8, 8))).encode()

    def sent(size: int) -> bytes | Iterator[bytes]:
        content = body.ljust(size)
        pieces = (content[start : start + 10_000] for start in range(0, size, 10_000))
        return pieces if is_chunked else content

    headers = {"content-type": "application/json"}
    at = http.post("/v1/score", content=sent(BODY_BYTES), headers=headers)
    assert at.status_code == 200
    beyond = http.post("/v1/score", content=sent(BODY_BYTES + 1), headers=headers)
    assert (beyond.status_code, code_of(beyond)) == (413, "body_too_large")


def test_images_at_the_limit_are_scored_and_one_more_is_refused(
    http: httpx2.Client, server: Server, png: MakePng
) -> None:
    assert IMAGES > QUEUE_ITEMS // 2
    edit = {"model": "editreward-mini", "prompt": "x"}
    image = base64.b64encode(png(8, 8)).decode()
    at = {**edit, "source_images": [image] * 2, "candidates": [image] * (IMAGES - 2)}
    response = http.post("/v1/score", json=at)
    assert response.status_code == 200, response.text
    response = http.post("/v1/score", json=at | {"source_images": [image] * 3})
    assert (response.status_code, code_of(response)) == (413, "too_many_images")


def test_pixels_at_the_limit_are_scored_and_more_are_refused(
    http: httpx2.Client, png: MakePng
) -> None:
    assert http.post("/v1/score", json=request_of(png(500, 500))).status_code == 200
    response = http.post("/v1/score", json=request_of(png(250_001, 1)))
    assert (response.status_code, code_of(response)) == (413, "image_too_large")


def test_prompt_at_the_limit_is_scored_and_one_character_more_is_refused(
    http: httpx2.Client, png: MakePng
) -> None:
    at = http.post("/v1/score", json=request_of(png(8, 8), prompt="ä" * PROMPT_CHARS))
    assert at.status_code == 200
    beyond = http.post("/v1/score", json=request_of(png(8, 8), prompt="ä" * (PROMPT_CHARS + 1)))
    assert (beyond.status_code, code_of(beyond)) == (413, "prompt_too_long")


def test_headers_beyond_the_limit_are_refused(http: httpx2.Client) -> None:
    assert http.get("/v1/models", headers={"x-fill": "a" * 10_000}).status_code == 200
    response = http.get("/v1/models", headers={"x-fill": "a" * HEADER_BYTES})
    assert (response.status_code, code_of(response)) == (431, "headers_too_large")


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
        assert (response.status_code, code_of(response)) == (504, "deadline_exceeded")
        assert server.metric("visreward_queued_items") == 0


def test_slow_headers_close_the_connection_and_others_are_served(
    server: Server, http: httpx2.Client
) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        assert http.get("/v1/models").status_code == 200
        connection.settimeout(120)
        assert connection.recv(100) == b""


@pytest.mark.parametrize(
    "start",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 18,
        b"A" * 100_000,
    ],
)
def test_broken_http_gets_no_5xx_and_harms_nobody(
    server: Server, http: httpx2.Client, start: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(120)
        try:
            connection.sendall(start)
            answer = connection.recv(100)
        except ConnectionError:
            answer = b""
        assert b" 5" not in answer[:13]
    assert http.get("/v1/models").status_code == 200
