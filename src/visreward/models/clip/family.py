"""What all CLIP reward models share: one batch layout, one way to encode each thing once.

Shape letters: B samples, M distinct images, T distinct prompts, L tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional

from visreward.models.base import RewardModel
from visreward.models.clip.backbone import CLIPBackbone
from visreward.models.clip.inputs import PixelInputs, TextInputs
from visreward.models.clip.prompt_cache import PromptCache, TextFeature
from visreward.models.facts import ModelFacts
from visreward.models.loaded import LoadedSample

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

MAX_CACHED_PROMPTS: Final = 4096
"""16 MB of features of 1024 numbers."""

PROMPTS_PER_PASS: Final = 64
"""Prompts that go through a tower at once, so that memory does not grow with their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CLIPBatch:
    """Distinct images and prompts, and which sample uses which.

    Attributes:
        pixels: (M, 3, H, W) uint8, or float in [0, 255] where a gradient is asked for.
        prompts: T distinct prompts; empty for image-only models.
        image_index: (B,) int64 into the images.
        prompt_index: (B,) int64 into the prompts.
    """

    pixels: Tensor
    prompts: tuple[str, ...]
    image_index: Tensor
    prompt_index: Tensor


def places(keys: Sequence[str]) -> tuple[list[int], Tensor]:
    """Return where each distinct key first stands, and (B,) int64 from items to distinct keys."""
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    first = [keys.index(key) for key in numbers]
    return first, torch.tensor([numbers[key] for key in keys], dtype=torch.int64)


class CLIPRewardModel(RewardModel):
    """A reward model on one CLIP backbone."""

    def __init__(
        self,
        facts: ModelFacts,
        backbone: CLIPBackbone,
        *,
        pixel_inputs: PixelInputs,
        text_inputs: TextInputs | None = None,
    ) -> None:
        super().__init__(facts)
        self.backbone = backbone
        self.pixel_inputs = pixel_inputs
        self.text_inputs = text_inputs
        self._prompt_cache = PromptCache(MAX_CACHED_PROMPTS)

    def prepare(self, image: Image.Image) -> Image.Image:
        """Resize the picture to the square that the model sees."""
        return self.pixel_inputs.square(image) if self.pixel_inputs.keeps_squares else image

    def preprocess(self, samples: Sequence[LoadedSample]) -> CLIPBatch:
        """Collect the distinct images and prompts of some samples."""
        first, image_index = places([sample.image_key for sample in samples])
        prompts = [sample.prompt for sample in samples]
        _, prompt_index = places(prompts)
        return CLIPBatch(
            pixels=self.pixel_inputs.pixels([samples[place].image for place in first]),
            prompts=tuple(dict.fromkeys(prompts)) if self.facts.needs_prompt else (),
            image_index=image_index,
            prompt_index=prompt_index,
        )

    def tensor_batch(
        self,
        images: Tensor,
        prompts: Sequence[str],
        source_images: Tensor | None,  # noqa: ARG002  the interface; refused before
    ) -> CLIPBatch:
        """Turn checked image tensors into a batch, with gradients to the pixels."""
        _, prompt_index = places(prompts)
        return CLIPBatch(
            pixels=self.pixel_inputs.square_tensor(images.to(self.device)),
            prompts=tuple(dict.fromkeys(prompts)) if self.facts.needs_prompt else (),
            image_index=torch.arange(len(images)),
            prompt_index=prompt_index,
        )

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Return (M, D) float32 un-normalised image features of (M, 3, H, W) uint8 pixels.

        With `batch_invariant` each image goes through the tower alone, so that its feature has
        the same bits in every company, in any dtype.
        """
        inputs = self.pixel_inputs.normalise(pixels.to(self.device))
        if self.batch_invariant:
            parts = [self.backbone.image_features(image) for image in inputs.split(1)]
            return torch.cat(parts).float()
        return self.backbone.image_features(inputs).float()

    def encode_prompts(self, prompts: Sequence[str]) -> tuple[Tensor, list[int]]:
        """Return (T, D) float32 un-normalised text features, and each prompt's token count.

        While no gradient is asked for, each distinct prompt is encoded once, and features of
        recent prompts are kept until the weights change.
        """
        if torch.is_grad_enabled():
            self._prompt_cache.clear()
            return self._encode_together(prompts)
        features = self._prompt_cache.known(
            prompts, weights=self.backbone.text_weights(), settings=self._text_settings()
        )
        missing = sorted({*prompts} - {*features}, key=lambda prompt: (len(prompt), prompt))
        step = 1 if self.batch_invariant else PROMPTS_PER_PASS
        for start in range(0, len(missing), step):
            part = missing[start : start + step]
            rows, counts = self._encode_together(part)
            fresh = {
                prompt: TextFeature(feature=row, num_tokens=count)
                for prompt, row, count in zip(part, rows, counts, strict=True)
            }
            self._prompt_cache.keep(fresh)
            features |= fresh
        found = [features[prompt] for prompt in prompts]
        return torch.stack([text.feature for text in found]), [text.num_tokens for text in found]

    def _text_settings(self) -> tuple[object, ...]:
        """Return what a text feature depends on, beside the prompt and the weights."""
        assert self.text_inputs is not None
        device_type = self.device.type
        autocast = torch.is_autocast_enabled(device_type)
        return (
            self.batch_invariant,
            self.training,
            torch.get_autocast_dtype(device_type) if autocast else None,
            self.text_inputs,
            self.text_inputs.cleaning,
            self.text_inputs.context,
        )

    def _encode_together(self, prompts: Sequence[str]) -> tuple[Tensor, list[int]]:
        assert self.text_inputs is not None
        ids, counts = self.text_inputs.token_ids(prompts)
        return self.backbone.text_features(ids.to(self.device)).float(), counts

    def cosines(self, batch: CLIPBatch) -> tuple[Tensor, tuple[tuple[str, ...], ...]]:
        """Return (B,) cosines between each sample's image and prompt, and B tuples of notes."""
        images = functional.normalize(self.encode_images(batch.pixels), dim=-1)
        features, counts = self.encode_prompts(batch.prompts)
        texts = functional.normalize(features, dim=-1)
        rows = images[batch.image_index.to(images.device)]
        cosines = (rows * texts[batch.prompt_index.to(images.device)]).sum(dim=-1)
        notes = [self._cut_note(count) for count in counts]
        return cosines, tuple(notes[index] for index in batch.prompt_index.tolist())

    def _cut_note(self, num_tokens: int) -> tuple[str, ...]:
        assert self.text_inputs is not None
        context = self.text_inputs.context
        if num_tokens <= context:
            return ()
        return (f"prompt has {num_tokens} tokens, cut to {context}",)

    def save_processors(self, folder: Path) -> None:
        """Write tokenizer and image processor files into a native folder."""
        self.pixel_inputs.processor.save_pretrained(folder)
        if self.text_inputs is not None:
            self.text_inputs.tokenizer.save_pretrained(folder)
