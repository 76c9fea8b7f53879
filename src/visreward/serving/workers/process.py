"""One child process of the server, and the only connection to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any, Final

from visreward.serving.workers.frames import READ_BUFFER_BYTES, Message, frame, read

API_KEY_VARIABLE: Final = "VISREWARD_API_KEY"


class WorkerProcess:
    """A running child; made by `start`.

    Attributes:
        pid: Its process id.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, module: str) -> WorkerProcess:
        """Run a module of ours as a child, which gets the number of its socket as argument.

        It leads a process group of its own, so that Ctrl-C in a terminal reaches the server only,
        and it sees no API key. It ends by itself when its socket closes.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            environment = {
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
        reader, writer = await asyncio.open_connection(sock=ours, limit=READ_BUFFER_BYTES)
        return cls(process, reader, writer)

    async def send(self, message: Mapping[str, Any]) -> None:  # plain values
        """Send one message; a child that is gone takes none, which `receive` notices."""
        try:
            self._writer.write(frame(message))
            await self._writer.drain()
        except ConnectionError:
            return

    async def receive(self) -> Message | None:
        """Wait for one message; None when the child is gone."""
        return await read(self._reader)

    def kill(self) -> None:
        """End the child at once; one that was stopped by a signal too."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """End the child at once, and wait for its end."""
        self._writer.close()
        self.kill()
        await self._process.wait()
