"""What is the same in every run of a judge: endpoint, key, cache and counts."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from visreward.core.errors import UsageError, missing_extra
from visreward.evaluation.judges.spending import JudgeCounts

if TYPE_CHECKING:
    from visreward.evaluation.judges.cache import AnswerCache
    from visreward.evaluation.judges.config import EndpointConfig


class Account:
    """What is the same in every run of a judge: endpoint, key, cache and counts.

    Attributes:
        endpoint: Where to ask.
        cache: Where answers are kept.
        counts: What was done so far.
    """

    def __init__(self, endpoint: EndpointConfig, cache: AnswerCache) -> None:
        """Read the key from the environment.

        Raises:
            MissingExtraError: if httpx2 is not installed.
            UsageError: if the variable is not set, or holds no key.
        """
        try:
            import httpx2  # noqa: F401
        except ImportError as error:
            raise missing_extra("httpx2", "bench") from error
        self.endpoint = endpoint
        self.cache = cache
        has_cost = endpoint.prices is not None
        self.counts = JudgeCounts(cost=0.0 if has_cost else None)
        self._key = None if endpoint.api_key_env is None else _read_key(endpoint.api_key_env)

    @property
    def headers(self) -> dict[str, str]:
        """Return what every request carries."""
        key = {} if self._key is None else {"Authorization": f"Bearer {self._key}"}
        return {"Content-Type": "application/json", **key}

    def without_key(self, text: str) -> str:
        """Return text of the endpoint with the key taken out, should it repeat it."""
        return text if self._key is None else text.replace(self._key, "[key]")

    def count(self, **added: int) -> None:
        """Add to the counts by name."""
        counts = {name: getattr(self.counts, name) + more for name, more in added.items()}
        self.counts = replace(self.counts, **counts)

    def pay(self, cost: float) -> None:
        """Add to what was spent, where there are prices."""
        if self.counts.cost is not None:
            self.counts = replace(self.counts, cost=self.counts.cost + cost)


def _read_key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(
            f"The environment variable '{variable}' holds no key. Set it to the endpoint's key, "
            "or leave out api_key_env for an endpoint that needs none."
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(
            f"The environment variable '{variable}' holds {len(key)} characters that cannot be "
            "sent as a key. Set it to the key alone."
        )
    return key
