"""From a checked request to scores: admission, decoding, queue, model."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from visreward.core.images import UPRIGHT
from visreward.models.facts import ModelFacts
from visreward.serving.batching import Job
from visreward.serving.decoding import DecoderPool, Picture
from visreward.serving.exchange import Candidate, Hello, Outcome, Stage
from visreward.serving.metrics import Metrics
from visreward.serving.model_host import ModelHost
from visreward.serving.problems import Code, Problem
from visreward.serving.settings import ServerSettings
from visreward.serving.tracing import Tracing

_REQUESTS_PER_DECODER: Final = 4
_HELD_POLL_S: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a client wants scored, whatever route it came by.

    Attributes:
        model: Name of a served model, or None for the first.
        sources: Source images: bytes, or base64 text.
        candidates: Images to score, likewise.
        timeout_s: How long the answer is of use; None takes the server's limit.
        client: Whose turn it is on.
    """

    model: str | None
    prompt: str
    candidates: Sequence[str | bytes]
    sources: Sequence[str | bytes] = ()
    timeout_s: float | None = None
    client: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outcome of each candidate, in order."""

    facts: ModelFacts
    outcomes: tuple[Outcome, ...]


class RewardService:
    """All models of one server, and the decoders they share.

    Attributes:
        hosts: The served models, by name.
        tracing: Where the stages of requests are told.
        is_draining: Whether new requests are refused.
        num_open: How many requests are being answered.
    """

    def __init__(self, settings: ServerSettings, metrics: Metrics, tracing: Tracing) -> None:
        self.settings = settings
        self.metrics = metrics
        self.tracing = tracing
        self.hosts: dict[str, ModelHost] = {}
        self.is_draining = False
        self.num_open = 0
        self._decoders = DecoderPool(
            settings.num_decoders, max_pixels=settings.limits.image_pixels, metrics=metrics
        )
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
        wait_s = max((host.wait_s() for host in self.hosts.values()), default=1)
        if self._num_items.total() + num_items > limit:
            raise Problem(Code.QUEUE_FULL, retry_after_s=wait_s)
        if self._num_items[client] + num_items > max(1, limit // 2):
            raise Problem(Code.CLIENT_QUEUE_FULL, retry_after_s=wait_s)

    async def score(self, question: Question) -> Answer:
        """Score the candidates of one question; cancelling it takes it out of the queue.

        Raises:
            Problem: if the question as a whole cannot be answered; what one candidate lacks is
                that candidate's outcome.
        """
        host = self.host(question.model)
        hello = host.known()
        self._check(question, hello.facts)
        self.check_room(question.client, len(question.candidates))
        limit_s = self.settings.limits.timeout_s
        try:
            async with asyncio.timeout(min(question.timeout_s or limit_s, limit_s)):
                return await self._scored(question, host, hello)
        except TimeoutError:
            raise Problem(Code.DEADLINE_EXCEEDED) from None

    def _check(self, question: Question, facts: ModelFacts) -> None:
        """Refuse what cannot be scored, before anything is decoded."""
        limits = self.settings.limits
        if not question.candidates:
            raise Problem(Code.NO_CANDIDATES, field="candidates")
        if len(question.candidates) + len(question.sources) > limits.images:
            raise Problem(Code.TOO_MANY_IMAGES, field="candidates")
        if len(question.prompt) > limits.prompt_chars:
            raise Problem(Code.PROMPT_TOO_LONG, field="prompt")
        if facts.needs_prompt and not question.prompt.strip():
            raise Problem(Code.PROMPT_REQUIRED, field="prompt")
        if facts.needs_source and not question.sources:
            raise Problem(Code.SOURCE_REQUIRED, field="source_images")
        if question.sources and not facts.needs_source:
            raise Problem(Code.SOURCE_NOT_WANTED, field="source_images")

    async def _scored(self, question: Question, host: ModelHost, hello: Hello) -> Answer:
        with self._counted(question.client, len(question.candidates)):
            start_s = time.perf_counter()
            async with self._decoded(question, hello.facts) as (sources, pictures):
                decode = Stage(name="decode", start_s=start_s, end_s=time.perf_counter())
                self.tracing.add([decode], model=host.setup.name)
                outcomes: list[Outcome | None] = [
                    picture if isinstance(picture, Code) else None for picture in pictures
                ]
                job = _job(question, hello, sources, pictures)
                if job.items:
                    scored = iter(await self._outcomes(host, job))
                    outcomes = [next(scored) if each is None else each for each in outcomes]
        found = tuple(each for each in outcomes if each is not None)
        assert len(found) == len(question.candidates)
        self._count(host.setup.name, found)
        return Answer(facts=hello.facts, outcomes=found)

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

        async def decoded(image: str | bytes) -> Picture | Code:
            try:
                picture = await self._decoders.decode(image, is_upright=is_upright)
            except Problem as problem:
                return problem.code
            held.append(picture)
            self._hold(len(picture.pixels))
            return picture

        try:
            async with self._decoding:
                while self._held_bytes > self.settings.limits.held_bytes:
                    await asyncio.sleep(_HELD_POLL_S)
                images = (*question.sources, *question.candidates)
                found = await asyncio.gather(*map(decoded, images))
            num_sources = len(question.sources)
            sources: list[Picture] = []
            for number, source in enumerate(found[:num_sources]):
                if isinstance(source, Code):
                    raise Problem(source, field=f"source_images.{number}")
                sources.append(source)
            yield sources, list(found[num_sources:])
        finally:
            self._hold(-sum(len(picture.pixels) for picture in held))

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


def _job(
    question: Question, hello: Hello, sources: list[Picture], pictures: list[Picture | Code]
) -> Job[Candidate]:
    """Return the job of the candidates that could be decoded."""
    fit = [picture for picture in pictures if isinstance(picture, Picture)]
    text = hello.work.text_tokens(question.prompt)
    return Job(
        client=question.client,
        group=" ".join(source.key for source in sources),
        items=tuple(
            Candidate(prompt=question.prompt, picture=picture, sources=tuple(sources))
            for picture in fit
        ),
        item_work=tuple(text + hello.work.image_tokens(each.num_pixels) for each in fit),
        shared_work=sum(hello.work.image_tokens(source.num_pixels) for source in sources),
    )
