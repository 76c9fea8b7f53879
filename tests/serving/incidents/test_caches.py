"""Incidents 14 to 16: limits and odd fields, caches that mix images up, and stale ones."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
import torch
from PIL import Image

import visreward
from visreward.models.vlm.reward import VLMReward

if TYPE_CHECKING:
    from tests.serving.conftest import Server

IMAGE_MODEL, EDIT_MODEL = "hp-mini", "editreward-mini"
IMAGES, PIXELS, PROMPT_CHARS = 8, 250_000, 100
HEADER_BYTES = 16 << 10

MakePng = Callable[[int, int], bytes]


def text_of(image: bytes) -> str:
    return base64.b64encode(image).decode()


def code_of(response: httpx2.Response) -> str:
    return str(response.json()["error"]["code"])


def test_incident_14_images_at_the_limit_are_scored_and_one_more_is_refused(
    http: httpx2.Client, png: MakePng
) -> None:
    image = text_of(png(8, 8))
    at = {"model": EDIT_MODEL, "prompt": "x", "source_images": [image] * 2}
    at["candidates"] = [image] * (IMAGES - 2)
    response = http.post("/v1/score", json=at)
    assert response.status_code == 200, response.text
    response = http.post("/v1/score", json=at | {"source_images": [image] * 3})
    assert (response.status_code, code_of(response)) == (413, "too_many_images")
    many = {"requests": [{"history": [{}], "required_rewards": [IMAGE_MODEL]}] * (IMAGES + 1)}
    response = http.post("/score", json=many)
    assert (response.status_code, code_of(response)) == (413, "too_many_images")


def test_incident_14_pixels_at_the_limit_are_scored_and_more_are_refused(
    http: httpx2.Client, png: MakePng
) -> None:
    def ask(image: bytes) -> httpx2.Response:
        return http.post("/v1/score", json={"model": IMAGE_MODEL, "candidates": [text_of(image)]})

    assert ask(png(500, 500)).status_code == 200
    response = ask(png(PIXELS + 1, 1))
    assert (response.status_code, code_of(response)) == (413, "image_too_large")


def test_incident_14_prompt_at_the_limit_is_scored_and_one_character_more_is_refused(
    http: httpx2.Client, png: MakePng
) -> None:
    asked = {"model": IMAGE_MODEL, "candidates": [text_of(png(8, 8))]}
    assert http.post("/v1/score", json=asked | {"prompt": "ä" * PROMPT_CHARS}).status_code == 200
    response = http.post("/v1/score", json=asked | {"prompt": "ä" * (PROMPT_CHARS + 1)})
    assert (response.status_code, code_of(response)) == (413, "prompt_too_long")


def test_incident_14_headers_beyond_the_limit_are_refused(http: httpx2.Client) -> None:
    assert http.get("/v1/models", headers={"x-fill": "a" * 10_000}).status_code == 200
    response = http.get("/v1/models", headers={"x-fill": "a" * HEADER_BYTES})
    assert (response.status_code, code_of(response)) == (431, "headers_too_large")


@pytest.mark.parametrize("size", [(PIXELS, 1), (1, PIXELS), (1, 1), (2, 60_000), (2001, 10)])
@pytest.mark.parametrize("model", [IMAGE_MODEL, EDIT_MODEL])
def test_incident_14_shape_of_any_kind_ends_in_a_score_or_a_code(
    http: httpx2.Client, png: MakePng, size: tuple[int, int], model: str
) -> None:
    image = text_of(png(*size))
    sources = [image] if model == EDIT_MODEL else []
    asked = {"model": model, "prompt": "x", "candidates": [image], "source_images": sources}
    response = http.post("/v1/score", json=asked)
    assert response.status_code == 200 or code_of(response) == "image_refused_by_model"


FIELDS: list[dict[str, Any]] = [
    {"timeout_s": float("nan")},
    {"timeout_s": float("inf")},
    {"timeout_s": -1},
    {"timeout_s": 1e-300},
    {"timeout_s": 1e300},
    {"timeout_s": 10**400},
    {"timeout_s": "1"},
    {"timeout_s": True},
    {"model": ""},
    {"model": "hp-mini\0"},
    {"model": ["hp-mini"]},
    {"model": {"name": "hp-mini"}},
    {"model": "x" * 10_000},
    {"prompt": None},
    {"prompt": "\0"},
    {"prompt": "\ufffe\uffff\u202e"},
    {"prompt": "<|image_pad|><|vision_start|><|im_end|>"},
    {"candidates": None},
    {"candidates": {}},
    {"candidates": [[]]},
    {"candidates": [None]},
    {"candidates": [1e999]},
    {"candidates": [["x"] * 100] * 100},
    {"candidates": ""},
    {"source_images": 0},
    {"source_images": [{}]},
    {"mm_processor_kwargs": {"num_crops": 10**9}},
    {"guided_regex": "(a+)+$"},
    {"frames": 10**9},
    {"__proto__": {}},
    {"": None},
]


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: repr(fields)[:40])
def test_incident_14_malformed_field_harms_no_process(
    http: httpx2.Client, server: Server, png: MakePng, fields: dict[str, Any]
) -> None:
    pids = [server.model_pid(model) for model in (IMAGE_MODEL, EDIT_MODEL)]
    asked = {"model": IMAGE_MODEL, "candidates": [text_of(png(8, 8))], **fields}
    headers = {"content-type": "application/json"}
    for route in ("/v1/score", "/v1/rank"):
        response = http.post(route, content=json.dumps(asked).encode(), headers=headers)
        assert response.status_code in (200, 400, 404, 408, 413, 415, 422), response.text
    assert [server.model_pid(model) for model in (IMAGE_MODEL, EDIT_MODEL)] == pids
    assert server.is_ready()


def png_of(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def turned(edits: dict[str, bytes]) -> tuple[bytes, bytes]:
    """Return two pictures of the same bytes, one wide and one high."""
    with Image.open(io.BytesIO(edits["right"])) as picture:
        values = np.asarray(picture.convert("RGB").resize((256, 64)))
    return png_of(values), png_of(values.reshape(256, 64, 3))


def values_of(http: httpx2.Client, model: str, source: bytes, images: list[bytes]) -> list[float]:
    sources = [text_of(source)] if model == EDIT_MODEL else []
    asked = {"model": model, "prompt": "make it red", "source_images": sources}
    response = http.post("/v1/score", json=asked | {"candidates": list(map(text_of, images))})
    assert response.status_code == 200, response.text
    return [item["score"]["value"] for item in response.json()["results"]]


def offline(model: str, source: bytes, image: bytes) -> float:
    sample = visreward.Sample(
        prompt="make it red",
        image=image,
        source_image=source if model == EDIT_MODEL else None,
    )
    return visreward.load_model(model).score([sample])[0].value


@pytest.mark.parametrize("model", [EDIT_MODEL, IMAGE_MODEL])
def test_incident_15_equal_bytes_in_another_shape_have_another_score(
    http: httpx2.Client, turned: tuple[bytes, bytes], model: str
) -> None:
    wide, high = turned
    first = values_of(http, model, wide, [wide, high])
    again = values_of(http, model, wide, [high, wide])
    expected = [offline(model, wide, wide), offline(model, wide, high)]
    assert abs(expected[0] - expected[1]) > 1e-3
    assert first == pytest.approx(expected, abs=1e-4)
    assert again[::-1] == pytest.approx(expected, abs=1e-4)


def test_incident_15_equal_bytes_as_source_have_another_score_too(
    http: httpx2.Client, turned: tuple[bytes, bytes]
) -> None:
    wide, high = turned
    found = [values_of(http, EDIT_MODEL, source, [wide])[0] for source in (wide, high, wide)]
    assert found[0] == pytest.approx(found[2], abs=1e-4)
    assert found[1] == pytest.approx(offline(EDIT_MODEL, high, wide), abs=1e-4)
    assert abs(found[0] - found[1]) > 1e-3


def scored(model: visreward.RewardModel, images: tuple[bytes, bytes]) -> float:
    sample = visreward.Sample(prompt="make it red", image=images[0], source_image=images[1])
    return model.score([sample])[0].value


def test_incident_16_weights_that_change_leave_no_stale_features(
    turned: tuple[bytes, bytes],
) -> None:
    model, cold = visreward.load_model(EDIT_MODEL), visreward.load_model(EDIT_MODEL)
    assert isinstance(model, VLMReward)
    first = scored(model, turned)
    assert scored(model, turned) == first
    assert model.vision_cache.num_hits > 0
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    changed = {
        name: value * 1.5 if "visual" in name and name.endswith("weight") else value
        for name, value in kept.items()
    }
    model.load_state_dict(changed)
    cold.load_state_dict(changed)
    other = scored(model, turned)
    assert other == scored(cold, turned)
    assert other != first
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(kept[name])
    assert scored(model, turned) == first


def test_incident_16_restarted_model_scores_the_same_bits(
    http: httpx2.Client,
    server: Server,
    turned: tuple[bytes, bytes],
    until: Callable[..., Any],
) -> None:
    before = values_of(http, EDIT_MODEL, turned[0], [turned[1]])
    warm = values_of(http, EDIT_MODEL, turned[0], [turned[1]])
    old = server.model_pid(EDIT_MODEL)
    os.kill(old, signal.SIGKILL)
    until(lambda: server.model_pid(EDIT_MODEL) != old and server.is_ready())
    after = values_of(http, EDIT_MODEL, turned[0], [turned[1]])
    assert before == warm == after
