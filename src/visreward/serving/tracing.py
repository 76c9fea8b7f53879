"""Traces for OpenTelemetry, where it is installed and switched on; else nothing, at no cost.

One span for each request, and below it one for each stage that the request went through. The
standard variables switch it on: OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or
OTEL_TRACES_EXPORTER=otlp. Spans name routes and models of ours, a request's id and its status, and
nothing that a client has written otherwise: no prompt, no image, no path.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from visreward import __version__
from visreward.serving.exchange import Stage

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PACKAGES: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_SERVER_ERROR: Final = 500

logger = logging.getLogger("visreward.serving")


class RequestTrace:
    """The trace of one request; this one traces nothing.

    Attributes:
        trace_id: What logs call the trace, or None.
    """

    trace_id: str | None = None

    def end(self, *, route: str, status: int) -> None:
        """Say how the request ended; in the task that began it."""


class Tracing:
    """Where traces go; this one sends none."""

    def begin(
        self,
        *,
        method: str,  # noqa: ARG002  the interface
        headers: Mapping[str, str],  # noqa: ARG002  the interface
        request_id: str,  # noqa: ARG002  the interface
    ) -> RequestTrace:
        """Begin the trace of a request, as part of the one that its `traceparent` names."""
        return RequestTrace()

    def add(self, stages: Iterable[Stage], *, model: str) -> None:
        """Add stages to the trace of the request that the running task is part of."""

    def close(self) -> None:
        """Send what has not been sent; may take seconds."""


class _OpenRequest(RequestTrace):
    def __init__(self, span: Span, method: str) -> None:
        from opentelemetry import context, trace

        self._span = span
        self._method = method
        self._token = context.attach(trace.set_span_in_context(span))
        self.trace_id = trace.format_trace_id(span.get_span_context().trace_id)

    def end(self, *, route: str, status: int) -> None:
        from opentelemetry import context
        from opentelemetry.trace import StatusCode

        context.detach(self._token)
        if route != "none":
            self._span.update_name(f"{self._method} {route}")
            self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        if status >= _SERVER_ERROR:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class OpenTelemetryTracing(Tracing):
    """Send spans with an OpenTelemetry SDK.

    Args:
        provider: What makes spans, and sends them.
    """

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("visreward.serving", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, *, method: str, headers: Mapping[str, str], request_id: str) -> RequestTrace:
        """Begin a span of kind SERVER, and make it the current one of the running task."""
        from opentelemetry.trace import SpanKind

        span = self._tracer.start_span(
            method,
            context=self._propagator.extract(headers),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "visreward.request_id": request_id},
        )
        return _OpenRequest(span, method)

    def add(self, stages: Iterable[Stage], *, model: str) -> None:
        """Add spans below the current one."""
        # Spans take nanoseconds of the wall clock; stages are in seconds of the other one.
        zero_ns = time.time_ns() - int(1e9 * time.perf_counter())
        for stage in stages:
            span = self._tracer.start_span(
                stage.name,
                start_time=zero_ns + int(1e9 * stage.start_s),
                attributes={"visreward.model": model},
            )
            span.end(zero_ns + int(1e9 * stage.end_s))

    def close(self) -> None:
        """Send what has not been sent, and stop."""
        self._provider.shutdown()


def tracing_from_environment() -> Tracing:
    """Return where the environment says that traces go."""
    has_endpoint = any(os.environ.get(name) for name in _ENDPOINTS)
    exporter = os.environ.get("OTEL_TRACES_EXPORTER") or ("otlp" if has_endpoint else "none")
    is_off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if is_off or exporter == "none":
        return Tracing()
    if reason := _hindrance(exporter):
        logger.warning("no traces", extra={"reason": reason})
        return Tracing()
    return _with_sdk()


def _hindrance(exporter: str) -> str | None:
    """Return why traces that were asked for cannot be sent."""
    protocol = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), None)
    if exporter != "otlp":
        return "OTEL_TRACES_EXPORTER names another exporter than otlp"
    if protocol not in (None, "http/protobuf"):
        return "the OTLP protocol is another one than http/protobuf"
    if not all(map(_is_installed, _PACKAGES)):
        return "OpenTelemetry is not installed: pip install 'visreward[telemetry]'"
    return None


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def _with_sdk() -> OpenTelemetryTracing:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "visreward"}
    provider = TracerProvider(resource=Resource.create({**named, "service.version": __version__}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    logger.info("traces are sent", extra={"exporter": "otlp"})
    return OpenTelemetryTracing(provider)
