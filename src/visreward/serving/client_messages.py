"""What clients send and make of the answers; shared by the sync and the async client."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from PIL import Image

from visreward.core.errors import RewardServerError, UsageError
from visreward.core.image_files import image_label, open_stream
from visreward.core.types import DimensionScore, ImageSource, Score, SourceImages

if TYPE_CHECKING:
    import httpx2

OnError: TypeAlias = Literal["raise", "nan"]

MSGPACK: Final = "application/msgpack"
SCORE_PATH: Final = "/v1/score"

_GRACE_S: Final = 5.0
_RETRIED_STATUSES: Final = frozenset({408, 429, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When and how soon a request is sent again; scoring twice does no harm.

    Attributes:
        max_retries: How often, after the first time.
        base_s: The first pause is at most this long, each further one at most twice as long.
        max_pause_s: The longest pause, also where the server asks for a longer one.
    """

    max_retries: int = 5
    base_s: float = 0.25
    max_pause_s: float = 20.0

    def __post_init__(self) -> None:
        if self.max_retries < 0:
            raise UsageError(f"max_retries is {self.max_retries}. Give 0 or more.")

    def pause_s(self, attempt: int, retry_after_s: float = 0.0) -> float:
        """Return a pause in seconds: what the server asked for, and a random part on top.

        The random part keeps clients that were refused together from returning together.

        Args:
            attempt: 0 after the first failure.
            retry_after_s: What the server asked for.
        """
        jitter = random.uniform(0, self.base_s * 2**attempt)  # noqa: S311  no secret
        return min(self.max_pause_s, retry_after_s + jitter)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Where a server is, and how patient its client.

    Attributes:
        url: Such as `http://127.0.0.1:8000`.
        api_key: Shown with every request, or None.
        client_name: By which the server keeps turns fair; None takes the address.
        timeout_s: Of one request; the server drops what takes longer.
        images_per_request: More images than this are sent in several requests.
    """

    url: str
    api_key: str | None = None
    client_name: str | None = None
    timeout_s: float = 60.0
    images_per_request: int = 32
    retry: RetryPolicy = RetryPolicy()

    @property
    def http_timeout_s(self) -> float:
        """Return how long to wait for an answer: a little longer than the server may take."""
        return self.timeout_s + _GRACE_S

    def headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        headers = {"content-type": MSGPACK, "accept": MSGPACK}
        if self.api_key is not None:
            headers["authorization"] = f"Bearer {self.api_key}"
        if self.client_name is not None:
            headers["x-visreward-client"] = self.client_name
        return headers


def score_bodies(
    settings: ClientSettings,
    *,
    prompt: str,
    images: Sequence[ImageSource],
    source_image: SourceImages | None,
    model: str | None,
) -> Iterator[bytes]:
    """Yield the bodies of the requests that score some images.

    Raises:
        ImageError: if a file cannot be read.
        UsageError: if `images` is one image.
    """
    import msgpack

    if isinstance(images, str | bytes):
        raise UsageError(
            f"images is a single {type(images).__name__}, but several are expected. Put it into a "
            "list: images=[image]"
        )
    sources = source_image if isinstance(source_image, tuple) else (source_image,)
    shared = {
        "prompt": prompt,
        "source_images": [encoded(source) for source in sources if source is not None],
        "model": model,
        "timeout_s": settings.timeout_s,
    }
    for start in range(0, len(images), settings.images_per_request):
        part = images[start : start + settings.images_per_request]
        yield msgpack.packb({**shared, "candidates": [encoded(image) for image in part]})


def encoded(image: ImageSource) -> bytes:
    """Return the bytes of an image file; an opened picture becomes a PNG.

    Raises:
        ImageError: if a file cannot be read.
    """
    if isinstance(image, Image.Image):
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", compress_level=1)
        return buffer.getvalue()
    with open_stream(image, label=image_label(image, None)) as stream:
        return stream.read()


def read_scores(response: httpx2.Response, *, on_error: OnError, first: int = 0) -> list[Score]:
    """Return the scores of a response.

    Args:
        response: Of /v1/score.
        on_error: `raise` stops at a failed image; `nan` gives it a score of NaN with the reason
            among its notes.
        first: Number of the request's first image, for messages.

    Raises:
        RewardServerError: if the request failed, or an image did and that is to stop.
    """
    body = read_body(response)
    if "error" in body and not (on_error == "nan" and body.get("results")):
        raise refusal(response, body)
    return [
        _score(item, body, on_error=on_error, number=first + item["index"])
        for item in body["results"]
    ]


def read_body(response: httpx2.Response) -> dict[str, Any]:  # JSON values
    """Return a response's values.

    Raises:
        RewardServerError: if it is not one of a reward server.
    """
    import msgpack

    is_msgpack = response.headers.get("content-type", "") == MSGPACK
    try:
        body = msgpack.unpackb(response.content) if is_msgpack else response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RewardServerError(
            f"{response.url.host} answered with status {response.status_code} and no body that a "
            "reward server sends. Check the URL."
        )
    return body


def pause_before_retry(
    settings: ClientSettings, attempt: int, outcome: httpx2.Response | httpx2.TransportError
) -> float | None:
    """Return the seconds until a request is sent again, or None where its response is final.

    Args:
        settings: Of the client.
        attempt: 0 after the first sending.
        outcome: What came of it.

    Raises:
        RewardServerError: if the server did not answer and the request is not sent again.
    """
    is_last = attempt == settings.retry.max_retries
    if isinstance(outcome, Exception):
        if is_last:
            raise RewardServerError(
                f"The server at {settings.url} does not answer ({type(outcome).__name__}). Check "
                "that it runs: visreward serve",
            ) from outcome
        return settings.retry.pause_s(attempt)
    if is_last or outcome.status_code not in _RETRIED_STATUSES:
        return None
    given = outcome.headers.get("retry-after", "0")
    return settings.retry.pause_s(attempt, float(given) if given.isdecimal() else 0.0)


def refusal(response: httpx2.Response, body: Mapping[str, Any]) -> RewardServerError:  # JSON values
    """Return the error of a request that failed as a whole."""
    error = body["error"]
    place = f" ({error['field']})" if error.get("field") else ""
    return RewardServerError(
        f"The server refused the request with {error['code']}{place}: {error['message']}",
        code=error["code"],
        status=response.status_code,
    )


def _score(
    item: Mapping[str, Any],  # JSON values
    body: Mapping[str, Any],  # JSON values
    *,
    on_error: OnError,
    number: int,
) -> Score:
    error = item["error"]
    if error is not None and on_error == "raise":
        raise RewardServerError(
            f"Image {number} has no score, {error['code']}: {error['message']}", code=error["code"]
        )
    model, revision = body.get("model", ""), body.get("revision", "")
    if error is not None:
        notes = (f"{error['code']}: {error['message']}",)
        return Score(value=math.nan, model=model, revision=revision, notes=notes)
    found = item["score"]
    return Score(
        value=found["value"],
        sigma=found["sigma"],
        dimensions={
            name: DimensionScore(mu=part["mu"], sigma=part["sigma"])
            for name, part in found["dimensions"].items()
        },
        model=model,
        revision=revision,
        notes=tuple(found["notes"]),
    )
