"""One served model: its process, its queue, and what happens when the process dies."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import asdict
from typing import Final, Literal

from visreward.core.errors import ModelNotFoundError, VisrewardError
from visreward.serving.batching import FairQueue, Job, Part
from visreward.serving.exchange import (
    Candidate,
    Hello,
    Stage,
    Ticket,
    batch_message,
    batch_tokens,
    laid_out,
    read_hello,
    read_outcome,
)
from visreward.serving.metrics import Metrics
from visreward.serving.problems import Code, Problem
from visreward.serving.settings import ModelSetup
from visreward.serving.watchdog import TICK_S, Watchdog
from visreward.serving.workers.frames import Message
from visreward.serving.workers.process import WorkerProcess

RESTART_RETRY_S: Final = 3
"""What clients are told to wait while a model starts again."""

_MODULE: Final = "visreward.serving.workers.model"
_MAX_BACKOFF_S: Final = 30.0
_WARM_UP_TOLERANCE: Final = 1e-3

logger = logging.getLogger("visreward.serving")

State = Literal["starting", "ready", "restarting", "stopped"]


class ModelHost:
    """Keep one model's process alive, and feed it batches.

    Attributes:
        setup: What is served.
        state: `ready` only after the process has scored a picture of its own, and, after a restart,
            given it the same score as at first.
        hello: What the process said last; None before its first start.
        pid: Of the process, or None.
    """

    def __init__(self, setup: ModelSetup, metrics: Metrics) -> None:
        self.setup = setup
        self.state: State = "starting"
        self.hello: Hello | None = None
        self.pid: int | None = None
        self._metrics = metrics
        metrics.add_model(setup.name)
        self._queue: FairQueue[Candidate] = FairQueue()
        self._tickets: dict[Job[Candidate], Ticket] = {}
        self._in_flight: dict[int, list[Part[Candidate]]] = {}
        self._num_sent = 0
        self._tokens_per_s = math.nan
        self._watchdog = Watchdog(setup.hang_s)
        self._wake = asyncio.Event()
        self._first_start: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.get_running_loop().create_task(self._supervise())
        self._task.add_done_callback(self._supervisor_ended)

    async def started(self) -> None:
        """Wait for the first start.

        Raises:
            VisrewardError: if the model cannot be loaded.
        """
        await self._first_start

    async def stop(self) -> None:
        """End the process; whatever waits is told that the server shuts down."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self._set_state("stopped")
        self._fail_all(Code.SHUTTING_DOWN)

    def known(self) -> Hello:
        """Return what is known of the model.

        Raises:
            Problem: if it is not ready to score.
        """
        if self.state != "ready" or self.hello is None:
            raise Problem(Code.MODEL_NOT_READY, retry_after_s=RESTART_RETRY_S)
        return self.hello

    def submit(self, job: Job[Candidate]) -> Ticket:
        """Put a job into the queue.

        Raises:
            Problem: if the model is not ready.
        """
        self.known()
        ticket = Ticket(
            job=job,
            outcomes=[None] * len(job.items),
            done=asyncio.get_running_loop().create_future(),
            since=time.perf_counter(),
        )
        self._tickets[job] = ticket
        self._queue.push(job)
        self._wake.set()
        return ticket

    def drop(self, job: Job[Candidate]) -> None:
        """Forget a job that nobody waits for; what is not yet in the model will never be."""
        self._queue.remove(job)
        self._tickets.pop(job, None)

    def wait_s(self) -> int:
        """Return in how many seconds the queue may have room, from 1 to 30."""
        waiting = self._queue.work / self._tokens_per_s if self._tokens_per_s > 0 else 1.0
        return max(1, min(30, math.ceil(waiting)))

    async def _supervise(self) -> None:
        backoff_s = 0.0
        while True:
            worker = await WorkerProcess.start(_MODULE)
            try:
                ran = await self._run(worker)
            finally:
                self.pid = None
                if self.hello is not None:
                    self._set_state("restarting")
                await worker.stop()
            if self.hello is None:
                if not self._first_start.done():
                    self._first_start.set_exception(_died(self.setup.name))
                return
            self._fail_all(Code.MODEL_RESTARTED)
            self._metrics.model_restarts.labels(self.setup.name).inc()
            logger.error("model process ended", extra={"model": self.setup.name})
            backoff_s = 0.0 if ran else min(_MAX_BACKOFF_S, max(0.5, 2 * backoff_s))
            await asyncio.sleep(backoff_s)

    def _supervisor_ended(self, task: asyncio.Task[None]) -> None:
        """Take the model off, where supervision ended in a way that was not foreseen."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("supervision ended", exc_info=error, extra={"model": self.setup.name})
            self._set_state("stopped")
            self._fail_all(Code.INTERNAL_ERROR)
            if not self._first_start.done():
                self._first_start.set_exception(error)

    async def _run(self, worker: WorkerProcess) -> bool:
        """Run one process to its end; return whether it became ready."""
        self.pid = worker.pid
        start = time.perf_counter()
        await worker.send(asdict(self.setup))
        hello = await worker.receive()
        if hello is None or not self._greet(hello.message, load_s=time.perf_counter() - start):
            return False
        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(self._send_batches(worker)),
            loop.create_task(self._watch(worker)),
        ]
        try:
            while (answer := await worker.receive()) is not None:
                self._take_answer(answer.message)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._in_flight.clear()
        return True

    async def _watch(self, worker: WorkerProcess) -> None:
        """Kill a process that takes far too long; its end is then noticed like any other."""
        self._watchdog = Watchdog(self.setup.hang_s)
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.perf_counter()
            first = next(iter(self._in_flight), None)
            tokens = 0 if first is None else batch_tokens(self._in_flight[first])
            if self._watchdog.is_hung(first, tokens=tokens, elapsed_s=now - last):
                logger.error(
                    "model process hangs",
                    extra={"model": self.setup.name, "model_pid": worker.pid, "tokens": tokens},
                )
                self._metrics.model_hangs.labels(self.setup.name).inc()
                worker.kill()
                return
            last = now

    def _greet(self, message: Message, *, load_s: float) -> bool:
        """Take a process's first message; return whether the model is ready."""
        if "failure" in message:
            logger.error("model failed to start", extra={"reason": message["failure"]})
            if not self._first_start.done():
                self._first_start.set_exception(ModelNotFoundError(message["failure"]))
            return False
        hello = read_hello(message)
        if self.hello is not None and not math.isclose(
            hello.warm_up, self.hello.warm_up, rel_tol=_WARM_UP_TOLERANCE, abs_tol=1e-4
        ):
            logger.error("model scores its warm-up otherwise than at first")
            return False
        self.hello = hello
        self._set_state("ready")
        logger.info(
            "model ready",
            extra={"model": self.setup.name, "model_pid": self.pid, "load_s": round(load_s, 2)},
        )
        if not self._first_start.done():
            self._first_start.set_result(None)
        return True

    async def _send_batches(self, worker: WorkerProcess) -> None:
        """Send a batch to each stream that idles, and a full one ahead."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._may_send():
                parts = self._queue.take(self.setup.max_batch_tokens)
                if not parts:
                    break
                self._num_sent += 1
                self._in_flight[self._num_sent] = parts
                self._observe(parts)
                message, files = batch_message(parts)
                await worker.send({"id": self._num_sent, **message}, files)

    def _may_send(self) -> bool:
        assert self.hello is not None
        num_idle = self.hello.streams - len(self._in_flight)
        is_full = self._queue.work >= self.setup.max_batch_tokens
        return num_idle > 0 or (num_idle == 0 and is_full)

    def _observe(self, parts: list[Part[Candidate]]) -> None:
        name, now = self.setup.name, time.perf_counter()
        self._metrics.batch_items.labels(name).observe(
            sum(part.stop - part.start for part in parts)
        )
        self._metrics.batch_tokens.labels(name).observe(batch_tokens(parts))
        for part in parts:
            if ticket := self._tickets.get(part.job):
                self._metrics.stage_seconds.labels("queue", name).observe(now - ticket.since)
                ticket.stages.append(Stage(name="queue", start_s=ticket.since, end_s=now))

    def _take_answer(self, answer: Message) -> None:
        parts = self._in_flight.pop(answer["id"])
        self._wake.set()
        name, results = self.setup.name, iter(answer["results"])
        stages = laid_out(answer["stages"], time.perf_counter())
        assert self.hello is not None
        for part in parts:
            ticket = self._tickets.get(part.job)
            for number in range(part.start, part.stop):
                outcome = read_outcome(next(results), self.hello.facts)
                if ticket is not None:
                    ticket.outcomes[number] = outcome
            if ticket is None:
                continue
            ticket.stages += stages
            if None not in ticket.outcomes:
                self._tickets.pop(part.job)
                ticket.done.set_result(None)
        seconds, tokens = sum(answer["stages"].values()), batch_tokens(parts)
        self._watchdog.answered(tokens, seconds)
        if seconds > 0:
            self._tokens_per_s = self.hello.streams * tokens / seconds
        self._metrics.observe_stages(name, answer["stages"])
        self._metrics.vision_cache.labels(name, "hit").set(answer["cache_hits"])
        self._metrics.vision_cache.labels(name, "miss").set(answer["cache_misses"])
        self._metrics.out_of_memory.labels(name).set(answer["out_of_memory"])

    def _fail_all(self, code: Code) -> None:
        self._queue.clear()
        tickets, self._tickets = self._tickets, {}
        for ticket in tickets.values():
            if not ticket.done.done():
                ticket.done.set_exception(Problem(code, retry_after_s=RESTART_RETRY_S))

    def _set_state(self, state: State) -> None:
        self.state = state
        self._metrics.model_ready.labels(self.setup.name).set(state == "ready")


def _died(name: str) -> VisrewardError:
    return VisrewardError(
        f"The process of the model '{name}' ended before it was ready. Its last words stand above; "
        f"try the model alone with: visreward score --model {name}"
    )
