"""From a checked request to scores: admission, decoding, queue, model."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from starlette.requests import Request

from visreward.core.images import UPRIGHT
from visreward.models.facts import ModelFacts
from visreward.serving.batching import Job
from visreward.serving.decoding import DecoderPool, Picture
from visreward.serving.exchange import Candidate, Hello, Outcome, Stage
from visreward.serving.fetching import ImageFetcher
from visreward.serving.metrics import Metrics
from visreward.serving.model_host import ModelHost
from visreward.serving.problems import Code, Problem
from visreward.serving.questions import Answer, Question, check_question, job_of
from visreward.serving.settings import ServerSettings
from visreward.serving.tracing import Tracing
from visreward.serving.url_rules import is_url

_REQUESTS_PER_DECODER: Final = 4
_HELD_POLL_S: Final = 0.01


class RewardService:
    """All models of one server, and what they share; a `fetcher` of None is as the settings say.

    Attributes:
        hosts: The served models, by name.
        tracing: Where the stages of requests are told.
        is_draining: Whether new requests are refused.
        num_open: How many requests are being answered.
    """

    def __init__(
        self,
        settings: ServerSettings,
        metrics: Metrics,
        tracing: Tracing,
        *,
        fetcher: ImageFetcher | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.tracing = tracing
        self.hosts: dict[str, ModelHost] = {}
        self.is_draining = False
        self.num_open = 0
        self._decoders = DecoderPool(
            settings.num_decoders, max_pixels=settings.limits.image_pixels, metrics=metrics
        )
        self._fetcher = fetcher or ImageFetcher(settings.urls)
        self._decoding = asyncio.Semaphore(_REQUESTS_PER_DECODER * settings.num_decoders)
        self._num_items: Counter[str] = Counter()
        self._held_bytes = 0
        self._body_bytes = 0

    async def start(self) -> None:
        """Start all processes, and wait until every model has scored its warm-up.

        Raises:
            VisrewardError: if a model cannot be loaded.
        """
        self.hosts = {setup.name: ModelHost(setup, self.metrics) for setup in self.settings.models}
        await self._decoders.start()
        await asyncio.gather(*(host.started() for host in self.hosts.values()))

    async def stop(self) -> None:
        """End all processes."""
        await asyncio.gather(*(host.stop() for host in self.hosts.values()))
        await self._decoders.stop()
        self._fetcher.close()

    @contextlib.contextmanager
    def body_held(self, num_bytes: int) -> Iterator[None]:
        """Count a body for the block.

        Raises:
            Problem: if there is no room for it.
        """
        if self._body_bytes + num_bytes > self.settings.limits.held_bytes:
            raise Problem(Code.QUEUE_FULL, retry_after_s=1)
        self._body_bytes += num_bytes
        try:
            yield
        finally:
            self._body_bytes -= num_bytes

    @property
    def is_ready(self) -> bool:
        """Return whether every model scores and new requests are taken."""
        states = {host.state for host in self.hosts.values()}
        return states == {"ready"} and not self.is_draining

    def host(self, name: str | None) -> ModelHost:
        """Return a served model; None means the first.

        Raises:
            Problem: if no model of that name is served.
        """
        found = next(iter(self.hosts.values())) if name is None else self.hosts.get(name)
        if found is None:
            raise Problem(Code.UNKNOWN_MODEL, field="model")
        return found

    def check_room(self, client: str, num_items: int = 1) -> None:
        """Refuse a request for which the queue has no room.

        Raises:
            Problem: with the seconds after which there may be some.
        """
        limit = self.settings.limits.queue_items
        if self._num_items.total() + num_items > limit:
            code = Code.QUEUE_FULL
        elif self._num_items[client] + num_items > max(1, limit // 2):
            code = Code.CLIENT_QUEUE_FULL
        else:
            return
        wait_s = max((host.wait_s() for host in self.hosts.values()), default=1)
        raise Problem(code, retry_after_s=wait_s)

    async def score(self, question: Question) -> Answer:
        """Score the candidates of one question; cancelling it takes it out of the queue.

        Raises:
            Problem: if the question as a whole cannot be answered; what one candidate lacks is
                that candidate's outcome.
        """
        host = self.host(question.model)
        hello = host.known()
        check_question(question, hello.facts, self.settings.limits)
        self.check_room(question.client, len(question.candidates))
        limit_s, own_s = self.settings.limits.timeout_s, question.timeout_s
        try:
            async with asyncio.timeout(min(own_s or limit_s, limit_s)):
                return await self._scored(question, host, hello)
        except TimeoutError:
            if own_s is not None and own_s < limit_s:
                raise Problem(Code.TIMEOUT_PASSED, field="timeout_s") from None
            raise Problem(Code.DEADLINE_EXCEEDED) from None

    async def _scored(self, question: Question, host: ModelHost, hello: Hello) -> Answer:
        with self._counted(question.client, len(question.candidates)):
            start_s = time.perf_counter()
            async with self._decoded(question, hello.facts) as (sources, pictures):
                decode = Stage(name="decode", start_s=start_s, end_s=time.perf_counter())
                self.tracing.add([decode], model=host.setup.name)
                outcomes: list[Outcome | None] = [
                    picture if isinstance(picture, Code) else None for picture in pictures
                ]
                job = job_of(question, hello, sources, pictures)
                if job.items:
                    scored = iter(await self._outcomes(host, job))
                    outcomes = [next(scored) if each is None else each for each in outcomes]
        found = tuple(each for each in outcomes if each is not None)
        assert len(found) == len(question.candidates)
        self._count(host.setup.name, found)
        return Answer(facts=hello.facts, outcomes=found, num_tokens=job.num_tokens)

    @contextlib.contextmanager
    def _counted(self, client: str, num_items: int) -> Iterator[None]:
        self._num_items[client] += num_items
        self.metrics.queued_items.set(self._num_items.total())
        try:
            yield
        finally:
            self._num_items[client] -= num_items
            if not self._num_items[client]:
                del self._num_items[client]
            self.metrics.queued_items.set(self._num_items.total())

    @contextlib.asynccontextmanager
    async def _decoded(
        self, question: Question, facts: ModelFacts
    ) -> AsyncIterator[tuple[list[Picture], list[Picture | Code]]]:
        """Decode all images of a question, and hold their pixels for the block."""
        held: list[Picture] = []
        is_upright = facts.reading == UPRIGHT

        async def decoded(image: str | bytes | Code) -> Picture | Code:
            if isinstance(image, Code):
                return image
            try:
                picture = await self._decoders.decode(image, is_upright=is_upright)
            except Problem as problem:
                return problem.code
            held.append(picture)
            self._hold(picture.num_bytes)
            return picture

        try:
            async with self._fetched(question) as images, self._decoding:
                while self._held_bytes > self.settings.limits.held_bytes:
                    await asyncio.sleep(_HELD_POLL_S)
                found = await asyncio.gather(*map(decoded, images))
            num_sources = len(question.sources)
            sources: list[Picture] = []
            for number, source in enumerate(found[:num_sources]):
                if isinstance(source, Code):
                    raise Problem(source, field=f"source_images.{number}")
                sources.append(source)
            yield sources, list(found[num_sources:])
        finally:
            self._hold(-sum(picture.num_bytes for picture in held))

    @contextlib.asynccontextmanager
    async def _fetched(self, question: Question) -> AsyncIterator[list[str | bytes | Code]]:
        """Fetch the images that are URLs; what they bring counts like a body, in its limits."""
        images: list[str | bytes | Code] = [*question.sources, *question.candidates]
        if not any(map(is_url, images)):
            yield images
            return
        max_bytes = self.settings.limits.body_bytes
        with self.body_held(max_bytes):
            with self.metrics.stage_timer("fetch"):
                images = await self._fetcher.fetch_all(images, max_bytes=max_bytes)
            yield images

    async def _outcomes(self, host: ModelHost, job: Job[Candidate]) -> list[Outcome]:
        ticket = host.submit(job)
        try:
            await ticket.done
        finally:
            host.drop(job)
            self.tracing.add(ticket.stages, model=host.setup.name)
        return [outcome for outcome in ticket.outcomes if outcome is not None]

    def _hold(self, num_bytes: int) -> None:
        self._held_bytes += num_bytes
        self.metrics.held_bytes.set(self._held_bytes)

    def _count(self, model: str, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Code):
                self.metrics.item_errors.labels(outcome.value).inc()
            else:
                self.metrics.items.labels(model).inc()


def service_of(request: Request) -> RewardService:
    """Return the service that a request came to."""
    service = request.app.state.service
    assert isinstance(service, RewardService)
    return service
