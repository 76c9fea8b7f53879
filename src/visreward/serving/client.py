"""Clients of the reward server, sync and async."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from visreward.core.errors import UsageError
from visreward.core.extras import require_extra
from visreward.core.types import ImageSource, Score, SourceImages
from visreward.models.ranked import Ranked, order
from visreward.serving.client_messages import (
    SCORE_PATH,
    ClientSettings,
    OnError,
    pause_before_retry,
    read_scores,
    score_bodies,
)

if TYPE_CHECKING:
    import httpx2

_CONNECTIONS = 8


class RewardClient:
    """Score images on a reward server; safe to use from several threads.

    Refusals that pass (a full queue, a model that starts again) are tried again a few times, with
    growing, random pauses.

    Args:
        settings: Where the server is; a URL stands for the defaults.
    """

    def __init__(self, settings: ClientSettings | str) -> None:
        require_extra("serve", "httpx2", "msgpack")
        import httpx2

        self._settings = client_settings(settings)
        self._http = httpx2.Client(
            base_url=self._settings.url,
            headers=self._settings.headers(),
            timeout=self._settings.http_timeout_s,
        )

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def is_ready(self) -> bool:
        """Return whether the server is there and its models score."""
        import httpx2

        try:
            return self._http.get("/ready").status_code == 200
        except httpx2.TransportError:
            return False

    def score(
        self,
        *,
        prompt: str,
        images: Sequence[ImageSource],
        source_image: SourceImages | None = None,
        model: str | None = None,
        on_error: OnError = "raise",
    ) -> list[Score]:
        """Score images for one prompt, in their order.

        Args:
            prompt: The text asked for, or the edit instruction.
            images: Paths, bytes of image files, or pictures; they travel as bytes.
            source_image: The image before the edit, or several.
            model: One that is served; None takes the server's first.
            on_error: `raise` stops at an image that has no score; `nan` gives it NaN, with the
                reason among its notes.

        Raises:
            RewardServerError: if the server refuses, fails or does not answer.
            ImageError: if a file cannot be read.
        """
        bodies = score_bodies(
            self._settings, prompt=prompt, images=images, source_image=source_image, model=model
        )
        scores: list[Score] = []
        for body in bodies:
            scores += self._scores(body, on_error=on_error, first=len(scores))
        return scores

    def rank(
        self,
        *,
        prompt: str,
        images: Sequence[ImageSource],
        source_image: SourceImages | None = None,
        model: str | None = None,
    ) -> list[Ranked]:
        """Rank images for one prompt, best first; errors and arguments as in `score`."""
        return order(
            self.score(prompt=prompt, images=images, source_image=source_image, model=model)
        )

    def _scores(self, body: bytes, *, on_error: OnError, first: int) -> list[Score]:
        response = posted(self._http, SCORE_PATH, body, self._settings)
        return read_scores(response, on_error=on_error, first=first)


class AsyncRewardClient:
    """`RewardClient` for asyncio; the requests of one call run side by side.

    Args:
        settings: Where the server is; a URL stands for the defaults.
    """

    def __init__(self, settings: ClientSettings | str) -> None:
        require_extra("serve", "httpx2", "msgpack")
        import httpx2

        self._settings = client_settings(settings)
        self._http = httpx2.AsyncClient(
            base_url=self._settings.url,
            headers=self._settings.headers(),
            timeout=self._settings.http_timeout_s,
        )
        self._slots = asyncio.Semaphore(_CONNECTIONS)

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def is_ready(self) -> bool:
        """Return whether the server is there and its models score."""
        import httpx2

        try:
            return (await self._http.get("/ready")).status_code == 200
        except httpx2.TransportError:
            return False

    async def score(
        self,
        *,
        prompt: str,
        images: Sequence[ImageSource],
        source_image: SourceImages | None = None,
        model: str | None = None,
        on_error: OnError = "raise",
    ) -> list[Score]:
        """Score images for one prompt, in their order; arguments as in `RewardClient`."""
        bodies = score_bodies(
            self._settings, prompt=prompt, images=images, source_image=source_image, model=model
        )
        step = self._settings.images_per_request
        parts = await asyncio.gather(
            *(
                self._scores(body, on_error=on_error, first=number * step)
                for number, body in enumerate(bodies)
            )
        )
        return [score for part in parts for score in part]

    async def rank(
        self,
        *,
        prompt: str,
        images: Sequence[ImageSource],
        source_image: SourceImages | None = None,
        model: str | None = None,
    ) -> list[Ranked]:
        """Rank images for one prompt, best first; errors and arguments as in `score`."""
        return order(
            await self.score(prompt=prompt, images=images, source_image=source_image, model=model)
        )

    async def _scores(self, body: bytes, *, on_error: OnError, first: int) -> list[Score]:
        import httpx2

        for attempt in itertools.count():
            outcome: httpx2.Response | httpx2.TransportError
            try:
                async with self._slots:
                    outcome = await self._http.post(SCORE_PATH, content=body)
            except httpx2.TransportError as error:
                outcome = error
            pause_s = pause_before_retry(self._settings, attempt, outcome)
            if pause_s is None:
                break
            await asyncio.sleep(pause_s)
        assert isinstance(outcome, httpx2.Response)
        return read_scores(outcome, on_error=on_error, first=first)


def posted(
    http: httpx2.Client, path: str, body: bytes, settings: ClientSettings
) -> httpx2.Response:
    """Send a body, and again where the server asks for it, as often as the settings allow.

    Raises:
        RewardServerError: if the server does not answer.
    """
    import httpx2

    for attempt in itertools.count():
        outcome: httpx2.Response | httpx2.TransportError
        try:
            outcome = http.post(path, content=body)
        except httpx2.TransportError as error:
            outcome = error
        pause_s = pause_before_retry(settings, attempt, outcome)
        if pause_s is None:
            break
        time.sleep(pause_s)
    assert isinstance(outcome, httpx2.Response)
    return outcome


def client_settings(given: ClientSettings | str) -> ClientSettings:
    """Return settings for what a client was given.

    Raises:
        UsageError: if the URL has no scheme.
    """
    settings = ClientSettings(url=given) if isinstance(given, str) else given
    if not settings.url.startswith(("http://", "https://")):
        raise UsageError(
            f"The server's URL is {settings.url!r}. Give it as http://HOST:PORT or https://HOST."
        )
    return settings
