"""Incident 9, through the server's routes: refused where off, fetched and scored where on."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx2
import msgpack
import pytest

import visreward
from visreward.serving.app import create_app
from visreward.serving.fetching import ImageFetcher
from visreward.serving.gate import Gate
from visreward.serving.metrics import Metrics
from visreward.serving.service import RewardService
from visreward.serving.settings import Limits, ModelSetup, ServerSettings
from visreward.serving.tracing import Tracing
from visreward.serving.url_rules import URLRules

if TYPE_CHECKING:
    from tests.serving.conftest import Server

IMAGE_MODEL = "hp-mini"
PUBLIC = "93.184.215.14"
RULES = URLRules(is_allowed=True, max_seconds=60.0)
INTERNAL = [
    "http://127.0.0.1:1/a.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:10.0.0.1]/a.png",
    "http://good.example\\@127.0.0.1/",
    "http://localhost/a.png",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("url", INTERNAL)
def test_incident_09_internal_url_is_refused_on_every_route(open_server: Server, url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    asked: dict[str, tuple[Any, str]] = {
        "/v1/score": ({"prompt": "x", "candidates": [url]}, "candidates.0"),
        "/v1/rank": ({"prompt": "x", "candidates": [url]}, "candidates.0"),
        "/rerank": ({"query": "x", "documents": [{"content": [part]}]}, "documents.0"),
    }
    edit: dict[str, Any] = {"model": "editreward-mini", "prompt": "x", "candidates": ["aGk="]}
    asked["/v1/score "] = (edit | {"source_images": [url]}, "source_images.0")
    content = [{"type": "text", "text": "x"}, part]
    reranked = {"model": "editreward-mini", "query": {"content": content}, "documents": ["aGk="]}
    asked["/rerank "] = (reranked, "query")
    with open_server.http() as http:
        for path, (body, field) in asked.items():
            response = http.post(path.strip(), json=body)
            error = response.json()["error"]
            assert (response.status_code, error["code"]) == (400, "url_refused"), path
            assert error["field"] == field
            assert url[:16] not in response.text


def test_incident_09_refused_url_fails_alone(
    open_server: Server, png: Callable[..., bytes]
) -> None:
    image = base64.b64encode(png(8, 8)).decode()
    body = {"prompt": "x", "candidates": [image, INTERNAL[0], image]}
    with open_server.http() as http:
        results = http.post("/v1/score", json=body).json()["results"]
    assert [item["error"] and item["error"]["code"] for item in results] == [
        None,
        "url_refused",
        None,
    ]


def test_incident_09_url_is_refused_without_the_switch(http: httpx2.Client) -> None:
    for url in (*INTERNAL, "https://example.org/a.png"):
        part = {"type": "image_url", "image_url": {"url": url}}
        for path, body in (
            ("/v1/score", {"candidates": [url]}),
            ("/rerank", {"query": "", "documents": [{"content": [part]}]}),
        ):
            response = http.post(path, json={"model": IMAGE_MODEL, **body})
            error = response.json()["error"]
            assert (response.status_code, error["code"]) == (400, "url_not_allowed")


class Loopback(httpx2.AsyncHTTPTransport):
    """Goes to a server of the test, whatever address the fetcher has chosen."""

    def __init__(self, port: int) -> None:
        super().__init__(trust_env=False)
        self.port = port

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        assert request.url.host == PUBLIC
        url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self.port)
        sent = httpx2.Request(request.method, url, headers=request.headers, extensions={})
        return await super().handle_async_request(sent)


@pytest.fixture
def pages(edits: dict[str, bytes]) -> Iterator[tuple[int, list[str]]]:
    """Return the port of a server of images, and the paths that it was asked for."""
    seen: list[str] = []

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            body = edits.get(self.path.strip("/"), b"")
            self.send_response(200 if body else 302)
            self.send_header("location", "http://127.0.0.1:1/secret")
            self.send_header("content-type", "text/plain")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port, seen
    server.shutdown()
    thread.join()
    server.server_close()


async def resolve(name: str, port: int) -> Sequence[str]:
    return [PUBLIC] if name == "good.example" else ["10.0.0.1"]


def served(port: int, ask: Callable[[httpx2.AsyncClient], Awaitable[None]]) -> None:
    """Run some requests against a service that fetches from the test's server of images."""

    async def run() -> None:
        settings = ServerSettings(
            models=(ModelSetup(name=IMAGE_MODEL),),
            urls=RULES,
            limits=Limits(body_bytes=100_000),
            num_decoders=1,
        )
        fetcher = ImageFetcher(RULES, resolve=resolve, make_transport=lambda: Loopback(port))
        service = RewardService(settings, Metrics(), Tracing(), fetcher=fetcher)
        try:
            await service.start()
            transport = httpx2.ASGITransport(Gate(create_app(service), service))
            async with httpx2.AsyncClient(
                transport=transport, base_url="http://127.0.0.1", timeout=300
            ) as http:
                await ask(http)
        finally:
            await service.stop()

    asyncio.run(run())


def test_incident_09_allowed_urls_are_fetched_and_scored_as_their_bytes(
    pages: tuple[int, list[str]], edits: dict[str, bytes]
) -> None:
    port, seen = pages
    model = visreward.load_model(IMAGE_MODEL)
    samples = [visreward.Sample(prompt="", image=edits[name]) for name in ("right", "half-done")]
    expected = [score.value for score in model.score(samples)]
    urls = ["https://good.example/right", "http://good.example/half-done"]
    part = {"type": "image_url", "image_url": {"url": urls[0]}}

    async def ask(http: httpx2.AsyncClient) -> None:
        images: list[Any] = [*urls, edits["right"], urls[0], "http://evil.example/right"]
        images += ["http://good.example/moved"]
        response = await http.post(
            "/v1/score",
            content=msgpack.packb({"candidates": images}),
            headers={"content-type": "application/msgpack"},
        )
        results = response.json()["results"]
        values = [item["score"]["value"] for item in results[:4]]
        assert values == pytest.approx([*expected, expected[0], expected[0]], abs=1e-4)
        assert [item["error"]["code"] for item in results[4:]] == ["url_refused", "url_failed"]
        assert PUBLIC not in response.text
        assert "10.0.0.1" not in response.text
        assert sorted(seen) == ["/half-done", "/moved", "/right"]
        body = {"query": "", "documents": [{"content": [part]}]}
        ranked = (await http.post("/rerank", json=body)).json()["results"]
        assert ranked[0]["relevance_score"] == pytest.approx(expected[0], abs=1e-4)
        parts = [("candidates", (None, url)) for url in urls]
        form = await http.post("/v1/rank", files=parts)
        assert form.json()["ranking"][0]["score"]["value"] == pytest.approx(max(expected), abs=1e-4)

    served(port, ask)


def test_incident_09_urls_together_bring_no_more_than_a_body(
    pages: tuple[int, list[str]], edits: dict[str, bytes]
) -> None:
    # Two of these fit into the limit, all of them do not.
    names = ("right", "half-done", "untouched", "before", "over-edited", "flawed")
    assert sum(len(edits[name]) for name in names) > 100_000 > len(edits["right"])

    async def ask(http: httpx2.AsyncClient) -> None:
        urls = [f"http://good.example/{name}" for name in names]
        results = (await http.post("/v1/score", json={"candidates": urls})).json()["results"]
        codes = [item["error"] and item["error"]["code"] for item in results]
        assert codes.count(None) <= 2
        assert set(codes) <= {None, "url_failed"}

    served(pages[0], ask)
