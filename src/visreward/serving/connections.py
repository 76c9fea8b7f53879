"""HTTP connections that must bring their headers in time, and end once they were refused."""

from __future__ import annotations

import asyncio
import logging
import uuid
from http import HTTPStatus
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from visreward.serving.metrics import Metrics
from visreward.serving.problems import Code, Problem
from visreward.serving.responses import error_response
from visreward.serving.settings import Limits

LINGER_S: Final = 2.0
"""How long a client may go on with a body that was refused; cut off at once, it might not get to
read why."""

logger = logging.getLogger("visreward.serving")


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, closing connections that take too long or bring no HTTP.

    uvicorn itself waits for ever for the rest of a request's headers, however long they are, so
    that half-open requests would use up the server's file descriptors and memory, and reads what
    follows an early answer for as long as it comes.
    """

    limits: ClassVar[Limits]
    metrics: ClassVar[Metrics]

    _has_head = False
    _has_body = False
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None
    _patience_s: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take some bytes, and see what is still awaited."""
        was_in_head = not self._has_head
        super().data_received(data)
        if was_in_head and not self._has_head and not self.transport.is_closing():
            # What is within twice the limit is refused by the gate, which has an id for it.
            self._head_bytes += len(data)
            if self._head_bytes > 2 * self.limits.header_bytes:
                self._refuse(Code.HEADERS_TOO_LARGE)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._set_patience(None)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Wait for headers."""
        self._has_head = self._has_body = False
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Wait for a body."""
        self._has_head = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for nothing."""
        self._has_body = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's own sentence
        """Say that this is no HTTP, in the words of the catalogue."""
        self._refuse(Code.NOT_HTTP)

    def _refuse(self, code: Code) -> None:
        """Answer before there is a request, and close the connection."""
        self.metrics.rejections.labels(code.value).inc()
        request_id = uuid.uuid4().hex
        logger.info("connection refused", extra={"request_id": request_id, "code": code.value})
        response = error_response(Problem(code), request_id)
        status = HTTPStatus(response.status_code)
        head = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
        head += [b": ".join(pair) for pair in (*response.raw_headers, (b"connection", b"close"))]
        self.transport.write(b"\r\n".join([*head, b"", bytes(response.body)]))
        self.transport.close()

    def _watch(self) -> None:
        if self.transport.is_closing():
            self._set_patience(None)
        elif not self._has_head:
            self._set_patience(self.limits.header_s)
        elif self.cycle.response_complete and not self._has_body:
            self._set_patience(LINGER_S)
        else:
            self._set_patience(None)

    def _set_patience(self, seconds: float | None) -> None:
        """Start the clock where something else is awaited than before; None stops it."""
        if seconds == self._patience_s:
            return
        self._patience_s = seconds
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._timer = self._patience_s = None
        self.transport.close()


def patient_protocol(limits: Limits, metrics: Metrics) -> type[HttpToolsProtocol]:
    """Return the protocol of one server.

    Args:
        limits: How many bytes the headers may have, and how long they may take.
        metrics: Where refusals are counted.
    """
    return type("PatientProtocol", (PatientProtocol,), {"limits": limits, "metrics": metrics})
