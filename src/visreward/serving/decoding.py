"""A pool of child processes that decode images, replaced when one dies or takes too long."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from visreward.serving.metrics import Metrics
from visreward.serving.problems import Code, Problem
from visreward.serving.workers.frames import Received
from visreward.serving.workers.process import WorkerProcess
from visreward.serving.workers.shared_pixels import SharedPixels

MAX_DECODE_S: Final = 20.0
"""A picture of 40 million pixels takes about 2 s; what takes longer is no picture."""

_MAX_TRIES: Final = 2
"""A process may have died while it idled, for which the next image is not to blame."""

_MODULE: Final = "visreward.serving.workers.decoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One decoded image.

    Attributes:
        key: SHA-256 of the file's bytes.
        pixels: RGB, 3 bytes per pixel, row by row; never in this process.
    """

    key: str
    width: int
    height: int
    pixels: SharedPixels

    @property
    def num_pixels(self) -> int:
        """Return width x height."""
        return self.width * self.height

    @property
    def num_bytes(self) -> int:
        """Return the size of the pixels."""
        return 3 * self.num_pixels


class DecoderPool:
    """Decode images in child processes, one image per process at a time.

    Args:
        num_processes: How many images are decoded at once.
        max_pixels: Largest width x height of an image.
        metrics: Where times and restarts are counted.
    """

    def __init__(self, num_processes: int, *, max_pixels: int, metrics: Metrics) -> None:
        self._num_processes = num_processes
        self._max_pixels = max_pixels
        self._metrics = metrics
        self._idle: asyncio.Queue[WorkerProcess] = asyncio.Queue()
        self._all: set[WorkerProcess] = set()
        self._tasks: set[asyncio.Task[Received]] = set()

    async def start(self) -> None:
        """Start the processes."""
        for _ in range(self._num_processes):
            self._idle.put_nowait(await self._started())

    async def stop(self) -> None:
        """End the processes."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in list(self._all):
            await worker.stop()
        self._all.clear()

    async def decode(self, image: str | bytes, *, is_upright: bool) -> Picture:
        """Decode one image: the bytes of a file, or base64 text of them.

        Raises:
            Problem: if it cannot be decoded; the code says why.
        """
        worker = await self._idle.get()
        exchange = asyncio.get_running_loop().create_task(
            self._exchange(worker, image, is_upright=is_upright)
        )
        self._tasks.add(exchange)
        exchange.add_done_callback(self._tasks.discard)
        # Who no longer waits must not leave an answer behind for the next image.
        answer = await asyncio.shield(exchange)
        if "error" in answer.message:
            raise Problem(Code(answer.message["error"]))
        (pixels,) = answer.files
        return Picture(**answer.message, pixels=pixels)

    async def _exchange(
        self, worker: WorkerProcess, image: str | bytes, *, is_upright: bool
    ) -> Received:
        """Return a process's answer; if it has died, that of another one in its place."""
        request = {"image": image, "is_upright": is_upright}
        answer: Received | None = None
        for _ in range(_MAX_TRIES):
            try:
                with self._metrics.stage_timer("decode"):
                    await worker.send(request)
                    answer = await asyncio.wait_for(worker.receive(), MAX_DECODE_S)
            except TimeoutError:
                worker = await self._replaced(worker)
                break
            if answer is not None:
                break
            worker = await self._replaced(worker)
        self._idle.put_nowait(worker)
        return answer or Received({"error": Code.IMAGE_DECODER_FAILED.value}, [])

    async def _replaced(self, worker: WorkerProcess) -> WorkerProcess:
        self._all.discard(worker)
        await worker.stop()
        self._metrics.decoder_restarts.inc()
        return await self._started()

    async def _started(self) -> WorkerProcess:
        worker = await WorkerProcess.start(_MODULE)
        self._all.add(worker)
        await worker.send({"max_pixels": self._max_pixels})
        return worker
