"""What a server is told at its start: models, limits, keys."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final

from visreward.core.errors import UsageError
from visreward.serving.url_rules import URLRules

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8000

_LOOPBACK_NAMES: Final = ("localhost", "ip6-localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large a request may be, and how many may wait; each is refused beyond its limit.

    Attributes:
        body_bytes: Bytes of a request's body, counted while it is read.
        header_bytes: Bytes of all header names and values.
        images: Source images and candidates of one request.
        image_pixels: Width x height of one image, by its header.
        prompt_chars: Characters of a prompt.
        queue_items: Candidates that may wait or be scored at once; one client may have half.
        held_bytes: Bytes of bodies, and as many of decoded pictures, that are held at once: a body
            beyond it is refused, a request beyond it waits to be decoded.
        header_s: Seconds in which all headers must have arrived.
        body_s: Seconds in which a body must have arrived.
        timeout_s: Longest time in seconds that a request may ask for, and what it gets if it asks
            for none.
    """

    body_bytes: int = 32 << 20
    header_bytes: int = 16 << 10
    images: int = 64
    image_pixels: int = 40_000_000
    prompt_chars: int = 4096
    queue_items: int = 1024
    held_bytes: int = 1 << 30
    header_s: float = 10.0
    body_s: float = 30.0
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise UsageError(
                    f"The limit {name} is {getattr(self, name)}. Give a number above 0."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSetup:
    """One model to serve, in a process of its own.

    Attributes:
        name: What `load_model` takes, and what requests call it.
        device: `cpu`, `cuda`, `cuda:N`, `mps` or `auto`.
        dtype: float32, bfloat16 or float16.
        batch_invariant: Whether scores have the same bits in every batch.
        attention: Attention back-end.
        max_batch_tokens: How many tokens go to the model at once; a single candidate with more
            goes alone.
        hang_s: Seconds without an answer after which the process counts as hung and is replaced;
            more for batches that should take longer.
        cache_mib: Memory for the features of recent images, in MiB; vision-language models keep
            them.
    """

    name: str
    device: str = "cpu"
    dtype: str = "float32"
    batch_invariant: bool = False
    attention: str = "sdpa"
    max_batch_tokens: int = 16_384
    hang_s: float = 30.0
    cache_mib: int = 1024

    def __post_init__(self) -> None:
        if self.max_batch_tokens < 1:
            raise UsageError(f"max_batch_tokens is {self.max_batch_tokens}. Give 1 or more.")
        if not self.hang_s > 0:
            raise UsageError(f"hang_s is {self.hang_s}. Give a number of seconds above 0.")
        if self.cache_mib < 0:
            raise UsageError(f"cache_mib is {self.cache_mib}. Give 0 or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What `visreward serve` was asked for.

    Attributes:
        models: Models to serve; the first answers requests that name none.
        api_key: What every request must show, or None for no check, on loopback only.
        num_decoders: How many processes decode images.
        drain_s: Seconds that requests in flight get at the end.
        urls: Whether images are fetched from URLs, and from where.
        has_flow_grpo: Whether `POST /` takes flow_grpo's pickles, of plain data; on loopback only.
    """

    models: tuple[ModelSetup, ...]
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    api_key: str | None = field(default=None, repr=False)
    limits: Limits = field(default_factory=Limits)
    num_decoders: int = 2
    drain_s: float = 30.0
    urls: URLRules = field(default_factory=URLRules)
    has_flow_grpo: bool = False

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if not names:
            raise UsageError("No model was given. Give --model NAME, once for each model.")
        if len(set(names)) < len(names):
            raise UsageError(f"A model is named twice: {', '.join(names)}. Name each once.")
        if not self.drain_s >= 0:
            raise UsageError(f"drain_s is {self.drain_s}. Give a number of seconds, 0 or more.")
        if self.num_decoders < 1:
            raise UsageError(f"num_decoders is {self.num_decoders}. Give 1 or more.")
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"The port is {self.port}. Give 0 to 65535; 0 takes a free one.")
        if self.api_key is None and not is_loopback(self.host):
            raise UsageError(
                f"The host is {self.host!r}, which other machines can reach, and there is no API "
                "key. Set VISREWARD_API_KEY or --api-key-file, or stay on 127.0.0.1."
            )
        if self.has_flow_grpo and not is_loopback(self.host):
            raise UsageError(
                f"The host is {self.host!r}, which other machines can reach, and flow_grpo's "
                "protocol is for this machine only. Leave out --flow-grpo, or stay on 127.0.0.1."
            )
        if self.api_key is not None and len(self.api_key) < 16:
            raise UsageError(
                f"The API key has {len(self.api_key)} characters. Take 16 or more, for example "
                "from: openssl rand -hex 32"
            )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address; unknown names count as no."""
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
