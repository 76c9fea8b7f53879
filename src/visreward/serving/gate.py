"""What every request passes before its route: identity, API key, host, size, draining, log line.

Plain ASGI, around the whole application: a route that is added later is behind it too.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import logging
import re
import time
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from visreward.serving.problems import Code, Problem
from visreward.serving.responses import error_response
from visreward.serving.service import RewardService
from visreward.serving.settings import is_loopback

OPEN_PATHS: Final = ("/live", "/ready")
"""What answers without an API key."""

CLIENT_HEADER: Final = "x-visreward-client"
REQUEST_ID_HEADER: Final = "x-request-id"

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

logger = logging.getLogger("visreward.serving")


class Gate:
    """Refuse what must not reach a route, and account for everything.

    Args:
        app: The application behind it.
        service: Knows whether the server is draining and whether the queue has room.
    """

    def __init__(self, app: ASGIApp, service: RewardService) -> None:
        self._app = app
        self._service = service
        key = service.settings.api_key
        self._key_digest = None if key is None else _digest(key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _name(headers.get(REQUEST_ID_HEADER)) or uuid.uuid4().hex
        scope.setdefault("state", {})
        scope["state"]["request_id"] = request_id
        scope["state"]["client"] = _name(headers.get(CLIENT_HEADER)) or _peer(scope)
        trace = self._service.tracing.begin(
            method=scope["method"], headers=headers, request_id=request_id
        )
        scope["state"]["trace_id"] = trace.trace_id
        start, status = time.perf_counter(), 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                answer[REQUEST_ID_HEADER] = request_id
                answer["x-content-type-options"] = "nosniff"
                answer["cache-control"] = "no-store"
            await send(message)

        self._service.num_open += 1
        try:
            try:
                self._check(scope, headers)
                with self._service.body_held(self._claim(headers)):
                    await self._app(scope, receive, send_named)
            except Problem as problem:
                self._service.metrics.rejections.labels(problem.code.value).inc()
                response = error_response(problem, request_id)
                await response(scope, receive, send_named)
            except Exception:
                logger.exception("request failed", extra={"request_id": request_id})
                if not status:
                    response = error_response(Problem(Code.INTERNAL_ERROR), request_id)
                    await response(scope, receive, send_named)
        finally:
            self._service.num_open -= 1
            # The path of a request that found no route comes from a stranger, and is left out.
            route = getattr(scope.get("route"), "path", "none")
            trace.end(route=route, status=status)
            self._account(scope, route, status, time.perf_counter() - start)

    def _check(self, scope: Scope, headers: Headers) -> None:
        limits = self._service.settings.limits
        if sum(len(name) + len(value) for name, value in headers.raw) > limits.header_bytes:
            raise Problem(Code.HEADERS_TOO_LARGE)
        if scope["path"] in OPEN_PATHS:
            return
        if self._key_digest is not None:
            if not hmac.compare_digest(_digest(_given_key(headers)), self._key_digest):
                raise Problem(Code.UNAUTHORISED)
        elif not is_loopback(_host_name(headers.get("host", ""))):
            # A web page whose name was rebound to 127.0.0.1 sends its own name here.
            raise Problem(Code.FORBIDDEN_HOST)
        if scope["method"] != "POST":
            return
        if self._service.is_draining:
            raise Problem(Code.SHUTTING_DOWN, retry_after_s=1)
        self._service.check_room(scope["state"]["client"])

    def _claim(self, headers: Headers) -> int:
        """Return how many bytes a body may take: what it declares, else the limit."""
        limit = self._service.settings.limits.body_bytes
        if "transfer-encoding" in headers:
            return limit
        declared = headers.get("content-length", "0")
        return min(int(declared), limit) if declared.isdecimal() else 0

    def _account(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        metrics = self._service.metrics
        metrics.requests.labels(route, str(status)).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        trace_id = scope["state"]["trace_id"]
        logger.info(
            "request",
            extra={
                "request_id": scope["state"]["request_id"],
                "route": route,
                "status": status,
                "milliseconds": round(1000 * seconds, 1),
                **({} if trace_id is None else {"trace_id": trace_id}),
            },
        )


class JsonLines(logging.Formatter):
    """Log records as JSON lines; extra fields are fields."""

    _PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record.created)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in self._PLAIN},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _given_key(headers: Headers) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _host_name(host: str) -> str:
    """Return a Host header without its port."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.rpartition(":")[0] if re.search(r":\d+$", host) else host


def _name(given: str | None) -> str | None:
    return given if given is not None and _NAME.fullmatch(given) else None


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"
