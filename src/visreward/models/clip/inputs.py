"""Pictures and prompts in, tensors out: what goes into a CLIP backbone.

The pixels travel as uint8 and are normalised on the model's device.

Shape letters: M images, T prompts, L tokens, C/H/W image.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import ftfy
import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor
from transformers import CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from visreward.core.errors import ShapeError

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

TextCleaning = Literal["open_clip", "none"]
ImageFit = Literal["crop", "pad"]


class PixelInputs:
    """Make each picture the square that the model sees, on Pillow.

    `crop` resizes the shortest side and crops the centre, exactly as transformers' CLIP image
    processor does; `pad` resizes the longest side and fills the rest with black, as HPSv2 does.
    """

    def __init__(self, processor: CLIPImageProcessorPil, *, fit: ImageFit = "crop") -> None:
        self.processor = processor
        self.fit = fit
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
        """Return (M, 3, H, W) uint8 pixels, resized and cropped or padded, not normalised."""
        squares = images if self.fit == "crop" else [self._padded(image) for image in images]
        arrays = [
            self.processor(
                image, do_rescale=False, do_normalize=False, input_data_format="channels_last"
            )["pixel_values"][0]
            for image in squares
        ]
        return torch.from_numpy(np.stack(arrays)).to(torch.uint8)

    def _padded(self, image: Image.Image) -> Image.Image:
        """Return a black square with the picture, longest side resized, in its centre."""
        scale = self.size / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        square = PillowImage.new("RGB", (self.size, self.size))
        small = image.resize((width, height), PillowImage.Resampling.BICUBIC)
        square.paste(small, ((self.size - width) // 2, (self.size - height) // 2))
        return square

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
