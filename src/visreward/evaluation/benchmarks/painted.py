"""Groups whose pictures are painted when they are asked for, from the synthetic world."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visreward.data.preferences import ImageBytes
from visreward.evaluation.benchmarks.lazy_groups import LazyGroups
from visreward.evaluation.benchmarks.records import BenchGroup

SEED: Final = 2024
"""Of the world; no shipped model was trained on it."""

SPLIT: Final = "test"
"""Combinations of attributes that were never trained on."""

SIZE: Final = 128
"""Side of a picture in pixels."""


def encoded(picture: NDArray[np.uint8], name: str) -> ImageBytes:
    """Return a picture as the bytes of a BMP file, which takes a hundredth of a PNG's time.

    Args:
        picture: (H, W, 3).
        name: What results call it.
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="BMP")
    return ImageBytes(name=name, data=buffer.getvalue())


class PaintedGroups(LazyGroups):
    """Groups that are painted when they are asked for."""

    def __init__(self, makers: Sequence[tuple[int, Callable[[int], BenchGroup]]]) -> None:
        """Take how many groups of each kind there are, and what makes one by its number."""
        self._makers = [(make, number) for num, make in makers for number in range(num)]

    def __len__(self) -> int:
        return len(self._makers)

    def group(self, number: int) -> BenchGroup:
        """Paint a group."""
        make, own_number = self._makers[number]
        return make(own_number)
