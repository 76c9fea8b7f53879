"""Incident 9, over TLS: the certificate must be of the name that was asked, and be trusted."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

import httpcore2
import httpx2
import pytest

from visreward.serving.fetching import ByteBudget, ImageFetcher
from visreward.serving.problems import Code, Problem
from visreward.serving.url_rules import URLRules

PUBLIC = "93.184.215.14"
HOST = "images.example"

Secured: TypeAlias = Callable[[str], AbstractContextManager["SecureServer"]]


class Image(BaseHTTPRequestHandler):
    """Answers every path with three bytes."""

    def do_GET(self) -> None:
        assert isinstance(self.server, SecureServer)
        self.server.seen.append(self.headers["host"])
        self.send_response(200)
        self.send_header("content-length", "3")
        self.end_headers()
        self.wfile.write(b"abc")

    def log_message(self, *_: object) -> None:
        pass


class SecureServer(ThreadingHTTPServer):
    """An HTTPS server on loopback; `seen` are the hosts of the requests that came through."""

    daemon_threads = True

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), Image)
        self.certificate = certificate
        self.seen: list[str] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def handle_error(self, *_: object) -> None:
        """A handshake that the client ends is what is wanted here."""


class ToLoopback(httpcore2.AnyIOBackend):
    """Connects to the test's server, whatever address was chosen, and notes the address."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[tuple[str, int]] = []

    async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> Any:
        self.asked.append((host, port))
        return await super().connect_tcp("127.0.0.1", self.port, *args, **options)


def make_certificate(folder: Path, names: str) -> Path:
    """Return a certificate of these alternative names, signed by itself; its key lies beside it."""
    binary = shutil.which("openssl")
    if binary is None:
        pytest.skip("openssl is not installed")
    path = folder / "server.pem"
    options = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    extensions = (f"subjectAltName={names}", "keyUsage=critical,digitalSignature,keyCertSign")
    command = [binary, *options, "-subj", "/CN=test", "-out", str(path)]
    command += ["-keyout", str(path.with_suffix(".key"))]
    command += [part for text in extensions for part in ("-addext", text)]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture
def secured(tmp_path: Path) -> Secured:
    @contextmanager
    def run(names: str) -> Iterator[SecureServer]:
        server = SecureServer(make_certificate(tmp_path, names))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    return run


async def resolve(name: str, port: int) -> Sequence[str]:
    return [PUBLIC]


def fetched(
    server: SecureServer, url: str, *, is_trusted: bool = True
) -> tuple[bytes | Code, list[tuple[str, int]]]:
    """Fetch with the fetcher's own transport; only where its TCP connection ends is changed."""
    backend = ToLoopback(server.server_port)

    async def run() -> bytes | Code:
        fetcher = ImageFetcher(
            URLRules(is_allowed=True, max_seconds=20.0),
            resolve=resolve,
            make_transport=lambda: redirected(fetcher),
        )
        try:
            return await fetcher.fetch(url, ByteBudget(1000))
        except Problem as problem:
            return problem.code
        finally:
            fetcher.close()

    def redirected(fetcher: ImageFetcher) -> httpx2.AsyncBaseTransport:
        transport = fetcher._transport()
        assert isinstance(transport, httpx2.AsyncHTTPTransport)
        transport._pool._network_backend = backend  # type: ignore[attr-defined,unused-ignore]
        assert fetcher._tls is not None
        if is_trusted:
            fetcher._tls.load_verify_locations(server.certificate)
        return transport

    return asyncio.run(run()), backend.asked


def test_incident_09_certificate_of_the_name_is_taken(secured: Secured) -> None:
    with secured(f"DNS:{HOST}") as server:
        found, asked = fetched(server, f"https://{HOST}/a.png")
        assert found == b"abc"
        assert asked == [(PUBLIC, 443)]
        assert server.seen == [HOST]


@pytest.mark.parametrize(
    "names", ["DNS:other.example", "DNS:*.images.example", f"IP:{PUBLIC}", "IP:127.0.0.1"]
)
def test_incident_09_certificate_of_another_name_is_refused(secured: Secured, names: str) -> None:
    with secured(names) as server:
        found, asked = fetched(server, f"https://{HOST}/a.png")
        assert found is Code.URL_FAILED
        assert asked == [(PUBLIC, 443)]
        assert server.seen == []


def test_incident_09_certificate_of_an_unknown_issuer_is_refused(secured: Secured) -> None:
    with secured(f"DNS:{HOST}") as server:
        found, _ = fetched(server, f"https://{HOST}/a.png", is_trusted=False)
        assert found is Code.URL_FAILED
        assert server.seen == []


def test_incident_09_address_is_asked_for_the_certificate_of_the_address(secured: Secured) -> None:
    with secured(f"IP:{PUBLIC}") as server:
        assert fetched(server, f"https://{PUBLIC}/a.png")[0] == b"abc"
    with secured(f"DNS:{HOST}") as server:
        assert fetched(server, f"https://{PUBLIC}/a.png")[0] is Code.URL_FAILED
        assert server.seen == []
