"""Fetch images from URLs, where whoever runs the server has allowed it.

The name is resolved once and the connection goes to the address that was checked, so that a name
whose answer changes in between gains nothing. Redirects are not followed. Each image has a
connection of its own; cookies, proxies and credentials are never used. What comes is bytes, for the
decoder to judge; a content type is not believed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeAlias

import httpx2

from visreward.serving.problems import Code, Problem
from visreward.serving.url_rules import (
    Address,
    ImageURL,
    URLRules,
    checked_addresses,
    is_url,
    read_url,
)

if TYPE_CHECKING:
    import ssl

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a name and a port to addresses."""

_MAX_ADDRESSES: Final = 3
_NUM_RESOLVERS: Final = 8
_HEADERS: Final = {
    "accept": "image/jpeg, image/png, image/webp",
    "accept-encoding": "identity",
    "connection": "close",
    "user-agent": "visreward",
}


class ByteBudget:
    """How many bytes the images of one request may still bring."""

    def __init__(self, num_bytes: int) -> None:
        self._left = num_bytes

    def spend(self, num_bytes: int) -> None:
        """Count some bytes.

        Raises:
            Problem: if they are more than is left.
        """
        self._left -= num_bytes
        self.check(0)

    def check(self, num_bytes: int) -> None:
        """Refuse what could not be spent.

        Raises:
            Problem: likewise.
        """
        if num_bytes > self._left:
            raise Problem(Code.URL_FAILED)


class ImageFetcher:
    """Fetch images over HTTP from public addresses, and from nowhere else.

    Args:
        rules: Whether, from which hosts, and how long.
        resolve: How names are resolved; None asks the system.
        make_transport: How an HTTP connection is made; None makes a real one.
    """

    def __init__(
        self,
        rules: URLRules,
        *,
        resolve: Resolve | None = None,
        make_transport: Callable[[], httpx2.AsyncBaseTransport] | None = None,
    ) -> None:
        self._rules = rules
        self._slots = asyncio.Semaphore(rules.max_at_once)
        self._threads = ThreadPoolExecutor(_NUM_RESOLVERS, thread_name_prefix="resolve")
        self._resolve = resolve or self._system_addresses
        self._make_transport = make_transport or self._transport
        self._tls: ssl.SSLContext | None = None

    async def fetch(self, url: str, budget: ByteBudget) -> bytes:
        """Return what lies at a URL.

        Args:
            url: Written by a stranger.
            budget: Spent while the bytes come.

        Raises:
            Problem: `url_not_allowed` where no URL is fetched, `url_refused` before a connection
                is opened, `url_failed` afterwards.
        """
        if not self._rules.is_allowed:
            raise Problem(Code.URL_NOT_ALLOWED)
        place = read_url(url)
        self._rules.check(place)
        if place.address is not None:
            checked_addresses([str(place.address)])
        try:
            async with self._slots, asyncio.timeout(self._rules.max_seconds):
                addresses = await self._addresses(place)
                return await self._from_first(place, addresses, budget)
        except (TimeoutError, httpx2.TransportError, httpx2.InvalidURL):
            raise Problem(Code.URL_FAILED) from None

    async def fetch_all(
        self, images: Sequence[str | bytes], *, max_bytes: int
    ) -> list[str | bytes | Code]:
        """Return images with the bytes, or a code, in the place of each URL.

        Args:
            images: Bytes, base64 text and URLs; a URL that is there twice is fetched once.
            max_bytes: What all URLs together may bring.
        """
        urls = list(dict.fromkeys(image for image in images if is_url(image)))
        budget = ByteBudget(max_bytes)
        found = await asyncio.gather(*(self._fetched(str(url), budget) for url in urls))
        by_url = dict(zip(urls, found, strict=True))
        return [by_url.get(image, image) for image in images]

    async def _fetched(self, url: str, budget: ByteBudget) -> bytes | Code:
        try:
            return await self.fetch(url, budget)
        except Problem as problem:
            return problem.code

    def close(self) -> None:
        """Wait for no name that is still being resolved."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _addresses(self, place: ImageURL) -> tuple[Address, ...]:
        if place.address is not None:
            return (place.address,)
        try:
            found = await self._resolve(place.host, place.port)
        except OSError:
            # Told apart from a private address, it would say which private names there are.
            raise Problem(Code.URL_REFUSED) from None
        return checked_addresses(found)

    async def _system_addresses(self, host: str, port: int) -> list[str]:
        def look_up() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [str(address[0]) for *_, address in found]

        return await asyncio.get_running_loop().run_in_executor(self._threads, look_up)

    async def _from_first(
        self, place: ImageURL, addresses: Sequence[Address], budget: ByteBudget
    ) -> bytes:
        """Return what the first address sends to which a connection can be made."""
        last: httpx2.TransportError | None = None
        for address in addresses[:_MAX_ADDRESSES]:
            try:
                return await self._from_address(place, address, budget)
            except httpx2.ConnectError as error:
                last = error
        assert last is not None
        raise last

    async def _from_address(self, place: ImageURL, address: Address, budget: ByteBudget) -> bytes:
        host = f"[{address}]" if address.version == 6 else str(address)
        request = httpx2.Request(
            "GET",
            f"{place.scheme}://{host}:{place.port}{place.target}",
            headers={"host": place.authority, **_HEADERS},
            # The certificate must be of the name, not of the address.
            extensions={"sni_hostname": place.host},
        )
        async with self._make_transport() as transport:
            response = await transport.handle_async_request(request)
            if response.status_code != 200 or "content-encoding" in response.headers:
                raise Problem(Code.URL_FAILED)
            declared = response.headers.get("content-length", "0")
            budget.check(int(declared) if declared.isdecimal() else 0)
            chunks: list[bytes] = []
            async for chunk in response.aiter_raw():
                budget.spend(len(chunk))
                chunks.append(chunk)
        return b"".join(chunks)

    def _transport(self) -> httpx2.AsyncBaseTransport:
        if self._tls is None:
            self._tls = httpx2.create_ssl_context(trust_env=False)
        return httpx2.AsyncHTTPTransport(verify=self._tls, trust_env=False)
