"""Messages between the server and its child processes: msgpack in frames, over a socket pair.

A socket pair has no name and no port, so that no other process can reach it. msgpack holds plain
values only; nothing that is received is ever run.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, cast

import msgpack

Message: TypeAlias = dict[str, Any]  # plain values of msgpack, bytes included
"""One message: text keys; the modules of both ends say which."""

READ_BUFFER_BYTES: Final = 4 << 20

_LENGTH: Final = struct.Struct(">Q")


def frame(message: Mapping[str, Any]) -> bytes:  # plain values
    """Return a message as it goes over the wire."""
    payload = cast("bytes", msgpack.packb(message, use_bin_type=True))
    return _LENGTH.pack(len(payload)) + payload


def send(connection: socket.socket, message: Mapping[str, Any]) -> None:  # plain values
    """Send one message, waiting until it is out."""
    connection.sendall(frame(message))


def receive(connection: socket.socket) -> Message | None:
    """Wait for one message; None at the end of the connection."""
    header = _exactly(connection, _LENGTH.size)
    if header is None:
        return None
    payload = _exactly(connection, _LENGTH.unpack(header)[0])
    return None if payload is None else _unpacked(payload)


def begin() -> tuple[socket.socket, Message] | None:
    """Take up the connection that the server gave this child process, and its first message.

    Signals of a terminal are left to the server, which closes the connection. None where it has
    done so already.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection = socket.socket(fileno=int(sys.argv[1]))
    setup = receive(connection)
    return None if setup is None else (connection, setup)


async def read(reader: asyncio.StreamReader) -> Message | None:
    """Wait for one message; None at the end of the connection."""
    try:
        header = await reader.readexactly(_LENGTH.size)
        return _unpacked(await reader.readexactly(_LENGTH.unpack(header)[0]))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _unpacked(payload: bytes | bytearray) -> Message:
    return cast("Message", msgpack.unpackb(payload, raw=False))


def _exactly(connection: socket.socket, num_bytes: int) -> bytearray | None:
    buffer = bytearray(num_bytes)
    view = memoryview(buffer)
    while view:
        try:
            count = connection.recv_into(view)
        except ConnectionError:
            return None
        if not count:
            return None
        view = view[count:]
    return buffer
