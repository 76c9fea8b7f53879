"""One question to an endpoint: its request as JSON, and the key that its answer is kept under."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from visreward.core.images import content_key, read_image, thumbnail_data_uri
from visreward.evaluation.judges.rating_prompts import Part, Picture

if TYPE_CHECKING:
    from visreward.evaluation.judges.config import EndpointConfig, ImagesConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and of whom.

    Attributes:
        parts: Texts and images, in order.
        endpoint: Where it is asked, and with which parameters.
        images: How the images are sent.
    """

    parts: tuple[Part, ...]
    endpoint: EndpointConfig
    images: ImagesConfig

    def described(self) -> str:
        """Return all that an answer depends on as one line of JSON; deterministic.

        An image stands as the SHA-256 of its file and the rule by which it is shrunk, so that
        no image is decoded for it. The key of the endpoint is no part of it.

        Raises:
            ImageError: if an image cannot be read.
        """
        rule = f"{self.images.max_side} {self.images.encoding} {self.images.quality}"
        request = self._request(
            lambda picture: f"sha256:{content_key(picture.source, name=picture.name)} {rule}"
        )
        return json.dumps({"url": self.endpoint.base_url, **request}, sort_keys=True)

    def body(self) -> bytes:
        """Return the request with its images as `data:` URIs, as JSON.

        Raises:
            ImageError: if an image cannot be read.
        """
        return json.dumps(self._request(self._data_uri)).encode()

    def _request(self, url_of: Callable[[Picture], str]) -> dict[str, Any]:  # JSON values
        content = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image_url", "image_url": {"url": url_of(part)}}
            for part in self.parts
        ]
        return {
            "model": self.endpoint.model,
            "messages": [{"role": "user", "content": content}],
            **self.endpoint.parameters,
        }

    def _data_uri(self, picture: Picture) -> str:
        return thumbnail_data_uri(
            read_image(picture.source, name=picture.name),
            max_side=self.images.max_side,
            encoding=self.images.encoding,
            quality=self.images.quality,
        )


def key_of(described: str) -> str:
    """Return the SHA-256 of a described question, as hexadecimal digits."""
    return hashlib.sha256(described.encode()).hexdigest()
