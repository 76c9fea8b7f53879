"""What stands before a page: which requests it answers, and how much an upload may hold.

Gradio has more routes than a page needs. Some fetch addresses that the browser names, some tell
how the page is built. Only those that a page uses are open here, and files are read from the
page's own folder of uploads alone.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from visreward.demo.launching import UploadLimits

_FILE: Final = "/gradio_api/file="
_UPLOAD: Final = "/gradio_api/upload"
_JOIN: Final = "/gradio_api/queue/join"
_OPEN: Final = re.compile(
    r"/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|(assets|static|svelte)/.*"
    r"|gradio_api/(app_id|startup-events|theme\.css|reset|cancel|upload|upload_progress"
    r"|queue/join|queue/data|heartbeat/[\w-]+))?/?"
)
_LOCAL_NAME: Final = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)
_MAX_EVENT_BYTES: Final = 1 << 20
_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        b"object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class _Refusal(NamedTuple):
    status: int
    reason: str


class Gate:
    """Refuse what the page does not need, and uploads beyond the limits."""

    def __init__(
        self, app: ASGIApp, *, folder: Path, is_loopback: bool, limits: UploadLimits
    ) -> None:
        self._app = app
        self._folder = folder.resolve()
        self._is_loopback = is_loopback
        self._limits = limits
        self._num_coming_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it with one sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        length = headers.get("content-length", "0")
        refusal = self._refusal(scope, headers, length)
        if refusal is None and scope["path"].startswith(_JOIN):
            body = await _whole_body(receive)
            receive = _Again(body, receive)
            refusal = self._refusal_of_event(body)
        if refusal is not None:
            await _refuse(refusal, send)
            return
        self._num_coming_bytes += int(length)
        try:
            await self._app(scope, receive, _with_headers(send))
        finally:
            self._num_coming_bytes -= int(length)

    def _refusal(self, scope: Scope, headers: dict[str, str], length: str) -> _Refusal | None:
        path: str = scope["path"]
        if "transfer-encoding" in headers or not length.isdecimal():
            return _Refusal(411, "A request must say its length in bytes.")
        # A foreign site that gives itself the name of this machine stays outside.
        if self._is_loopback and not _LOCAL_NAME.fullmatch(headers.get("host", "")):
            return _Refusal(403, "This page answers to localhost and 127.0.0.1 only.")
        if path.startswith(_FILE):
            is_own = self._is_own(path.removeprefix(_FILE))
            return None if is_own else _Refusal(403, "This page serves no such file.")
        if not _OPEN.fullmatch(path):
            return _Refusal(404, "This page has no such address.")
        is_upload = path.startswith(_UPLOAD)
        most = self._limits.request_bytes if is_upload else _MAX_EVENT_BYTES
        if int(length) > most:
            return _Refusal(
                413, f"One upload may hold {most:,} bytes, this one has {int(length):,}."
            )
        if is_upload and self._num_held_bytes() + int(length) > self._limits.held_bytes:
            return _Refusal(507, "This page holds too many images. Start it again to empty it.")
        return None

    def _refusal_of_event(self, body: bytes) -> _Refusal | None:
        """Gradio would fetch a file from an address, and mounted pages would read any path."""
        try:
            event = json.loads(body)
        except (ValueError, RecursionError):
            return _Refusal(400, "An event must be JSON.")
        if all(map(self._is_own, _paths(event))):
            return None
        return _Refusal(403, "Images are uploaded, not given by a path or an address.")

    def _is_own(self, path: str) -> bool:
        try:
            return Path(path).resolve().is_relative_to(self._folder)
        except (ValueError, OSError, RuntimeError):  # a null byte, a name too long, a loop
            return False

    def _num_held_bytes(self) -> int:
        on_disk = sum(each.stat().st_size for each in self._folder.rglob("*") if each.is_file())
        return on_disk + self._num_coming_bytes


class _Again:
    """Give a body that was read already, then whatever else comes."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _whole_body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _paths(value: Any) -> Iterator[str]:  # noqa: ANN401  any JSON value
    """Yield what is named as a file anywhere in an event."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting.extend(each)
        elif isinstance(each, dict):
            if isinstance(each.get("path"), str):
                yield each["path"]
            waiting.extend(each.values())


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *_HEADERS]}
        await send(message)

    return send_with_headers


async def _refuse(refusal: _Refusal, send: Send) -> None:
    body = json.dumps({"detail": refusal.reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *_HEADERS]
    length = (b"content-length", str(len(body)).encode())
    await send(
        {"type": "http.response.start", "status": refusal.status, "headers": [*headers, length]}
    )
    await send({"type": "http.response.body", "body": body})
