"""Batches that a model's process computes side by side."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from visreward.core.types import Sample
from visreward.models.loading import load_model

if TYPE_CHECKING:
    from tests.serving.conftest import Server

EDIT_MODEL = "editreward-mini"


@pytest.fixture(scope="module")
def two_streams(
    start_server: Callable[..., AbstractContextManager[Server]],
) -> Iterator[Server]:
    """Return a server whose model has two cores, whatever the machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "2")
        with start_server("--model", EDIT_MODEL, "--max-batch-tokens", "1000000") as server:
            yield server


def noise(seed: int, side: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def asked(images: list[bytes]) -> dict[str, Any]:
    source, *candidates = [base64.b64encode(image).decode() for image in images]
    return {"prompt": "Paint it red.", "source_images": [source], "candidates": candidates}


def test_small_request_does_not_wait_for_a_large_batch(
    two_streams: Server, until: Callable[..., Any]
) -> None:
    large = asked([noise(seed, 256) for seed in range(60)])
    small = asked([noise(100, 32), noise(101, 32)])
    order: list[str] = []

    def ask(name: str, body: dict[str, Any]) -> None:
        with two_streams.http(headers={"x-visreward-client": name}) as http:
            assert http.post("/v1/score", json=body).status_code == 200
        order.append(name)

    with two_streams.http() as http:
        assert http.post("/v1/score", json=small).status_code == 200  # all is warm
    count = f'visreward_batch_items_count{{model="{EDIT_MODEL}"}}'
    before = two_streams.metric(count)
    thread = threading.Thread(target=ask, args=("large", large))
    thread.start()
    until(lambda: two_streams.metric(count) > before)
    ask("small", small)
    thread.join()
    assert order == ["small", "large"]


def test_many_requests_at_once_get_the_scores_of_the_library(two_streams: Server) -> None:
    model = load_model(EDIT_MODEL)
    edits = [[noise(3 * seed + place, 64) for place in range(3)] for seed in range(16)]
    answers: dict[int, httpx2.Response] = {}

    def ask(number: int) -> None:
        with two_streams.http() as http:
            answers[number] = http.post("/v1/score", json=asked(edits[number]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(edits))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, (source, *candidates) in enumerate(edits):
        samples = [
            Sample(prompt="Paint it red.", image=image, source_image=source) for image in candidates
        ]
        served = [result["score"]["value"] for result in answers[number].json()["results"]]
        wanted = [score.value for score in model.score(samples)]
        assert served == pytest.approx(wanted, abs=1e-4)
