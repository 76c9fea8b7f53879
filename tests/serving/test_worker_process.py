"""Children of the server: they are gone when `stop` is over."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from visreward.serving.workers.process import WorkerProcess


def test_stop_that_is_cancelled_still_waits_for_the_child() -> None:
    async def pid_after_cancelled_stop() -> int:
        worker = await WorkerProcess.start("visreward.serving.workers.decoder")
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert worker._process.returncode is not None
        return worker.pid

    assert not psutil.pid_exists(asyncio.run(pid_after_cancelled_stop()))
