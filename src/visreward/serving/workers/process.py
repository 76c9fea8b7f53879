"""One child process of the server, and the only connection to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from typing import Final

from visreward.serving.workers.frames import Channel

API_KEY_VARIABLE: Final = "VISREWARD_API_KEY"

_THREADING: Final = {"GOMP_SPINCOUNT": "1000", "MALLOC_ARENA_MAX": "1"}
"""What Linux's libraries read once, where the environment does not say otherwise.

Threads of torch that wait for the next operation spin for less than 0.1 ms and then sleep; by
themselves they spin for milliseconds, a fifth of the cores, which decoders and the server lack. And
all threads take their memory from one place, where what one has freed serves the others; with a
place for each, a process goes on growing."""


class WorkerProcess:
    """A running child; made by `start`.

    Attributes:
        pid: Its process id.
        send: Sends one message, as a `Channel` does.
        receive: Waits for one message; None when the child is gone.
    """

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.pid = process.pid
        self.send = channel.send
        self.receive = channel.receive
        self._process = process
        self._channel = channel

    @classmethod
    async def start(cls, module: str) -> WorkerProcess:
        """Run a module of ours as a child, which gets the number of its socket as argument.

        It leads a process group of its own, so that Ctrl-C in a terminal reaches the server only,
        and it sees no API key. It ends by itself when its socket closes.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            environment = _THREADING | {
                name: value for name, value in os.environ.items() if name != API_KEY_VARIABLE
            }
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=environment,
                start_new_session=True,
            )
        return cls(process, Channel(ours))

    def kill(self) -> None:
        """End the child at once; one that was stopped by a signal too."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """End the child at once, and wait for its end, also where the wait is cancelled."""
        self._channel.close()
        self.kill()
        end = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.shield(end)
        finally:
            await end  # which a loop that closes too early would report
