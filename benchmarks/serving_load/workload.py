"""Requests of edits that are all different: every image is new to every cache."""

from __future__ import annotations

import argparse
import functools
import io
import itertools
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgpack
import numpy as np
from PIL import Image

from serving_load.server import Server
from visreward.data.scenes.edits import plan_edit, render_edit

_END_BYTES = 12  # the IEND chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one request asks.

    Attributes:
        source: Bytes of the source image; None where the model takes none.
        candidates: Bytes of the candidates.
    """

    prompt: str
    source: bytes | None
    candidates: tuple[bytes, ...]

    def body(self, model: str) -> bytes:
        """Return the request's body in msgpack."""
        sources = [] if self.source is None else [self.source]
        values = {
            "model": model,
            "prompt": self.prompt,
            "source_images": sources,
            "candidates": list(self.candidates),
        }
        return bytes(msgpack.packb(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked: synthetic edits as PNG files.

    Attributes:
        model: Whom requests name.
        candidates: Of each request, at most 6.
        side: Of the images, in pixels.
        distinct: Requests with different pixels.
        has_source: Whether requests have a source image.
    """

    model: str
    candidates: int
    side: int
    distinct: int
    has_source: bool

    @classmethod
    def of(cls, options: argparse.Namespace, server: Server) -> Plan:
        """Return what a command's options ask of a server."""
        listed = json.loads(server.get("/v1/models")[1])["models"]
        (needs_source,) = [each["needs_source"] for each in listed if each["name"] == options.model]
        return cls(
            model=options.model,
            candidates=options.candidates,
            side=options.side,
            distinct=options.distinct,
            has_source=needs_source,
        )

    def works(self) -> list[Work]:
        """Return the requests; they are painted once."""
        return _painted(self)

    def bodies(self, tag: str) -> Iterator[bytes]:
        """Yield request bodies without an end, all different."""
        return (work.body(self.model) for work in endless(self.works(), tag))


@functools.cache
def _painted(plan: Plan) -> list[Work]:
    works = []
    for index in range(plan.distinct):
        edit = render_edit(plan_edit(seed=7, split="test", index=index), size=plan.side)
        works.append(
            Work(
                prompt=edit.instruction,
                source=_png(edit.source_image) if plan.has_source else None,
                candidates=tuple(map(_png, edit.images[: plan.candidates])),
            )
        )
    return works


def add_options(parser: argparse.ArgumentParser, *, distinct: int) -> None:
    """Add the options that say what is asked, and with how many threads."""
    parser.add_argument("--model", default="editreward-mini")
    parser.add_argument("--candidates", type=int, default=4, help="of a request, at most 6")
    parser.add_argument("--side", type=int, default=224, help="of the images, in pixels")
    parser.add_argument(
        "--distinct", type=int, default=distinct, help="requests with their own pixels"
    )
    parser.add_argument("--threads", type=int, help="of torch; default: its choice")


def random_times(*, rate: float, seconds: float) -> list[float]:
    """Return when requests come, in seconds from the start; the pauses are exponential.

    Args:
        rate: Requests per second in the mean.
        seconds: Before which all of them come.
    """
    rng = np.random.default_rng(0)
    pauses = rng.exponential(1 / rate, size=int(2 * rate * seconds) + 100)
    times = np.concatenate([[0.0], np.cumsum(pauses)])
    return [float(each) for each in times if each < seconds]


def endless(works: list[Work], tag: str) -> Iterator[Work]:
    """Yield the requests over and over, each time with images whose files differ.

    The pixels stay; a comment in the file makes its digest another one.
    """
    for count, work in enumerate(itertools.cycle(works)):
        yield Work(
            prompt=work.prompt,
            source=work.source and _stamped(work.source, f"{tag} {count}"),
            candidates=tuple(
                _stamped(image, f"{tag} {count} {number}")
                for number, image in enumerate(work.candidates)
            ),
        )


def _png(pixels: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=6)  # type: ignore[arg-type]
    return buffer.getvalue()


def _stamped(png: bytes, text: str) -> bytes:
    """Return a PNG with a comment before its end."""
    content = b"tEXtComment\0" + text.encode()
    chunk = (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")
    return png[:-_END_BYTES] + chunk + png[-_END_BYTES:]
