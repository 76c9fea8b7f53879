"""Run a Gradio page on this machine: nothing is sent out, no file is served, Ctrl-C stops it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from visreward.core.extras import require_extra
from visreward.core.listening import listen
from visreward.demo.gate import Gate

if TYPE_CHECKING:
    import gradio
    from starlette.types import ASGIApp

_MIB: Final = 1 << 20
_STOP_S: Final = 2
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """What a page takes.

    Attributes:
        file_bytes: Of one file.
        request_bytes: Of one upload of several files.
        held_bytes: Of all uploads that are on the disk at once.
    """

    file_bytes: int = 32 * _MIB
    request_bytes: int = 256 * _MIB
    held_bytes: int = 2048 * _MIB


def launch(
    build: Callable[[], gradio.Blocks],
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    say: Callable[[str], None],
    css: str = "",
    limits: UploadLimits | None = None,
) -> None:
    """Serve a page until Ctrl-C or SIGTERM, then delete all uploads and return.

    Gradio's analytics, sharing, monitoring, run history and server-side rendering are off, no
    folder is open to the browser, and `Gate` refuses whatever the page itself does not need.

    Args:
        build: Makes the page; called once the private folder for uploads stands.
        host: The address to listen on.
        port: 0 takes a free one.
        say: Takes the lines for the person who started the page, the address first.
        css: Rules for this page, after those that all pages share. What stands in an element of
            the class `live` is read out by screen readers when it changes.
        limits: Of uploads; None takes the defaults.

    Raises:
        MissingExtraError: if Gradio is not installed.
        UsageError: if the address cannot be had.
    """
    require_extra("demo", "gradio")
    limits = limits or UploadLimits()
    with contextlib.closing(listen(host, port)) as listener, _own_settings() as folder:
        gate = Gate(
            _app(build(), css=css, max_file_bytes=limits.file_bytes),
            folder=folder,
            is_loopback=host.strip("[]") in _LOOPBACK,
            limits=limits,
        )
        _say_where(listener, host, say)
        asyncio.run(_serve(gate, listener))
    say("Stopped; all uploads are deleted.")


@contextlib.contextmanager
def _own_settings() -> Iterator[Path]:
    """Keep uploads in a folder of this run, and let no variable of the shell open the page up."""
    before = {name: value for name, value in os.environ.items() if name.startswith("GRADIO_")}
    with tempfile.TemporaryDirectory(prefix="visreward-demo-", ignore_cleanup_errors=True) as own:
        for name in before:
            del os.environ[name]
        os.environ.update(
            GRADIO_TEMP_DIR=own, GRADIO_ANALYTICS_ENABLED="False", GRADIO_RUN_HISTORY="False"
        )
        try:
            yield Path(own)
        finally:
            for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "GRADIO_RUN_HISTORY"):
                os.environ.pop(name, None)
            os.environ.update(before)


def _app(blocks: gradio.Blocks, *, css: str, max_file_bytes: int) -> ASGIApp:
    import gradio
    from fastapi import FastAPI

    from visreward.demo.theme import page_css, page_head, page_theme

    app: ASGIApp = gradio.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        path="/",
        footer_links=[],
        allowed_paths=[],
        show_error=True,
        max_file_size=max_file_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=page_theme(),
        css=page_css() + css,
        head=page_head(),
    )
    return app


def _say_where(listener: socket.socket, host: str, say: Callable[[str], None]) -> None:
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    say(f"Open http://{name}:{listener.getsockname()[1]} in a browser; Ctrl-C stops it.")
    if host.strip("[]") not in _LOOPBACK:
        say("Everyone who reaches this address can use the page: there is no password.")


async def _serve(app: ASGIApp, listener: socket.socket) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """uvicorn without its own signal handling, which would end the process by the signal."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    # An open page holds its connections for ever; their end at the stop is not worth a word.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    server = Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=_STOP_S,
        )
    )

    def stop() -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await server.serve(sockets=[listener])
