"""Children of the server: what they are given, and that they are gone when `stop` is over."""

from __future__ import annotations

import asyncio
from pathlib import Path

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


def environment_of_a_child() -> dict[str, str]:
    async def read() -> bytes:
        worker = await WorkerProcess.start("visreward.serving.workers.decoder")
        await worker.send({"max_pixels": 1000})
        try:
            await worker.send({"image": b"", "is_upright": False})
            assert await worker.receive() is not None  # it runs: before that, environ may be empty
            return Path(f"/proc/{worker.pid}/environ").read_bytes()
        finally:
            await worker.stop()

    lines = asyncio.run(read()).decode().split("\0")
    return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "MALLOC_ARENA_MAX"])
@pytest.mark.parametrize("given", [None, "7"])
def test_child_sees_no_api_key_and_our_threading_unless_told_otherwise(
    name: str, given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISREWARD_API_KEY", "secret")
    monkeypatch.setenv("VISREWARD_OTHER", "passed on")
    ours = {"GOMP_SPINCOUNT": "1000", "MALLOC_ARENA_MAX": "1"}
    for each in ours:
        monkeypatch.delenv(each, raising=False)
    if given is not None:
        monkeypatch.setenv(name, given)
    found = environment_of_a_child()
    assert "VISREWARD_API_KEY" not in found
    assert found["VISREWARD_OTHER"] == "passed on"
    expected = ours if given is None else ours | {name: given}
    assert {each: found[each] for each in ours} == expected
