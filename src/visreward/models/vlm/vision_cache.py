"""What the vision tower made of recent images, by content, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from threading import Lock

from torch import Tensor

from visreward.models.vlm.backbone import ImageFeatures
from visreward.models.weight_marks import weight_marks


class VisionCache:
    """Features of the images used last; copies and pickles of a cache are empty.

    Threads may share one.

    Attributes:
        max_bytes: How much memory the features may take; 0 keeps none.
        num_hits: How many look-ups found something.
        num_misses: How many did not.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_hits = 0
        self.num_misses = 0
        self.num_bytes = 0
        self._features: OrderedDict[Hashable, ImageFeatures] = OrderedDict()
        self._made_by: list[object] | None = None
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[VisionCache], tuple[int]]:
        return VisionCache, (self.max_bytes,)

    def __len__(self) -> int:
        return len(self._features)

    def check(self, weights: Sequence[Tensor]) -> None:
        """Forget everything if the weights that the features come from have changed."""
        marks = weight_marks(weights)
        with self._lock:
            if marks is None or marks != self._made_by:
                self._forget()
            self._made_by = marks

    def find(self, key: Hashable) -> ImageFeatures | None:
        """Return an image's features, or None; what is found counts as used."""
        with self._lock:
            found = self._features.get(key)
            if found is None:
                self.num_misses += 1
                return None
            self.num_hits += 1
            self._features.move_to_end(key)
            return found

    def keep(self, key: Hashable, features: ImageFeatures) -> None:
        """Remember an image's features; those used longest ago make room."""
        with self._lock:
            if key in self._features:
                self.num_bytes -= self._features.pop(key).num_bytes
            if features.num_bytes > self.max_bytes:
                return
            self._features[key] = features
            self.num_bytes += features.num_bytes
            while self.num_bytes > self.max_bytes:
                _, oldest = self._features.popitem(last=False)
                self.num_bytes -= oldest.num_bytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._features.clear()
        self.num_bytes = 0
