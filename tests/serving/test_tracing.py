"""Traces against a receiver that speaks OTLP over HTTP, and servers that are told to send none."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from visreward.serving import tracing
from visreward.serving.exchange import laid_out

if TYPE_CHECKING:
    from tests.serving.conftest import Server

MODEL = "hp-mini"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
PROMPT = "a prompt that no trace may hold"

StartServer = Callable[..., AbstractContextManager["Server"]]


@dataclass
class Receiver:
    """What came to /v1/traces."""

    port: int
    requests: list[Any] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def spans(self) -> list[Any]:
        return [
            span
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    proto = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            found.bodies.append(body)
            found.requests.append(proto.ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(listening.server_address[1])
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield found
    listening.shutdown()
    thread.join()
    listening.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
    }


def test_request_is_a_span_of_the_callers_trace_with_its_stages_below(
    start_server: StartServer,
    receiver: Receiver,
    png: Callable[[int, int], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.port}")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    image = base64.b64encode(png(8, 8)).decode()
    body = {"prompt": PROMPT, "candidates": [image, image]}
    given = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "x-request-id": "mine-1"}
    with start_server("--model", MODEL) as server, server.http() as http:
        assert http.post("/v1/score", json=body, headers=given).status_code == 200
        assert http.post("/v1/score", json={"candidates": 3}).status_code == 422
        assert http.post(f"/{PROMPT.replace(' ', '-')}", json=body).status_code == 404
    # The end of the server sends what is left.

    ours = [span for span in receiver.spans() if span.trace_id.hex() == TRACE_ID]
    (request,) = [span for span in ours if span.parent_span_id.hex() == PARENT_ID]
    assert request.name == "POST /v1/score"
    assert request.kind == request.SPAN_KIND_SERVER
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/v1/score",
        "http.response.status_code": 200,
        "visreward.request_id": "mine-1",
    }
    stages = [span for span in ours if span is not request]
    assert all(span.parent_span_id == request.span_id for span in stages)
    assert all(attributes(span) == {"visreward.model": MODEL} for span in stages)
    stages.sort(key=lambda span: span.start_time_unix_nano)
    assert [span.name for span in stages] == [
        "decode",
        "queue",
        "prepare",
        "vision",
        "language",
        "head",
    ]
    for span in stages:
        assert request.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= request.end_time_unix_nano
    others = {span.name: attributes(span) for span in receiver.spans() if span not in ours}
    assert others["POST /v1/score"]["http.response.status_code"] == 422
    assert others["POST"]["http.response.status_code"] == 404
    resource = {
        each.key: each.value.string_value
        for each in receiver.requests[0].resource_spans[0].resource.attributes
    }
    assert resource["service.name"] == "visreward"
    assert resource["deployment.environment"] == "test"
    for content in receiver.bodies:
        assert PROMPT.encode() not in content
        assert PROMPT.replace(" ", "-").encode() not in content
        assert image.encode() not in content
    (line,) = [each for each in server.events("request") if each["request_id"] == "mine-1"]
    assert line["trace_id"] == TRACE_ID


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, []),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, []),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, []),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, ["no traces"]),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            ["no traces"],
        ),
    ],
)
def test_environment_that_asks_for_no_traces_we_can_send_gets_none(
    environment: dict[str, str],
    says: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tracing.logger, "propagate", True)

    found = tracing.tracing_from_environment()

    assert type(found) is tracing.Tracing
    assert found.begin(method="POST", headers={}, request_id="1").trace_id is None
    assert [record.message for record in caplog.records] == says


def test_stages_are_laid_out_one_after_the_other_up_to_the_end() -> None:
    stages = laid_out({"prepare": 1.0, "vision": 2.0, "head": 0.5}, end_s=10.0)

    assert [(each.name, each.start_s, each.end_s) for each in stages] == [
        ("prepare", 6.5, 7.5),
        ("vision", 7.5, 9.5),
        ("head", 9.5, 10.0),
    ]
