"""What the gate does with a fault of our own."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from visreward.serving import gate
from visreward.serving.metrics import Metrics
from visreward.serving.service import RewardService
from visreward.serving.settings import ModelSetup, ServerSettings
from visreward.serving.tracing import Tracing

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/v1/models",
    "headers": [(b"host", b"127.0.0.1"), (b"x-request-id", b"mine-1")],
    "client": ("127.0.0.1", 1),
}


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("a detail")


async def broken_after_its_answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 500, "headers": []})
    await send({"type": "http.response.body", "body": b"said"})
    raise ValueError("a detail")


@pytest.mark.parametrize("app", [broken, broken_after_its_answer])
def test_fault_of_our_own_is_one_500_and_one_log_line_with_the_requests_id(
    app: ASGIApp, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def ask() -> None:
        settings = ServerSettings(models=(ModelSetup(name="hp-mini"),))
        service = RewardService(settings, Metrics(), Tracing())
        await gate.Gate(app, service)(dict(SCOPE), receive, send)
        assert service.num_open == 0

    monkeypatch.setattr(gate.logger, "propagate", True)
    with caplog.at_level(logging.INFO, logger="visreward.serving"):
        asyncio.run(ask())

    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 500
    assert b"a detail" not in sent[1]["body"]
    lines = [json.loads(gate.JsonLines().format(record)) for record in caplog.records]
    assert [line["event"] for line in lines] == ["request failed", "request"]
    assert {line["request_id"] for line in lines} == {"mine-1"}
    assert "a detail" in lines[0]["exception"]
    assert lines[1]["status"] == 500
