"""The clients, against a real server, and against one that refuses."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

import visreward
from visreward.core.errors import ImageError, RewardServerError, UsageError
from visreward.core.types import ImageSource
from visreward.serving.client import AsyncRewardClient, RewardClient
from visreward.serving.client_messages import ClientSettings, RetryPolicy

if TYPE_CHECKING:
    from tests.serving.conftest import Server

PROMPT = "change the colour of the four white balls to orange"
NO_PAUSE = RetryPolicy(max_retries=2, base_s=0.0)


@pytest.fixture
def settings(server: Server) -> ClientSettings:
    return ClientSettings(
        url=server.url,
        api_key=server.api_key,
        client_name="client-tests",
        timeout_s=300,
        images_per_request=2,
    )


@pytest.fixture(scope="module")
def offline(edits: dict[str, bytes]) -> list[visreward.Score]:
    names = ("right", "over-edited", "half-done")
    return visreward.load_model("editreward-mini").score(
        visreward.Sample(prompt=PROMPT, image=edits[name], source_image=edits["before"])
        for name in names
    )


def test_client_scores_paths_bytes_and_pictures_as_offline(
    settings: ClientSettings, project_dir: Path, offline: list[visreward.Score]
) -> None:
    folder = project_dir / "examples" / "edits"
    images: list[ImageSource] = [
        folder / "right.png",
        (folder / "over-edited.png").read_bytes(),
        Image.open(folder / "half-done.png"),
    ]
    with RewardClient(settings) as client:
        assert client.is_ready()
        scores = client.score(prompt=PROMPT, images=images, source_image=str(folder / "before.png"))
    for score, expected in zip(scores, offline, strict=True):
        assert score.value == pytest.approx(expected.value, abs=1e-4)
        assert score.sigma == pytest.approx(expected.sigma, abs=1e-4)
        assert list(score.dimensions) == list(expected.dimensions)
        assert (score.model, score.revision) == (expected.model, expected.revision)


def test_async_client_ranks_as_offline(
    settings: ClientSettings, edits: dict[str, bytes], offline: list[visreward.Score]
) -> None:
    async def ranked() -> list[visreward.Ranked]:
        async with AsyncRewardClient(settings) as client:
            assert await client.is_ready()
            return await client.rank(
                prompt=PROMPT,
                images=[edits[name] for name in ("half-done", "right", "over-edited")],
                source_image=edits["before"],
            )

    values = [offline[2].value, offline[0].value, offline[1].value]
    expected = sorted(range(3), key=lambda index: -values[index])
    assert [place.index for place in asyncio.run(ranked())] == expected


def test_client_raises_at_a_failed_image_unless_nan_is_asked_for(
    settings: ClientSettings, edits: dict[str, bytes]
) -> None:
    images = [edits["right"], edits["right"], edits["right"], b"no image"]
    with RewardClient(settings) as client:
        with pytest.raises(RewardServerError, match="image_format_unsupported") as caught:
            client.score(prompt="", images=images, model="hp-mini")
        assert caught.value.code == "image_format_unsupported"
        scores = client.score(prompt="", images=images, model="hp-mini", on_error="nan")
        alone = client.score(prompt="", images=images[3:], model="hp-mini", on_error="nan")
    assert [math.isnan(score.value) for score in scores] == [False, False, False, True]
    assert scores[3].notes[0].startswith("image_format_unsupported: ")
    assert math.isnan(alone[0].value)


def test_client_raises_for_a_refused_request_also_where_nan_is_asked_for(
    settings: ClientSettings, edits: dict[str, bytes]
) -> None:
    with RewardClient(settings) as client, pytest.raises(RewardServerError) as caught:
        client.score(prompt="", images=[edits["right"]], model="nope", on_error="nan")
    assert (caught.value.code, caught.value.status) == ("unknown_model", 404)


def test_client_sends_no_url_and_no_missing_file(settings: ClientSettings) -> None:
    with RewardClient(settings) as client:
        for image in ("http://127.0.0.1/a.png", "/nowhere/a.png"):
            with pytest.raises(ImageError):
                client.score(prompt="", images=[image], model="hp-mini")


@pytest.mark.parametrize("images", ["a.png", b"abc"])
def test_client_single_image_in_place_of_several_is_refused(
    settings: ClientSettings, images: str | bytes
) -> None:
    with RewardClient(settings) as client, pytest.raises(UsageError, match=r"images=\[image\]"):
        client.score(prompt=PROMPT, images=images)  # type: ignore[arg-type]


def test_client_url_without_scheme_is_refused() -> None:
    with pytest.raises(UsageError, match="http://HOST:PORT"):
        RewardClient("127.0.0.1:8000")


@pytest.fixture
def refusing() -> Iterator[Callable[..., tuple[str, list[str]]]]:
    """Return a function that starts a server with a list of answers, and gives URL and requests."""
    servers: list[HTTPServer] = []
    threads: list[threading.Thread] = []

    def start(*answers: tuple[int, str], retry_after: str = "0") -> tuple[str, list[str]]:
        left, seen = list(answers), []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                seen.append(self.path)
                status, body = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                self.send_header("retry-after", retry_after)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append(server)
        threads.append(thread)
        return f"http://127.0.0.1:{server.server_port}", seen

    yield start
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


FULL = '{"error": {"code": "queue_full", "message": "Full.", "field": null}}'
WRONG = '{"error": {"code": "invalid_request", "message": "Wrong.", "field": "prompt"}}'
GOOD = (
    '{"model": "m", "revision": "r", "results": [{"index": 0, "error": null, "score": '
    '{"value": 1.5, "sigma": null, "dimensions": {}, "notes": []}}]}'
)


def test_client_tries_again_after_429_and_503(
    refusing: Callable[..., tuple[str, list[str]]], edits: dict[str, bytes]
) -> None:
    url, seen = refusing((429, FULL), (503, FULL), (200, GOOD))
    with RewardClient(ClientSettings(url=url, retry=NO_PAUSE)) as client:
        assert client.score(prompt="x", images=[edits["right"]])[0].value == 1.5
    assert len(seen) == 3


def test_async_client_gives_up_after_its_last_try(
    refusing: Callable[..., tuple[str, list[str]]], edits: dict[str, bytes]
) -> None:
    url, seen = refusing((429, FULL))

    async def ask() -> None:
        async with AsyncRewardClient(ClientSettings(url=url, retry=NO_PAUSE)) as client:
            await client.score(prompt="x", images=[edits["right"]])

    with pytest.raises(RewardServerError, match="queue_full") as caught:
        asyncio.run(ask())
    assert caught.value.status == 429
    assert len(seen) == 1 + NO_PAUSE.max_retries


@pytest.mark.parametrize(("status", "body"), [(422, WRONG), (500, WRONG), (200, "[]"), (200, "<")])
def test_client_does_not_repeat_what_no_repetition_mends(
    refusing: Callable[..., tuple[str, list[str]]],
    edits: dict[str, bytes],
    status: int,
    body: str,
) -> None:
    url, seen = refusing((status, body))
    client = RewardClient(ClientSettings(url=url, retry=NO_PAUSE))
    with client, pytest.raises(RewardServerError):
        client.score(prompt="x", images=[edits["right"]])
    assert len(seen) == 1


def test_client_server_that_is_not_there_is_named(edits: dict[str, bytes]) -> None:
    with RewardClient(ClientSettings(url="http://127.0.0.1:1", retry=NO_PAUSE)) as client:
        assert not client.is_ready()
        with pytest.raises(RewardServerError, match=r"http://127\.0\.0\.1:1 does not answer"):
            client.score(prompt="x", images=[edits["right"]])
