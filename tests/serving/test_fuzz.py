"""Requests that no client would send: no 5xx, no restart, no detail in the answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.serving.conftest import Server

OVER_HTTP = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
RESTARTS = 'visreward_model_restarts_total{model="editreward-mini"}'
ROUTES = ("/v1/score", "/v1/rank", "/rerank", "/score")

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.sampled_from(
    [
        "prompt",
        "candidates",
        "source_images",
        "model",
        "timeout_s",
        "query",
        "documents",
        "requests",
    ]
)
turn = st.fixed_dictionaries({}, optional={"text": st.text(max_size=9), "image_b64": values})
almost = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["hp-mini", "editreward-mini", None, "x"]),
        "prompt": st.text(max_size=120),
        "candidates": st.lists(st.text(max_size=30) | st.just("iVBORw0KGgo="), max_size=10),
        "source_images": st.lists(st.text(max_size=30), max_size=3),
        "timeout_s": st.floats(),
        "query": st.text(max_size=20) | values,
        "documents": st.lists(st.text(max_size=20), max_size=4),
        "top_n": st.integers(-2, 5),
        "requests": st.lists(
            st.fixed_dictionaries(
                {
                    "history": st.lists(turn, max_size=3),
                    "required_rewards": st.lists(
                        st.sampled_from(["hp-mini", "hp", ""]), max_size=3
                    ),
                }
            ),
            max_size=3,
        ),
    },
)
bodies = values | st.dictionaries(names, values, max_size=4) | almost


@pytest.fixture(scope="module", autouse=True)
def restarts_before(server: Server) -> float:
    """Return how often a model was started again before the first request of this file."""
    return server.metric(RESTARTS)


def check(response: httpx2.Response) -> None:
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert set(response.json()) == {"error", "request_id", "results"}


@OVER_HTTP
@given(st.sampled_from(ROUTES), bodies)
def test_json_of_any_shape_gets_no_5xx(http: httpx2.Client, route: str, body: Any) -> None:
    headers = {"content-type": "application/json"}
    content = json.dumps(body).encode("utf-8", "surrogatepass")
    check(http.post(route, content=content, headers=headers))


@OVER_HTTP
@given(st.sampled_from(ROUTES), bodies, st.binary(max_size=20))
def test_msgpack_of_any_shape_gets_no_5xx(
    http: httpx2.Client, route: str, body: Any, tail: bytes
) -> None:
    try:
        content = msgpack.packb(body)
    except (OverflowError, UnicodeEncodeError):
        content = b""
    headers = {"content-type": "application/msgpack"}
    check(http.post(route, content=content + tail, headers=headers))


@OVER_HTTP
@given(
    st.text("-abc;=\"'\\ \t\r\n", max_size=20),
    st.lists(st.binary(max_size=30) | st.sampled_from([b"--b\r\n", b"--b--\r\n", b"\r\n\r\n"])),
)
def test_multipart_of_any_shape_gets_no_5xx(
    http: httpx2.Client, boundary: str, parts: list[bytes]
) -> None:
    kind = f"multipart/form-data; boundary={boundary.strip() or 'b'}"
    kind = kind.replace("\r", "").replace("\n", "")
    check(http.post("/v1/score", content=b"".join(parts), headers={"content-type": kind}))


def test_nothing_restarted_meanwhile(server: Server, restarts_before: float) -> None:
    assert server.is_ready()
    assert server.metric(RESTARTS) == restarts_before
    assert server.process.poll() is None
