"""Run a server: bind, start the models, serve, drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Final

import uvicorn
import uvloop

from visreward.core.listening import listen
from visreward.models.catalog import catalog, local_folder
from visreward.models.native_config import read_config
from visreward.serving.app import create_app
from visreward.serving.connections import patient_protocol
from visreward.serving.gate import Gate, JsonLines
from visreward.serving.metrics import Metrics
from visreward.serving.service import RewardService
from visreward.serving.settings import ServerSettings
from visreward.serving.tracing import tracing_from_environment

_KEEP_ALIVE_S: Final = 30
_DRAIN_POLL_S: Final = 0.02
_OPEN_FILES: Final = 1 << 16

logger = logging.getLogger("visreward.serving")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process by the signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT; then answer what is in flight, refuse the rest, and return.

    Raises:
        UsageError: if the address cannot be bound.
        VisrewardError: if a model cannot be loaded; names are checked before anything starts.
    """
    for model in settings.models:
        if model.name not in catalog():
            read_config(local_folder(model.name))
    listener = listen(settings.host, settings.port)
    log_as_json_lines()
    allow_open_files()
    uvloop.run(_serve(settings, listener))


def log_as_json_lines() -> None:
    """Send the logs of the server, and of uvicorn, to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("visreward.serving", logging.INFO), ("uvicorn", logging.WARNING)):
        named = logging.getLogger(name)
        named.handlers = [handler]
        named.setLevel(level)
        named.propagate = False


def allow_open_files() -> None:
    """Take as many open files as this user may have: each decoded picture is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _OPEN_FILES and soft != resource.RLIM_INFINITY:
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(settings: ServerSettings, listener: socket.socket) -> None:
    service = RewardService(settings, Metrics(), tracing_from_environment())
    server = _Server(
        uvicorn.Config(
            Gate(create_app(service), service),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            http=patient_protocol(settings.limits, service.metrics),
            lifespan="off",
            ws="none",
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
    )
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    serving = loop.create_task(server.serve(sockets=[listener]))
    try:
        await _until_stopped(service, asked_to_stop, listener)
        await _drain(service)
    finally:
        server.should_exit = True
        await serving
        await service.stop()
        await asyncio.to_thread(service.tracing.close)
    logger.info("stopped")


async def _until_stopped(
    service: RewardService, asked_to_stop: asyncio.Event, listener: socket.socket
) -> None:
    loop = asyncio.get_running_loop()
    starting, stopping = loop.create_task(service.start()), loop.create_task(asked_to_stop.wait())
    logger.info(
        "listening", extra={"host": service.settings.host, "port": listener.getsockname()[1]}
    )
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            logger.info("ready", extra={"models": list(service.hosts)})
            await stopping
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.wait((starting, stopping))


async def _drain(service: RewardService) -> None:
    """Refuse what is new, and wait for what is in flight."""
    service.is_draining = True
    logger.info("draining", extra={"requests": service.num_open})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(service.settings.drain_s):
            while service.num_open:
                await asyncio.sleep(_DRAIN_POLL_S)
