"""Messages and open files between processes: both ends of a real socket pair."""

from __future__ import annotations

import asyncio
import copy
import itertools
import os
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from visreward.serving.workers.frames import Channel, Received, receive, send
from visreward.serving.workers.shared_pixels import SharedPixels

MESSAGE = {"id": 3, "text": "a ball", "bytes": bytes(range(256)), "none": None, "list": [1.5, True]}
LARGE = {"bytes": os.urandom(3_000_000)}


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def files(count: int) -> list[SharedPixels]:
    return [SharedPixels.holding(b"%08d" % number) for number in range(count)]


def contents(found: list[SharedPixels]) -> list[bytes]:
    return [bytes(each.read(8)) for each in found]


def open_files() -> set[int]:
    return {int(path.name) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}


def num_open() -> int:
    return len(open_files())


@contextmanager
def few_files(spare: int) -> Iterator[None]:
    """Let this process open so many files more, and no others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = (number for number in itertools.count() if number not in open_files())
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, spare, None)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("count", [0, 1, 250, 251, 600])
def test_receive_gives_the_message_and_the_files_in_order(
    ends: tuple[socket.socket, socket.socket], count: int
) -> None:
    sending = threading.Thread(target=send, args=(ends[0], MESSAGE, files(count)))
    sending.start()
    found = receive(ends[1])
    sending.join()
    assert found is not None
    assert found.message == MESSAGE
    assert contents(found.files) == [b"%08d" % number for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 600])
def test_channel_sends_and_receives_what_blocking_ends_do(
    ends: tuple[socket.socket, socket.socket], count: int
) -> None:
    """A large message meets a full socket on its way, and one that has nothing yet."""

    def echo() -> None:
        for _ in range(2):
            found = receive(ends[1])
            assert found is not None
            send(ends[1], found.message, found.files)

    async def talk() -> list[Received | None]:
        channel = Channel(ends[0])
        answers = []
        for message in (LARGE, MESSAGE):
            sending = asyncio.create_task(channel.send(message, files(count)))
            answers.append(await channel.receive())
            await sending
        return answers

    other = threading.Thread(target=echo)
    other.start()
    answers = asyncio.run(talk())
    other.join()
    assert [each and each.message for each in answers] == [LARGE, MESSAGE]
    for each in answers:
        assert each is not None
        assert contents(each.files) == [b"%08d" % number for number in range(count)]


def test_receive_end_of_the_connection_is_none(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].sendall(b"\0\0\0")
    ends[0].close()
    assert receive(ends[1]) is None

    async def both() -> Received | None:
        channel = Channel(ends[1])
        await channel.send(LARGE, files(1))
        return await channel.receive()

    assert asyncio.run(both()) is None


def test_receive_without_room_for_the_files_is_the_end_and_keeps_none_of_them(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    sent = files(20)
    send(ends[0], MESSAGE, sent)
    before = num_open()
    with few_files(spare=3):
        assert receive(ends[1]) is None
    assert num_open() == before


def test_shared_pixels_are_read_from_the_start_however_often() -> None:
    content = os.urandom(1000)
    shared = SharedPixels.holding(content)
    assert [bytes(shared.read(size)) for size in (1000, 10, 0)] == [content, content[:10], b""]
    with pytest.raises(EOFError):
        shared.read(1001)


def test_shared_pixels_close_with_their_object_and_are_never_copied() -> None:
    before = num_open()
    shared = SharedPixels.holding(b"abc")
    assert num_open() == before + 1
    with pytest.raises(TypeError, match="cannot be copied"):
        copy.deepcopy(shared)
    del shared
    assert num_open() == before
