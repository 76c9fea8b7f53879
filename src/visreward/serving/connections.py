"""HTTP connections that must bring their headers in time."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


def patient_protocol(header_s: float) -> type[H11Protocol]:
    """Return uvicorn's HTTP protocol, closing connections whose headers take too long.

    uvicorn itself waits for ever for the rest of a request's headers, so that many half-open
    requests would use up the server's file descriptors.

    Args:
        header_s: Seconds from a connection's first byte, or its opening, to the last header.
    """

    class PatientProtocol(H11Protocol):
        _header_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._await_headers()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._await_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def _await_headers(self) -> None:
            if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
                self._stop_timer()
            elif self._header_timer is None:
                self._header_timer = self.loop.call_later(header_s, self._give_up)

        def _stop_timer(self) -> None:
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None

        def _give_up(self) -> None:
            self._header_timer = None
            if self.conn.their_state is h11.IDLE:
                self.transport.close()

    return PatientProtocol
