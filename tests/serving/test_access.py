"""Who may ask, and which settings are refused; more of it in the incidents 6, 7, 10 and 17."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx2
import pytest

from visreward.core.errors import UsageError
from visreward.serving.settings import Limits, ModelSetup, ServerSettings, is_loopback

if TYPE_CHECKING:
    from tests.serving.conftest import Server

IMAGE_MODEL = "hp-mini"
MODELS = (ModelSetup(name=IMAGE_MODEL),)


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_key_is_taken_in_either_header(server: Server, header: str) -> None:
    value = f"Bearer {server.api_key}" if header == "authorization" else str(server.api_key)
    with httpx2.Client(base_url=server.url, headers={header: value}, timeout=60) as http:
        assert http.get("/v1/models").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", "127.0.0.1.evil"])
def test_settings_open_host_without_key_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="API key"):
        ServerSettings(models=MODELS, host=host)
    assert ServerSettings(models=MODELS, host=host, api_key="k" * 16).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_settings_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    assert ServerSettings(models=MODELS, host=host).api_key is None


def test_settings_short_key_is_refused_and_a_key_is_not_shown() -> None:
    with pytest.raises(UsageError, match="15 characters"):
        ServerSettings(models=MODELS, api_key="k" * 15)
    assert "kkkk" not in repr(ServerSettings(models=MODELS, api_key="k" * 16))


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_settings_drain_or_limit_that_is_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="drain_s"):
        ServerSettings(models=MODELS, drain_s=seconds)
    with pytest.raises(UsageError, match="timeout_s"):
        Limits(timeout_s=seconds)


def test_model_name_that_is_a_folder_is_unknown(
    http: httpx2.Client, png: Callable[..., bytes]
) -> None:
    image = base64.b64encode(png(8, 8)).decode()
    for name in ("/etc", "../hp-mini", "hp-mini/"):
        response = http.post("/v1/score", json={"model": name, "candidates": [image]})
        assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_model")
        assert name not in response.text
