"""Requests of edits that are all different: every image is new to every cache."""

from __future__ import annotations

import io
import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgpack
from PIL import Image

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


def make_works(num: int, *, candidates: int, side: int, has_source: bool) -> list[Work]:
    """Return some requests of synthetic edits as PNG files; at most 6 candidates each."""
    works = []
    for index in range(num):
        edit = render_edit(plan_edit(seed=7, split="test", index=index), size=side)
        works.append(
            Work(
                prompt=edit.instruction,
                source=_png(edit.source_image) if has_source else None,
                candidates=tuple(map(_png, edit.images[:candidates])),
            )
        )
    return works


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
