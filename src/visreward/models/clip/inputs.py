"""Pictures and prompts in, tensors out: what goes into a CLIP backbone.

The pixels travel as uint8 and are normalised on the model's device.

Shape letters: M images, T prompts, L tokens, C/H/W image.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

import ftfy
import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from visreward.core.errors import ShapeError, UsageError
from visreward.core.resizing import are_rows_first, resized
from visreward.models.image_tensors import resize

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

TextCleaning = Literal["open_clip", "none"]
ImageFit = Literal["crop", "pad"]

MAX_LENGTH: Final = 32
"""Longest side of a resized picture over its shortest; beyond it only the middle is made."""


class PixelInputs:
    """Make each picture the square that the model sees, on Pillow.

    `crop` resizes the shortest side and crops the centre, as transformers' CLIP image processor
    does, to the bit; `pad` resizes the longest side and fills the rest with black, as HPSv2 does.
    The processor itself is asked for its settings only: its own way over arrays takes 1.5 times
    as long, and gigabytes for a strip one pixel wide.

    Raises:
        UsageError: if the processor's settings leave out a step, or distort the picture.
    """

    def __init__(self, processor: CLIPImageProcessorPil, *, fit: ImageFit = "crop") -> None:
        for step in ("do_resize", "do_center_crop", "do_rescale", "do_normalize"):
            if not getattr(processor, step):
                raise UsageError(
                    f"The image processor has {step} = {getattr(processor, step)}. CLIP models "
                    f"need all steps: set {step} to true in preprocessor_config.json."
                )
        if processor.size["shortest_edge"] is None:
            raise UsageError(
                f"The image processor has size = {dict(processor.size)}. CLIP models resize the "
                'shortest side: write "size": {"shortest_edge": 224} in preprocessor_config.json.'
            )
        self.processor = processor
        self.fit = fit
        self.resizing: str = fit
        self.mean = torch.tensor(processor.image_mean).view(3, 1, 1)
        self.std = torch.tensor(processor.image_std).view(3, 1, 1)

    @property
    def size(self) -> int:
        """Return the side of the square that the model sees, in pixels."""
        return int(self.processor.crop_size["height"])

    def same_as(self, other: PixelInputs) -> bool:
        """Return whether both make the same pixels of one image."""
        return self.fit == other.fit and bool(self.processor.to_dict() == other.processor.to_dict())

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """Return (M, 3, H, W) uint8 pixels of RGB pictures, not normalised.

        Of pictures more than 32 times as long as wide, a few pixels can differ by one level from
        what the processor would make of them.
        """
        arrays = np.stack([np.asarray(self.square(image)) for image in images])
        return torch.from_numpy(arrays).permute(0, 3, 1, 2).contiguous()

    def square(self, image: Image.Image) -> Image.Image:
        """Return the square of an RGB picture that the model sees."""
        return self._cropped(image) if self.fit == "crop" else self._padded(image)

    @property
    def keeps_squares(self) -> bool:
        """Return whether the square of a square is itself, so that it may be made early."""
        return self.fit == "pad" or self.processor.size["shortest_edge"] == self.size

    def _cropped(self, image: Image.Image) -> Image.Image:
        """Return the centre of the picture, shortest side resized."""
        resized = self._resized(image)
        left, top = ((side - self.size) // 2 for side in resized.size)
        return resized.crop((left, top, left + self.size, top + self.size))

    def _resized(self, image: Image.Image) -> Image.Image:
        """Return the resized picture; of a very long one the middle, where the crop lies."""
        shortest, resample = self.processor.size["shortest_edge"], self.processor.resample
        short, long = min(image.size), max(image.size)
        axis = image.size.index(long)
        target = [shortest, shortest]
        target[axis] = int(shortest * long / short)
        # How many resized pixels to leave out at each end.
        spare = (target[axis] - MAX_LENGTH * shortest) // 2
        if spare <= 0:
            return resized(image, (target[0], target[1]), resample)
        scale = long / target[axis]
        start, stop = spare * scale, (target[axis] - spare) * scale
        # Pillow's filters reach up to three pixels, source or resized, beyond the edge.
        margin = 3 * math.ceil(max(scale, 1)) + 1
        first, last = max(0, math.floor(start) - margin), min(long, math.ceil(stop) + margin)
        rows_first = are_rows_first(image.size, (target[0], target[1]))
        target[axis] -= 2 * spare
        window = (first, 0, last, short) if axis == 0 else (0, first, short, last)
        start, stop = start - first, stop - first
        box = (start, 0.0, stop, short) if axis == 0 else (0.0, start, short, stop)
        size = (target[0], target[1])
        return resized(image.crop(window), size, resample, box=box, rows_first=rows_first)

    def _padded(self, image: Image.Image) -> Image.Image:
        """Return a black square with the picture, longest side resized, in its centre."""
        scale = self.size / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        square = PillowImage.new("RGB", (self.size, self.size))
        small = resized(image, (width, height), PillowImage.Resampling.BICUBIC)
        square.paste(small, ((self.size - width) // 2, (self.size - height) // 2))
        return square

    def square_tensor(self, images: Tensor) -> Tensor:
        """Return the squares of image tensors; differentiable.

        Args:
            images: (M, 3, H, W) float in [0, 1].

        Returns:
            (M, 3, size, size) float in [0, 255], as `normalise` takes it.
        """
        height, width = images.shape[-2:]
        if self.fit == "pad":
            scale = self.size / max(height, width)
            height, width = (max(1, round(side * scale)) for side in (height, width))
            top, left = (self.size - height) // 2, (self.size - width) // 2
            small = resize(images, height=height, width=width)
            edges = (left, self.size - width - left, top, self.size - height - top)
            return functional.pad(small, edges) * 255
        shortest, short = self.processor.size["shortest_edge"], min(height, width)
        height, width = (
            shortest if side == short else int(shortest * side / short) for side in (height, width)
        )
        top, left = (height - self.size) // 2, (width - self.size) // 2
        large = resize(images, height=height, width=width)
        return large[..., top : top + self.size, left : left + self.size] * 255

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return (M, 3, H, W) float32 with the CLIP mean and standard deviation taken out.

        Args:
            pixels: (M, 3, H, W) uint8, or float in [0, 255]; differentiable where it is float.
        """
        mean, std = self.mean.to(pixels.device), self.std.to(pixels.device)
        return (pixels.float() / 255 - mean) / std


class TextInputs:
    """Tokenise prompts to at most the context length; say which ones were cut.

    `open_clip` cleaning repairs broken unicode, unescapes HTML twice, folds white space and
    lowers the case, as the release's evaluation does; `none` leaves that to the tokenizer.
    """

    def __init__(self, tokenizer: CLIPTokenizer, *, context: int, cleaning: TextCleaning) -> None:
        self.tokenizer = tokenizer
        self.context = context
        self.cleaning = cleaning

    def clean(self, prompt: str) -> str:
        """Return the prompt as the tokenizer gets it."""
        if self.cleaning == "none":
            return prompt
        text = html.unescape(html.unescape(ftfy.fix_text(prompt))).strip()
        return re.sub(r"\s+", " ", text).strip().lower()

    def token_ids(self, prompts: Sequence[str]) -> tuple[Tensor, list[int]]:
        """Return token ids padded to the longest prompt, and each prompt's uncut token count.

        Special tokens written inside a prompt are read as plain text.

        Returns:
            (T, L) int64 and T counts, end and start tokens included; a count above the context
            length means that the prompt was cut, keeping the end-of-text token last.

        Raises:
            ShapeError: if there is no prompt.
        """
        if not prompts:
            raise ShapeError("token_ids got 0 prompts. Give at least one.")
        encoded = self.tokenizer(
            [self.clean(prompt) for prompt in prompts], split_special_tokens=True, verbose=False
        )["input_ids"]
        end = self.tokenizer.eos_token_id
        cut = [
            ids if len(ids) <= self.context else [*ids[: self.context - 1], end] for ids in encoded
        ]
        length = max(len(ids) for ids in cut)
        padded = [ids + [end] * (length - len(ids)) for ids in cut]
        return torch.tensor(padded, dtype=torch.int64), [len(ids) for ids in encoded]


def load_pixel_inputs(folder: Path, *, fit: ImageFit = "crop") -> PixelInputs:
    """Read a folder's preprocessor_config.json."""
    return PixelInputs(CLIPImageProcessorPil.from_pretrained(folder), fit=fit)


def load_text_inputs(folder: Path, *, context: int, cleaning: TextCleaning) -> TextInputs:
    """Read a folder's tokenizer files."""
    return TextInputs(CLIPTokenizer.from_pretrained(folder), context=context, cleaning=cleaning)
