"""Work on many items at once in an event loop of its own, and hand results back in order."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from visreward.core.errors import JudgeError

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")


def in_order(
    items: Iterable[T],
    work: Callable[[S, T], Coroutine[Any, Any, R]],  # what a coroutine yields and is sent
    *,
    open_session: Callable[[], AbstractAsyncContextManager[S]],
    window: int,
) -> Iterator[R]:
    """Yield the result of each item in the order of the items.

    An item is drawn when fewer than `window` are being worked on or wait for an earlier one. Where
    the iterator is closed early, all work is cancelled; after a `JudgeError`, work that has begun
    is finished first, because its answers are paid for.

    Args:
        items: What to work on; drawn in the caller's thread.
        work: A coroutine per item, given the session.
        open_session: Called in the loop's thread.
        window: The largest number of items at once, 1 or more.

    Raises:
        Exception: whatever `work` raised for the first item in order.
    """
    waiting: deque[Future[R]] = deque()
    with _Loop(open_session) as loop:
        try:
            for item in items:
                waiting.append(loop.start(work(loop.session, item)))
                while waiting and (len(waiting) >= window or waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except JudgeError:
            wait(waiting)
            raise


class _Loop(Generic[S]):
    """An event loop in a thread, with a session open in it."""

    session: S

    def __init__(self, open_session: Callable[[], AbstractAsyncContextManager[S]]) -> None:
        self._open_session = open_session
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="judge", daemon=True)

    def start(self, work: Coroutine[Any, Any, R]) -> Future[R]:
        """Start a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def __enter__(self) -> Self:
        self._thread.start()
        self._opened.result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        try:
            async with self._open_session() as self.session:
                self._opened.set_result(None)
                await self._closing.wait()
                await _cancelled(asyncio.all_tasks() - {asyncio.current_task()})
        except BaseException as error:  # handed to the thread that waits
            if self._opened.done():
                raise
            self._opened.set_exception(error)


async def _cancelled(tasks: Iterable[Awaitable[object] | None]) -> None:
    """Cancel tasks and wait until they have ended."""
    ending = [task for task in tasks if isinstance(task, asyncio.Task)]
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
