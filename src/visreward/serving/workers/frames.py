"""Messages between the server and its child processes: msgpack in frames, over a socket pair.

A socket pair has no name and no port, so that no other process can reach it. msgpack holds plain
values only; nothing that is received is ever run. Pixels go beside a message as open files, which
the kernel hands over: a frame is a header, the files, and the payload.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import msgpack

from visreward.serving.workers.shared_pixels import SharedPixels

Message: TypeAlias = dict[str, Any]  # plain values of msgpack, bytes included
"""One message: text keys; the modules of both ends say which."""

_HEADER: Final = struct.Struct(">QI")
"""Bytes of the payload, and how many files come before it."""

_FILES_AT_ONCE: Final = 250
"""Linux hands over 253 with one byte."""

_READ_BYTES: Final = 1 << 20

_Taken: TypeAlias = tuple[bytes, list[SharedPixels]]


@dataclass(frozen=True, slots=True)
class Received:
    """One message with its files, in the order in which they were sent."""

    message: Message
    files: list[SharedPixels]


def send(
    connection: socket.socket, message: Mapping[str, Any], files: Sequence[SharedPixels] = ()
) -> None:
    """Send one message, waiting until it is out."""
    for part, descriptors in _parts(message, files):
        connection.sendall(part[_put(connection, part, descriptors) :])


def receive(connection: socket.socket) -> Received | None:
    """Wait for one message; None at the end of the connection."""
    reading = _reading()
    try:
        wanted = next(reading)
        while True:
            wanted = reading.send(_take(connection, wanted))
    except StopIteration as end:
        return cast("Received | None", end.value)
    except ConnectionError:
        return None


def begin() -> tuple[socket.socket, Message] | None:
    """Take up the connection that the server gave this child process, and its first message.

    Signals of a terminal are left to the server, which closes the connection. None where it has
    done so already.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection = socket.socket(fileno=int(sys.argv[1]))
    setup = receive(connection)
    return None if setup is None else (connection, setup.message)


class Channel:
    """The server's end of a connection; one task may send while another one receives.

    Args:
        connection: A connected socket, which belongs to the channel from now on.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection

    async def send(self, message: Mapping[str, Any], files: Sequence[SharedPixels] = ()) -> None:
        """Send one message; to an end that is gone nothing goes, which `receive` notices."""
        loop = asyncio.get_running_loop()
        try:
            for part, descriptors in _parts(message, files):
                done = 0
                while done < len(part):
                    try:
                        # The descriptors go with the first byte.
                        going = [] if done else descriptors
                        done += _put(self._connection, part[done:], going)
                    except BlockingIOError:
                        await self._when(loop.add_writer, loop.remove_writer)
        except ConnectionError:
            return

    async def receive(self) -> Received | None:
        """Wait for one message; None at the end of the connection."""
        loop = asyncio.get_running_loop()
        reading = _reading()
        try:
            wanted = next(reading)
            while True:
                try:
                    wanted = reading.send(_take(self._connection, wanted))
                except BlockingIOError:
                    await self._when(loop.add_reader, loop.remove_reader)
        except StopIteration as end:
            return cast("Received | None", end.value)
        except ConnectionError:
            return None

    def close(self) -> None:
        """Close the connection, on which nobody waits any more."""
        self._connection.close()

    async def _when(
        self,
        watch: Callable[[socket.socket, Callable[[], None]], object],
        forget: Callable[[socket.socket], object],
    ) -> None:
        """Wait until the socket is ready for what is watched."""
        ready = asyncio.Event()
        watch(self._connection, ready.set)
        try:
            await ready.wait()
        finally:
            forget(self._connection)


def _parts(
    message: Mapping[str, Any], files: Sequence[SharedPixels]
) -> Iterator[tuple[memoryview, list[int]]]:
    """Yield what to send, each with the descriptors that go with its first byte."""
    payload = cast("bytes", msgpack.packb(message, use_bin_type=True))
    descriptors = [file.descriptor for file in files]
    yield (
        memoryview(_HEADER.pack(len(payload), len(descriptors))),
        descriptors[:_FILES_AT_ONCE],
    )
    for start in range(_FILES_AT_ONCE, len(descriptors), _FILES_AT_ONCE):
        yield memoryview(b"\0"), descriptors[start : start + _FILES_AT_ONCE]
    yield memoryview(payload), []


def _reading() -> Generator[int, _Taken, Received | None]:
    """Yield how many bytes are wanted, take at most as many, and return the message."""
    head, payload = bytearray(), bytearray()
    files: list[SharedPixels] = []
    while len(head) < _HEADER.size:
        content, brought = yield _HEADER.size - len(head)
        if not content:
            return None
        head += content
        files += brought
    num_bytes, num_files = _HEADER.unpack(head)
    while len(files) < num_files:
        _, brought = yield 1
        if not brought:
            raise ConnectionError  # this process may open no more files
        files += brought
    while len(payload) < num_bytes:
        content, _ = yield min(_READ_BYTES, num_bytes - len(payload))
        if not content:
            return None
        payload += content
    return Received(cast("Message", msgpack.unpackb(payload, raw=False)), files)


def _take(connection: socket.socket, num_bytes: int) -> _Taken:
    content, descriptors, _, _ = socket.recv_fds(connection, num_bytes, _FILES_AT_ONCE)
    return content, [SharedPixels(descriptor) for descriptor in descriptors]


def _put(connection: socket.socket, content: memoryview, descriptors: list[int]) -> int:
    if descriptors:
        return socket.send_fds(connection, [content], descriptors)
    return connection.send(content)
