"""HTTP connections that must bring their headers in time, and end once they were refused."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LINGER_S: Final = 2.0
"""How long a client may go on with a body that was refused; cut off at once, it might not get to
read why."""


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP protocol, closing connections that take too long.

    uvicorn itself waits for ever for the rest of a request's headers, so that many half-open
    requests would use up the server's file descriptors, and reads what follows an early answer for
    as long as it comes.
    """

    header_s: ClassVar[float]

    _timer: asyncio.TimerHandle | None = None
    _patience_s: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take some bytes, and see what is still awaited."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._set_patience(None)
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.transport.is_closing():
            self._set_patience(None)
        elif self.conn.their_state is h11.IDLE:
            self._set_patience(self.header_s)
        elif self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY:
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


def patient_protocol(header_s: float) -> type[H11Protocol]:
    """Return the protocol.

    Args:
        header_s: Seconds from a connection's first byte, or its opening, to the last header.
    """
    return type("PatientProtocol", (PatientProtocol,), {"header_s": header_s})
