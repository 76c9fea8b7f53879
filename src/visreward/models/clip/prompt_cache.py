"""Text features of recent prompts, kept for as long as the weights and settings stay the same.

Shape letters: D features.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from torch import Tensor

from visreward.models.weight_marks import weight_marks


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFeature:
    """What the text tower makes of one prompt.

    Attributes:
        feature: (D,) float32, un-normalised, without gradient.
        num_tokens: Token count before cutting, end and start tokens included.
    """

    feature: Tensor
    num_tokens: int


class PromptCache:
    """The text features of the prompts used last.

    Copies and pickles of a cache are empty. Threads may share one.
    """

    def __init__(self, max_prompts: int) -> None:
        self.max_prompts = max_prompts
        self._kept: OrderedDict[str, TextFeature] = OrderedDict()
        self._made_by: tuple[object, ...] | None = None
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[PromptCache], tuple[int]]:
        return PromptCache, (self.max_prompts,)

    def known(
        self, prompts: Sequence[str], *, weights: Sequence[Tensor], settings: tuple[object, ...]
    ) -> dict[str, TextFeature]:
        """Return what is kept of some prompts; all is forgotten first if anything else changed.

        Args:
            prompts: The prompts looked for.
            weights: Everything that a text feature is computed from.
            settings: What else a feature depends on.
        """
        marks = weight_marks(weights)
        made_by = None if marks is None else (*settings, *marks)
        found: dict[str, TextFeature] = {}
        with self._lock:
            if made_by is None or made_by != self._made_by:
                self._kept.clear()
            self._made_by = made_by
            for prompt in prompts:
                feature = self._kept.get(prompt)
                if feature is not None:
                    self._kept.move_to_end(prompt)
                    found[prompt] = feature
        return found

    def keep(self, features: Mapping[str, TextFeature]) -> None:
        """Keep features made by the weights that `known` saw last, at the cost of the oldest."""
        with self._lock:
            self._kept.update(features)
            while len(self._kept) > self.max_prompts:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
