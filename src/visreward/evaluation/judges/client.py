"""Ask an endpoint: at most so many requests at once, each answer kept, failures tried again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from visreward.core.errors import InputError, JudgeError
from visreward.evaluation.judges.completions import Answer
from visreward.evaluation.judges.questions import Question, key_of
from visreward.evaluation.judges.spending import Ledger
from visreward.evaluation.judges.tries import try_once
from visreward.evaluation.judges.waits import wait_s

if TYPE_CHECKING:
    from visreward.evaluation.judges.account import Account


@dataclass(frozen=True, slots=True)
class Failure:
    """A question without an answer.

    Attributes:
        reason: Why.
    """

    reason: str


class Session:
    """An open connection to an endpoint, for one run and one event loop."""

    def __init__(self, account: Account) -> None:
        endpoint = account.endpoint
        self.account = account
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._ledger = Ledger(endpoint, spent=account.counts.cost or 0.0)
        self._asked: dict[str, asyncio.Task[Answer | Failure]] = {}
        self._stop: JudgeError | None = None
        self._has_stopped = asyncio.Event()
        self._failed_in_a_row = 0
        self._rests_until = 0.0

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        import httpx2

        endpoint = self.account.endpoint
        # asyncio's own deadline covers the whole request; those of httpx2 start again at each read.
        self._http = httpx2.AsyncClient(
            headers=self.account.headers,
            timeout=None,
            # The slots bound requests: a wait in the pool would count against the deadline.
            limits=httpx2.Limits(
                max_connections=None, max_keepalive_connections=endpoint.concurrency
            ),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self._http.aclose()

    async def ask(self, question: Question) -> Answer | Failure:
        """Return the answer to a question, from the cache where it is known.

        A question that is being asked already is not asked a second time.

        Raises:
            JudgeError: if the endpoint cannot be used, or the cap is reached.
        """
        try:
            described = await asyncio.to_thread(question.described)
        except InputError as error:
            return Failure(str(error))
        key = key_of(described)
        known = self.account.cache.get(key)
        if known is not None:
            self.account.count(num_cached=1)
            return known
        if key in self._asked:
            self.account.count(num_cached=1)
            return await self._asked[key]
        task = asyncio.ensure_future(self._ask_new(question, key, described))
        self._asked[key] = task
        try:
            return await task
        finally:
            del self._asked[key]

    async def _ask_new(self, question: Question, key: str, described: str) -> Answer | Failure:
        async with self._slots:
            self._raise_stop()
            try:
                body = await asyncio.to_thread(question.body)
            except InputError as error:
                return Failure(str(error))
            try:
                outcome = await self._paid(body, key, described)
            except JudgeError as error:
                self._stop_all(error)
                raise
            self._note_outcome(outcome)
            return outcome

    async def _paid(self, body: bytes, key: str, described: str) -> Answer | Failure:
        """Ask within the cap, and keep the answer before anything else can go wrong."""
        await self._ledger.open()
        answer: Answer | None = None
        try:
            outcome = await self._tried(body)
            if isinstance(outcome, Answer):
                answer = outcome
                self.account.cache.keep(key, answer, question=described)
                self._count_answer(answer)
        finally:
            cost = await self._ledger.close(answer)
            self.account.pay(cost)
        return outcome

    def _count_answer(self, answer: Answer) -> None:
        self.account.count(
            num_answers=1,
            prompt_tokens=answer.prompt_tokens or 0,
            completion_tokens=answer.completion_tokens or 0,
            num_without_usage=0 if answer.has_usage else 1,
        )

    def _note_outcome(self, answer: Answer | Failure) -> None:
        """Stop the run where nothing seems to be answered any more."""
        if isinstance(answer, Answer):
            self._failed_in_a_row = 0
            return
        self.account.count(num_failed=1)
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= self.account.endpoint.stop_after_failures:
            self._stop_all(
                JudgeError(
                    f"{self._failed_in_a_row} questions in a row had no answer from "
                    f"{self.account.endpoint.base_url}; the last one: {answer.reason} "
                    "Start again when the endpoint works: answers in the cache are not asked again."
                )
            )

    def _stop_all(self, error: JudgeError) -> None:
        """Let no request begin any more; those that are open come to their end."""
        self._stop = self._stop or error
        self._has_stopped.set()

    async def _pause(self, seconds: float) -> None:
        """Wait, unless all is stopped meanwhile."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._has_stopped.wait(), seconds)
        self._raise_stop()

    def _raise_stop(self) -> None:
        if self._stop is not None:
            raise self._stop

    async def _tried(self, body: bytes) -> Answer | Failure:
        """Ask until there is an answer, or reason to give up."""
        loop = asyncio.get_running_loop()
        retry = self.account.endpoint.retry
        num_tries = 0
        while True:
            await self._pause(max(0.0, self._rests_until - loop.time()))
            num_tries += 1
            outcome = await try_once(self._http, self.account, body)
            if isinstance(outcome, Answer):
                return outcome
            reason = self.account.without_key(outcome.reason)
            if outcome.stop:
                self._stop_all(JudgeError(f"{reason} {outcome.stop}"))
                self._raise_stop()
            if not outcome.may_pass:
                return Failure(reason)
            if num_tries >= retry.max_attempts:
                return Failure(f"{reason} It was asked {num_tries} times.")
            wait = wait_s(
                num_tries,
                asked_for_s=outcome.asked_for_s,
                retry=retry,
                drawn=random.random(),  # noqa: S311  spreads clients, hides nothing
            )
            if wait is None:
                return Failure(
                    f"{reason} It asks to wait {outcome.asked_for_s:g} s, more than "
                    f"max_retry_after_s = {retry.max_retry_after_s:g}."
                )
            self.account.count(num_retries=1)
            if outcome.asked_for_s is not None:
                # What the endpoint asks for, it asks of all requests.
                self._rests_until = max(self._rests_until, loop.time() + outcome.asked_for_s)
            await self._pause(wait)
