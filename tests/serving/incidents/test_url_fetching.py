"""Incident 9: servers that fetched whatever URL they were given (vLLM, LMDeploy)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import httpx2
import pytest

from visreward.core.errors import UsageError
from visreward.serving.fetching import ByteBudget, ImageFetcher
from visreward.serving.problems import Code, Problem
from visreward.serving.url_rules import URLRules, is_url

if TYPE_CHECKING:
    from tests.serving.incidents.conftest import SocketWitness

PUBLIC = "93.184.215.14"
OPEN = URLRules(is_allowed=True, max_seconds=20.0)
NAMES = {
    "good.example": [PUBLIC],
    "private.example": ["10.1.2.3"],
    "loopback.example": ["127.0.0.1"],
    "loopback6.example": ["::1"],
    "metadata.example": ["169.254.169.254"],
    "mixed.example": [PUBLIC, "192.168.0.9"],
    "mapped.example": ["::ffff:10.0.0.1"],
    "nat64.example": ["64:ff9b::a00:1"],
    "local6.example": ["fe80::1%eth0"],
    "empty.example": [],
}
REFUSED = [
    # what is no http or https
    "file:///etc/passwd",
    "gopher://127.0.0.1:11211/_stats",
    "ftp://good.example/a.png",
    "dict://127.0.0.1:6379/info",
    "jar:http://good.example/a.jar!/",
    "ws://good.example/",
    "javascript:alert(1)",
    "DATA:image/png;base64,aGk=",
    "http:/good.example/a.png",
    "http:good.example/a.png",
    "http:///a.png",
    "http://",
    "//good.example/a.png",
    # loopback in all its spellings
    "http://127.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.1./",
    "http://0.0.0.0/",
    "http://0/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    # private, link-local, shared, reserved, multicast
    "http://10.0.0.1/",
    "http://172.16.3.4/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    # an address inside an address
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[2001:db8::1]/",
    # what two parsers read in two ways
    "http://good.example\\@127.0.0.1/",
    "http://good.example@127.0.0.1/",
    "http://user:word@good.example/",
    "http://127.0.0.1#@good.example/",
    "http://good.example#@127.0.0.1/",
    "http://good.example%2f@127.0.0.1/",
    "http://good.example%00.evil.example/",
    "http://good.example\t/",
    "http://good.example\r\nHost: 127.0.0.1/",
    "http://good.example/a.png HTTP/1.1\r\nX: y",
    " http://good.example/",
    "http://good。example/",
    "http://ⓖⓞⓞⓓ.example/",
    "http://good..example/",
    "http://-good.example/",
    "http://intranet/",
    "http://" + "a." * 127 + "example/",
    "http://good.example/" + "a" * 2048,
    # ports
    "http://good.example:22/",
    "http://good.example:6379/",
    "http://good.example:0/",
    "http://good.example:65536/",
    "http://good.example:99999999/",
    # names
    *(f"http://{name}/a.png" for name in NAMES if name != "good.example"),
    "http://nowhere.example/",
]


async def fake_resolve(name: str, port: int) -> Sequence[str]:
    if name not in NAMES:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return NAMES[name]


class Loopback(httpx2.AsyncHTTPTransport):
    """Goes to a server of the test, whatever address the fetcher has chosen, and notes it."""

    def __init__(self, port: int, asked: list[httpx2.Request]) -> None:
        super().__init__(trust_env=False)
        self.port = port
        self.asked = asked

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self.port)
        sent = httpx2.Request(
            request.method, url, headers=request.headers, stream=request.stream, extensions={}
        )
        return await super().handle_async_request(sent)


class Pages(BaseHTTPRequestHandler):
    """Pages as a hostile server would send them."""

    seen: ClassVar[list[tuple[str, dict[str, str]]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        with contextlib.suppress(ConnectionError):
            self.answer(self.path.strip("/"))

    def answer(self, name: str) -> None:
        if name.isdecimal():
            where = "http://127.0.0.1:9/secret"
            self.head(int(name), {"location": where, "content-length": "0"})
        elif name == "endless":
            self.head(200, {})
            while True:
                self.wfile.write(bytes(10_000))
        elif name == "claims":
            self.head(200, {"content-length": str(10**12)})
        elif name == "trickle":
            self.head(200, {"content-length": "100"})
            while True:
                self.wfile.write(b"a")
                time.sleep(0.05)
        elif name == "packed":
            self.head(200, {"content-encoding": "gzip", "content-length": "4"})
            self.wfile.write(b"\x1f\x8b\x08\0")
        else:
            self.head(200, {"content-type": "text/html", "set-cookie": "a=b", "content-length": 3})
            self.wfile.write(b"abc")

    def head(self, status: int, headers: dict[str, Any]) -> None:
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header, str(value))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def hostile() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def fetched(fetcher: ImageFetcher, url: str, max_bytes: int = 1000) -> bytes | Code:
    async def run() -> bytes | Code:
        try:
            return await fetcher.fetch(url, ByteBudget(max_bytes))
        except Problem as problem:
            return problem.code

    return asyncio.run(run())


@pytest.fixture
def asked() -> list[httpx2.Request]:
    return []


@pytest.fixture
def fetch(hostile: int, asked: list[httpx2.Request]) -> Callable[..., bytes | Code]:
    """Return what fetches from the hostile server, under whatever name."""

    def run(url: str, *, rules: URLRules = OPEN, max_bytes: int = 1000) -> bytes | Code:
        fetcher = ImageFetcher(
            rules, resolve=fake_resolve, make_transport=lambda: Loopback(hostile, asked)
        )
        return fetched(fetcher, url, max_bytes)

    return run


def test_incident_09_refused_urls_open_no_socket(sockets: SocketWitness) -> None:
    assert len(REFUSED) > 60

    async def codes() -> list[Code]:
        fetcher = ImageFetcher(OPEN, resolve=fake_resolve)
        found = []
        sockets.is_watching = True
        for url in REFUSED:
            with pytest.raises(Problem) as caught:
                await fetcher.fetch(url, ByteBudget(1000))
            found.append(caught.value.code)
        sockets.is_watching = False
        return found

    assert dict(zip(REFUSED, asyncio.run(codes()), strict=True)) == dict.fromkeys(
        REFUSED, Code.URL_REFUSED
    )
    assert sockets.events == []


def test_incident_09_witness_sees_a_socket(sockets: SocketWitness) -> None:
    # The test above would prove nothing if the witness were blind.
    sockets.is_watching = True
    socket.socket().close()
    with contextlib.suppress(OSError):
        socket.getaddrinfo("127.0.0.1", 80)
    assert sockets.events == ["socket.__new__", "socket.getaddrinfo"]


def test_incident_09_without_the_switch_nothing_is_resolved(sockets: SocketWitness) -> None:
    async def code() -> Code:
        sockets.is_watching = True
        with pytest.raises(Problem) as caught:
            await ImageFetcher(URLRules()).fetch("http://good.example/", ByteBudget(9))
        sockets.is_watching = False
        return caught.value.code

    assert asyncio.run(code()) is Code.URL_NOT_ALLOWED
    assert sockets.events == []


def test_incident_09_name_is_resolved_once_and_the_checked_address_is_asked(
    hostile: int, asked: list[httpx2.Request]
) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    lookups: list[str] = []

    async def flip(name: str, port: int) -> Sequence[str]:
        lookups.append(name)
        return next(answers)

    fetcher = ImageFetcher(OPEN, resolve=flip, make_transport=lambda: Loopback(hostile, asked))
    assert fetched(fetcher, "https://rebound.example/a.png?b=1") == b"abc"
    assert lookups == ["rebound.example"]
    (request,) = asked
    assert (request.url.host, request.url.port) == (PUBLIC, None)
    assert request.url.raw_path == b"/a.png?b=1"
    assert request.headers["host"] == "rebound.example"
    assert request.extensions["sni_hostname"] == "rebound.example"
    assert fetched(fetcher, "https://rebound.example/a.png") is Code.URL_REFUSED
    assert len(asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_incident_09_redirect_is_not_followed(
    fetch: Callable[..., bytes | Code], asked: list[httpx2.Request], status: int
) -> None:
    assert fetch(f"http://good.example/{status}") is Code.URL_FAILED
    assert [request.url.path for request in asked] == [f"/{status}"]


@pytest.mark.parametrize("page", ["204", "206", "404", "500", "endless", "claims", "packed"])
def test_incident_09_other_status_or_too_many_bytes_fail(
    fetch: Callable[..., bytes | Code], page: str
) -> None:
    assert fetch(f"http://good.example/{page}", max_bytes=50_000) is Code.URL_FAILED


def test_incident_09_bytes_at_the_limit_are_taken_and_one_more_is_refused(
    fetch: Callable[..., bytes | Code],
) -> None:
    assert fetch("http://good.example/x", max_bytes=3) == b"abc"
    assert fetch("http://good.example/x", max_bytes=2) is Code.URL_FAILED


def test_incident_09_slow_bytes_end_with_the_time(fetch: Callable[..., bytes | Code]) -> None:
    rules = URLRules(is_allowed=True, max_seconds=0.4)
    assert fetch("http://good.example/trickle", rules=rules) is Code.URL_FAILED


def test_incident_09_no_cookie_no_proxy_no_credentials(
    fetch: Callable[..., bytes | Code], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    Pages.seen.clear()
    assert [fetch(f"http://good.example/{name}") for name in "ab"] == [b"abc"] * 2
    for _, headers in Pages.seen:
        assert set(headers) == {"host", "accept", "accept-encoding", "connection", "user-agent"}
        assert headers["host"] == "good.example"


def test_incident_09_only_named_hosts_and_ports_are_asked(
    fetch: Callable[..., bytes | Code],
) -> None:
    rules = URLRules(is_allowed=True, hosts=("Good.example:8443", "[2606:2800::1]"))
    assert fetch("http://good.example:8443/", rules=rules) == b"abc"
    assert fetch("http://[2606:2800:0::1]/", rules=rules) == b"abc"
    for url in ("http://good.example/", f"http://{PUBLIC}/", "http://good.example:22/"):
        assert fetch(url, rules=rules) is Code.URL_REFUSED
    plain = URLRules(is_allowed=True, hosts=("private.example",))
    assert fetch("http://private.example/", rules=plain) is Code.URL_REFUSED


@pytest.mark.parametrize("hosts", [("",), ("a b.example",), ("http://good.example",), ("x:0",)])
def test_url_host_that_is_no_host_is_refused(hosts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="--url-host"):
        URLRules(is_allowed=True, hosts=hosts)


def test_url_host_without_the_switch_is_refused() -> None:
    with pytest.raises(UsageError, match="--allow-urls"):
        URLRules(hosts=("good.example",))


def test_system_resolver_gives_addresses() -> None:
    fetcher = ImageFetcher(OPEN)
    assert "127.0.0.1" in asyncio.run(fetcher._system_addresses("127.0.0.1", 80))
    fetcher.close()


@pytest.mark.parametrize("image", ["aGk=", "/9j/4AAQ", "data:image/png;base64,aGk=", b"http://x"])
def test_image_that_is_no_url_is_left_alone(image: str | bytes) -> None:
    assert not is_url(image)
