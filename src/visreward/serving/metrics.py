"""What the server counts and times, for Prometheus; the names are part of its API."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ITEMS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS: Final = (64, 256, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)


class Metrics:
    """All metrics of one server, in a registry of its own.

    Stages: `queue` and `decode` are measured in the server, `prepare`, `vision`, `language` and
    `head` in the model's process, each per batch.
    """

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "visreward_requests", "Responses.", ("route", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "visreward_request_seconds",
            "Time from the headers to the response.",
            ("route",),
            registry=registry,
            buckets=_SECONDS,
        )
        self.stage_seconds = Histogram(
            "visreward_stage_seconds",
            "Time by stage.",
            ("stage", "model"),
            registry=registry,
            buckets=_SECONDS,
        )
        self.batch_items = Histogram(
            "visreward_batch_items",
            "Candidates per batch.",
            ("model",),
            registry=registry,
            buckets=_ITEMS,
        )
        self.batch_tokens = Histogram(
            "visreward_batch_tokens",
            "Estimated tokens per batch.",
            ("model",),
            registry=registry,
            buckets=_TOKENS,
        )
        self.items = Counter("visreward_items", "Candidates scored.", ("model",), registry=registry)
        self.item_errors = Counter(
            "visreward_item_errors", "Candidates without a score.", ("code",), registry=registry
        )
        self.rejections = Counter(
            "visreward_rejections", "Requests refused as a whole.", ("reason",), registry=registry
        )
        self.vision_cache = Gauge(
            "visreward_vision_cache_lookups",
            "Images that the model's cache had or had not, since its process started.",
            ("model", "outcome"),
            registry=registry,
        )
        self.queued_items = Gauge(
            "visreward_queued_items", "Candidates admitted and not yet done.", registry=registry
        )
        self.held_bytes = Gauge(
            "visreward_decoded_bytes", "Bytes of decoded pictures held.", registry=registry
        )
        self.model_ready = Gauge(
            "visreward_model_ready", "1 while the model scores.", ("model",), registry=registry
        )
        self.model_restarts = Counter(
            "visreward_model_restarts", "Starts after the first.", ("model",), registry=registry
        )
        self.model_hangs = Counter(
            "visreward_model_hangs",
            "Processes that took far too long for a batch and were killed.",
            ("model",),
            registry=registry,
        )
        self.decoder_restarts = Counter(
            "visreward_decoder_restarts", "Decoders that were replaced.", registry=registry
        )
        self.out_of_memory = Gauge(
            "visreward_out_of_memory",
            "Batches that did not fit and were halved, since the model's process started.",
            ("model",),
            registry=registry,
        )

    def add_model(self, model: str) -> None:
        """Count from 0 for a model; a counter that begins at 1 hides its first event from rates."""
        for counter in (self.items, self.model_restarts, self.model_hangs):
            counter.labels(model)
        self.model_ready.labels(model).set(False)

    @contextmanager
    def stage_timer(self, stage: str, model: str = "") -> Iterator[None]:
        """Time the block as one stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stage_seconds.labels(stage, model).observe(time.perf_counter() - start)

    def observe_stages(self, model: str, seconds: Mapping[str, float]) -> None:
        """Count what a model's process measured for one batch."""
        for stage, duration in seconds.items():
            self.stage_seconds.labels(stage, model).observe(duration)

    def text(self) -> bytes:
        """Return everything in the Prometheus text format."""
        return generate_latest(self._registry)
