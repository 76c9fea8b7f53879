"""Batches computed side by side on a CPU, each with its share of the cores.

Most operations of a small model are too short to be divided among cores: after each, threads wait
for each other. Batches that run side by side, in one thread each, leave no core waiting, and what
stops one thread does not stop the others. OpenVINO calls them streams.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

import torch

from visreward.models.base import RewardModel

MAX_STREAMS: Final = 4
"""More need more memory, and batches that are rarely there at once."""


class Streams:
    """How many batches of a model should be computed at once, and the cores of each.

    A GPU takes one at a time, and so does a model with `batch_invariant`: how many threads divide
    an operation may change the last bit of its result.

    Attributes:
        num: How many; the first of them alone has all cores that torch may use.
    """

    def __init__(self, model: RewardModel) -> None:
        self._num_cores = torch.get_num_threads()
        is_divided = model.device.type == "cpu" and not model.batch_invariant
        self.num = min(MAX_STREAMS, self._num_cores) if is_divided else 1
        self._lock = Lock()
        self._num_busy = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Give the calling thread its share of the cores for a batch."""
        with self._lock:
            self._num_busy += 1
            share = max(1, self._num_cores // self._num_busy)
        torch.set_num_threads(share)
        try:
            yield
        finally:
            # New threads begin with what any thread has set last.
            torch.set_num_threads(self._num_cores)
            with self._lock:
                self._num_busy -= 1
