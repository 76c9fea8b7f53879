"""Clients that cost little, so that what they take from the server's cores stays small.

One HTTP/1.1 connection each, msgpack, no retries: what the server answers is what is counted.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import msgpack
import uvloop

REPLY_S = 120.0
REFUSED_S = 0.1
READ_EVERY_S = 5.0
_MSGPACK = "application/msgpack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer, or its absence.

    Attributes:
        request_id: What the client called its request.
        answered_id: What the answer says; None where the connection ended without one.
        status: 0 without an answer.
        sent_at: Of the monotonic clock, in seconds.
        done_at: Likewise.
        num_scored: Candidates with a score.
    """

    request_id: str
    answered_id: str | None
    status: int
    sent_at: float
    done_at: float
    num_scored: int = 0
    code: str | None = None

    @property
    def seconds(self) -> float:
        """Return the time from sending to the whole answer."""
        return self.done_at - self.sent_at


class Connection:
    """One kept connection, opened again where the server has closed it."""

    def __init__(self, port: int, client: str) -> None:
        self._port = port
        self._client = client
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes, *, request_id: str, kind: str = _MSGPACK) -> Reply:
        """Send one request and wait for its answer."""
        sent_at = time.monotonic()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\n"
            f"accept: {_MSGPACK}\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\nx-visreward-client: {self._client}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(REPLY_S):
                status, headers, content = await self._exchange(head.encode(), body)
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            self.close()
            return Reply(
                request_id=request_id,
                answered_id=None,
                status=0,
                sent_at=sent_at,
                done_at=time.monotonic(),
            )
        if headers.get("connection") == "close":
            self.close()
        done_at = time.monotonic()
        is_msgpack = headers.get("content-type") == _MSGPACK
        found = msgpack.unpackb(content) if is_msgpack else json.loads(content)
        return Reply(
            request_id=request_id,
            answered_id=headers.get("x-request-id"),
            status=status,
            sent_at=sent_at,
            done_at=done_at,
            num_scored=sum(item["score"] is not None for item in found.get("results") or ()),
            code=(found.get("error") or {}).get("code"),
        )

    async def _exchange(self, head: bytes, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._streams is not None and self._streams[0].at_eof():
            self.close()  # the server has ended it meanwhile, idle as it was
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.writelines((head, body))
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return (
            int(lines[0][9:12]),
            headers,
            await reader.readexactly(int(headers["content-length"])),
        )

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def closed_loop(
    port: int,
    bodies: Iterator[bytes],
    *,
    num_clients: int,
    is_over: Callable[[], bool],
    tag: str,
) -> list[Reply]:
    """Let each client send the next request when it has its answer, until the load is over.

    A refused client waits a little, as one that is told to come again would, but shorter.
    """
    replies: list[Reply] = []

    async def client(number: int) -> None:
        connection = Connection(port, f"client-{number}")
        count = 0
        while not is_over():
            count += 1
            request_id = f"{tag}-{number}-{count}"
            reply = await connection.post("/v1/score", next(bodies), request_id=request_id)
            replies.append(reply)
            if reply.status != 200:
                await asyncio.sleep(REFUSED_S)
        connection.close()

    await asyncio.gather(*map(client, range(num_clients)))
    return replies


def press(
    port: int, bodies: Iterator[bytes], *, num_clients: int, seconds: float, tag: str
) -> list[Reply]:
    """Let clients ask as fast as they are answered, for some seconds."""
    end = time.monotonic() + seconds
    return uvloop.run(
        closed_loop(
            port,
            bodies,
            num_clients=num_clients,
            is_over=lambda: time.monotonic() >= end,
            tag=tag,
        )
    )


async def open_loop(
    port: int,
    bodies: Iterator[bytes],
    *,
    times: Sequence[float],
    tag: str,
    num_clients: int = 64,
    read: Callable[[], None] = lambda: None,
) -> list[Reply]:
    """Send requests at their times, whatever the server does; what was refused is asked again.

    Args:
        port: Of the server.
        bodies: What to send.
        times: When each is sent, in seconds from the start.
        tag: Begins every request's id.
        num_clients: How many names the requests go by, in turn.
        read: Called at first and every few seconds; it takes time of the load's own.
    """
    start = time.monotonic()
    refused: list[bytes] = []
    idle: list[list[Connection]] = [[] for _ in range(num_clients)]
    replies: list[Reply] = []
    tasks: list[asyncio.Task[None]] = []

    async def ask(number: int) -> None:
        lane = idle[number % num_clients]
        connection = lane.pop() if lane else Connection(port, f"client-{number % num_clients}")
        body = refused.pop() if refused else next(bodies)
        reply = await connection.post("/v1/score", body, request_id=f"{tag}-{number}")
        replies.append(reply)
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            refused.append(body)
        lane.append(connection)

    next_read = 0.0
    for due in times:
        await asyncio.sleep(max(0.0, start + due - time.monotonic()))
        tasks.append(asyncio.create_task(ask(len(tasks))))
        if time.monotonic() - start >= next_read:
            next_read += READ_EVERY_S
            read()
    await asyncio.gather(*tasks)
    for lane in idle:
        for connection in lane:
            connection.close()
    return replies


def scored_per_s(replies: list[Reply], *, only_under_load: bool = False) -> float:
    """Return candidates scored per second, from the first request to the last answer.

    Batches are answered at once, so that the answers within a short window are a matter of chance.
    The server works until the last answer: clients that stop earlier cost no rate.

    Args:
        replies: All answers of a phase.
        only_under_load: Whether only answers count that came before the last request was sent.
    """
    begin = min(reply.sent_at for reply in replies)
    end = max(reply.sent_at for reply in replies)
    scored = [reply for reply in replies if reply.num_scored]
    if only_under_load:
        scored = [reply for reply in scored if reply.done_at <= end]
    elif scored:
        end = max(reply.done_at for reply in scored)
    return sum(reply.num_scored for reply in scored) / (end - begin) if scored else 0.0
