"""Pictures in, patches out: what goes into the vision tower.

Shape letters: M images, P patches, C/H/W image, p side of a patch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from visreward.core.errors import ImageError, UsageError
from visreward.core.resizing import resized
from visreward.models.image_tensors import resize

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

MAX_ASPECT: Final = 200
"""Longest side of a picture over its shortest, as in the Qwen-VL processors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelBudget:
    """Between how many pixels a resized picture may have."""

    min_pixels: int
    max_pixels: int

    def __post_init__(self) -> None:
        if not 0 < self.min_pixels <= self.max_pixels:
            raise UsageError(
                f"The pixel budget is {self.min_pixels} to {self.max_pixels}. Give a lowest number "
                "above 0 and a highest that is not below it."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """Patches of some images, one image after the other.

    Attributes:
        values: (P, C * 2 * p * p) float32, normalised; an image stands for two frames.
        grids: (M, 3) int64: 1, patches down, patches across.
    """

    values: Tensor
    grids: Tensor


def budget_size(size: tuple[int, int], budget: PixelBudget, *, factor: int) -> tuple[int, int]:
    """Return (width, height) that a picture is resized to: multiples of `factor` in the budget.

    Rounds each side, then shrinks by rounding down or grows by rounding up, as the Qwen-VL
    processors do.

    Raises:
        ImageError: if the picture is over 200 times as long as wide.
    """
    width, height = size
    if max(size) / min(size) > MAX_ASPECT:
        raise ImageError(
            f"The image has {width} x {height} pixels, more than {MAX_ASPECT} times as long as "
            "wide. Crop it."
        )
    down, across = (max(factor, round(side / factor) * factor) for side in (height, width))
    if down * across > budget.max_pixels:
        beta = math.sqrt(height * width / budget.max_pixels)
        down, across = (
            max(factor, math.floor(side / beta / factor) * factor) for side in (height, width)
        )
    elif down * across < budget.min_pixels:
        beta = math.sqrt(budget.min_pixels / (height * width))
        down, across = (math.ceil(side * beta / factor) * factor for side in (height, width))
    return across, down


class PatchInputs:
    """Resize each picture into the model's pixel budget, on Pillow, and cut it into patches.

    Args:
        processor: Its settings say how pictures are normalised and how large a patch is.
        budgets: Resized into the first, then, where it falls outside of that, into the next. The
            releases resize twice: into the budget that the model was trained with, and into that
            of the processor.
    """

    def __init__(
        self, processor: Qwen2VLImageProcessorPil, *, budgets: Sequence[PixelBudget]
    ) -> None:
        self.processor = processor
        self.budgets = tuple(budgets)
        self.patch_size = int(processor.patch_size)
        self.merge_size = int(processor.merge_size)
        self.num_frames = int(processor.temporal_patch_size)
        self.mean = torch.tensor(processor.image_mean).view(3, 1, 1)
        self.std = torch.tensor(processor.image_std).view(3, 1, 1)

    @property
    def resizing(self) -> str:
        """Return what the resized pixels depend on, beside the processor's settings."""
        return str(self.budgets)

    def pixels(self, images: Sequence[Image.Image]) -> list[Tensor]:
        """Return (3, H, W) uint8 of each RGB picture, resized.

        Raises:
            ImageError: if a picture is over 200 times as long as wide.
        """
        return [pixels_of(self.resized(image)) for image in images]

    @property
    def factor(self) -> int:
        """Return what both sides of a resized picture are multiples of, in pixels."""
        return self.patch_size * self.merge_size

    def resized(self, image: Image.Image) -> Image.Image:
        """Return an RGB picture in the model's pixel budget; once resized it stays as it is.

        Raises:
            ImageError: if the picture is over 200 times as long as wide.
        """
        for budget in self.budgets:
            size = budget_size(image.size, budget, factor=self.factor)
            if size != image.size:
                image = resized(image, size, self.processor.resample)
        return image

    def resized_tensor(self, images: Tensor) -> Tensor:
        """Return (M, 3, H, W) image tensors in the model's pixel budget; differentiable.

        Raises:
            ImageError: if they are over 200 times as long as wide.
        """
        for budget in self.budgets:
            height, width = images.shape[-2:]
            across, down = budget_size((width, height), budget, factor=self.factor)
            images = resize(images, height=down, width=across)
        return images

    def patches(self, pixels: Sequence[Tensor]) -> Patches:
        """Return the patches of some resized images; differentiable where they are float.

        Args:
            pixels: M images, (3, H, W) uint8, or float in [0, 1]; both sides are multiples of
                `factor`.
        """
        cut = [self._cut(each) for each in pixels]
        grids = [[1, *(side // self.patch_size for side in each.shape[1:])] for each in pixels]
        return Patches(values=torch.cat(cut), grids=torch.tensor(grids, dtype=torch.int64))

    def _cut(self, pixels: Tensor) -> Tensor:
        """Return (P, C * frames * p * p); the patches that are merged later stand together."""
        mean, std = self.mean.to(pixels.device), self.std.to(pixels.device)
        pixels = pixels if pixels.is_floating_point() else pixels.float() / 255
        channels, height, width = pixels.shape
        side, merged = self.patch_size, self.merge_size
        blocks = ((pixels - mean) / std).reshape(
            channels, height // self.factor, merged, side, width // self.factor, merged, side
        )
        ordered = blocks.permute(1, 4, 2, 5, 0, 3, 6).unsqueeze(5)
        frames = ordered.expand(*ordered.shape[:5], self.num_frames, side, side)
        return frames.reshape(-1, channels * self.num_frames * side * side)


def pixels_of(image: Image.Image) -> Tensor:
    """Return (3, H, W) uint8 pixels of an RGB picture."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def load_processor(folder: Path) -> Qwen2VLImageProcessorPil:
    """Read a folder's preprocessor_config.json; of both forms of its pixel limits."""
    return Qwen2VLImageProcessorPil.from_pretrained(folder)


def processor_budget(processor: Qwen2VLImageProcessorPil) -> PixelBudget:
    """Return the pixel limits of an image processor itself."""
    size = processor.size
    return PixelBudget(min_pixels=int(size["shortest_edge"]), max_pixels=int(size["longest_edge"]))
