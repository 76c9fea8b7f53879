"""Which URLs and which addresses the server may fetch an image from; nothing here opens a socket.

A URL is taken only in the plain form that every parser reads alike. Anything else is refused rather
than repaired: what one parser repairs, another one sends elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from visreward.core.errors import UsageError
from visreward.serving.problems import Code, Problem

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
MAX_URL_CHARS: Final = 2048
MAX_NAME_CHARS: Final = 253

_HAS_SCHEME: Final = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.\-]*:")
_PLAIN: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>[/?][!$-~]*)?",  # printable ASCII, without a space, `"` and `#`
    re.IGNORECASE,
)
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9\-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0[Xx][0-9A-Fa-f]*")

_REFUSED_V4: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's platform service, at a public number
            "169.254.0.0/16",  # link-local, and the metadata services of clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_UNICAST_V6: Final = ipaddress.IPv6Network("2000::/3")
"""All that is global unicast; loopback, mapped, NAT64, unique local, link-local and multicast
addresses lie outside."""

_REFUSED_V6: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments, Teredo with an IPv4 address inside
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, with an IPv4 address inside
            "3fff::/20",  # documentation
        ),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageURL:
    """A URL in parts.

    Attributes:
        scheme: `http` or `https`.
        host: A name in lower case, or an address without brackets.
        address: The address, where the host is one.
        target: Path and query, as sent.
    """

    scheme: str
    host: str
    address: Address | None
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Return the host for the Host header, with its port where that is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class URLRules:
    """Whether the server fetches images from URLs, and from where.

    Attributes:
        is_allowed: Whether it does at all.
        hosts: The only hosts to ask, as `HOST` or `HOST:PORT`; empty stands for all. A port other
            than 80 and 443 is asked only where it is named here.
        max_seconds: How long one image may take.
        max_at_once: How many images are fetched at once.
    """

    is_allowed: bool = False
    hosts: tuple[str, ...] = ()
    max_seconds: float = 10.0
    max_at_once: int = 16

    def __post_init__(self) -> None:
        if self.hosts and not self.is_allowed:
            raise UsageError(
                f"--url-host {self.hosts[0]} names a host to fetch images from, but URLs are not "
                "allowed. Add --allow-urls, or leave it out."
            )
        for host in self.hosts:
            try:
                read_url(f"http://{host}/")
            except Problem:
                raise UsageError(
                    f"--url-host is {host!r}. Give a name or an address, and a port where it is "
                    "not 80 or 443: images.example.org or images.example.org:8443"
                ) from None

    def check(self, url: ImageURL) -> None:
        """Refuse a URL whose host or port is not to be asked.

        Raises:
            Problem: likewise.
        """
        named = {host.lower() for host in self.hosts}
        bracketed = f"[{url.host}]" if ":" in url.host else url.host
        has_usual_port = url.port in DEFAULT_PORTS.values()
        is_named = f"{bracketed}:{url.port}" in named or (has_usual_port and bracketed in named)
        if not is_named and (named or not has_usual_port):
            raise Problem(Code.URL_REFUSED)


def is_url(image: str | bytes) -> bool:
    """Return whether text names a place rather than holding an image; base64 has no colon."""
    return (
        isinstance(image, str)
        and _HAS_SCHEME.match(image) is not None
        and not image.startswith("data:")
    )


def read_url(text: str) -> ImageURL:
    """Return a URL in parts.

    Raises:
        Problem: unless it is plain: http or https, a name with a dot or an address in its usual
            form, no user, no fragment, no character outside printable ASCII.
    """
    found = _PLAIN.fullmatch(text) if len(text) <= MAX_URL_CHARS else None
    if found is None or "\\" in text:
        raise Problem(Code.URL_REFUSED)
    scheme = found["scheme"].lower()
    port = int(found["port"] or DEFAULT_PORTS[scheme])
    if not 1 <= port <= 65_535:
        raise Problem(Code.URL_REFUSED)
    host = found["host"].strip("[]").lower()
    address = _address(found["host"])
    if address is None and not _is_name(host):
        raise Problem(Code.URL_REFUSED)
    target = found["target"] or "/"
    return ImageURL(
        scheme=scheme,
        host=host if address is None else str(address),
        address=address,
        port=port,
        target=target if target.startswith("/") else f"/{target}",
    )


def is_public(address: Address) -> bool:
    """Return whether an address is global unicast, and holds no other address inside."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return (
        address in _UNICAST_V6
        and address.scope_id is None
        and not any(address in network for network in _REFUSED_V6)
    )


def checked_addresses(found: Iterable[str]) -> tuple[Address, ...]:
    """Return what a name stands for.

    Raises:
        Problem: if one of the addresses is not public, or there is none.
    """
    try:
        addresses = tuple(dict.fromkeys(map(ipaddress.ip_address, found)))
    except ValueError:
        raise Problem(Code.URL_REFUSED) from None
    if not addresses or not all(map(is_public, addresses)):
        raise Problem(Code.URL_REFUSED)
    return addresses


def _address(host: str) -> Address | None:
    """Return the address that a host is, or None for a name.

    Raises:
        Problem: if it is a number that is no plain address: 127.1, 0x7f.1, 017700000001.
    """
    try:
        if host.startswith("["):
            return ipaddress.IPv6Address(host[1:-1])
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            return ipaddress.IPv4Address(host)
    except ValueError:
        raise Problem(Code.URL_REFUSED) from None
    return None


def _is_name(host: str) -> bool:
    """Return whether a host is a name with a dot; one without is of this machine or network."""
    labels = host.split(".")
    return (
        len(labels) > 1
        and len(host) <= MAX_NAME_CHARS
        and all(_LABEL.fullmatch(label) for label in labels)
    )
