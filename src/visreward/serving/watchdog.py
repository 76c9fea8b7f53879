"""When a model's process counts as hung: how long a batch may take, and who counts the time.

Plain values, without a clock and without a loop.
"""

from __future__ import annotations

from collections import deque
from typing import Final

TICK_S: Final = 0.5
"""How often the waiting is counted."""

_TIMES_EXPECTED: Final = 10.0
_TIMES_AT_FIRST: Final = 10.0
_REMEMBERED: Final = 16


class Watchdog:
    """Count how long the first batch in flight has taken, and say when that is too long.

    A batch may take `hang_s`, or ten times what its tokens took in the slowest of the last
    batches, whichever is more; until there is such a batch, ten times `hang_s`. It counts ticks,
    at most two at once, and not hours: a server that was itself stopped for a while, or a machine
    that slept, blames no model.

    Args:
        hang_s: Shortest time in seconds after which a process counts as hung.
    """

    def __init__(self, hang_s: float) -> None:
        self._hang_s = hang_s
        self._rates: deque[float] = deque(maxlen=_REMEMBERED)
        self._batch: int | None = None
        self._waited_s = 0.0

    def limit_s(self, tokens: int) -> float:
        """Return how many seconds a batch of so many tokens may take."""
        if not self._rates:
            return _TIMES_AT_FIRST * self._hang_s
        return max(self._hang_s, _TIMES_EXPECTED * tokens / min(self._rates))

    def answered(self, tokens: int, seconds: float) -> None:
        """Learn from a batch that took so many seconds in the model's process."""
        if seconds > 0:
            self._rates.append(tokens / seconds)

    def is_hung(self, batch: int | None, *, tokens: int, elapsed_s: float) -> bool:
        """Count one tick; return whether the process counts as hung.

        Args:
            batch: Number of the first batch in flight, or None.
            tokens: Of that batch.
            elapsed_s: Seconds since the last tick.
        """
        if batch is None or batch != self._batch:
            self._batch, self._waited_s = batch, 0.0
            return False
        self._waited_s += min(elapsed_s, 2 * TICK_S)
        return self._waited_s > self.limit_s(tokens)
