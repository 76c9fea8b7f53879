"""What all CLIP reward models share: one batch layout, one way to encode each thing once.

Shape letters: B samples, M distinct images, T distinct prompts, L tokens, D features.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from visreward.models.base import LoadedSample, ModelFacts, RewardModel
from visreward.models.clip.backbone import CLIPBackbone
from visreward.models.clip.inputs import PixelInputs, TextInputs

if TYPE_CHECKING:
    from pathlib import Path

MAX_CACHED_PROMPTS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class CLIPBatch:
    """Distinct images and prompts, and which sample uses which.

    Attributes:
        pixels: (M, 3, H, W) uint8.
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
        self._prompt_cache: OrderedDict[str, tuple[Tensor, int]] = OrderedDict()

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

        Features of recent prompts are kept while no gradient is asked for; training forgets them.
        """
        assert self.text_inputs is not None
        if torch.is_grad_enabled():
            self._prompt_cache.clear()
            ids, counts = self.text_inputs.token_ids(prompts)
            return self.backbone.text_features(ids.to(self.device)).float(), counts
        missing = [prompt for prompt in prompts if prompt not in self._prompt_cache]
        step = 1 if self.batch_invariant else max(len(missing), 1)
        for start in range(0, len(missing), step):
            self._remember(missing[start : start + step])
        known = [self._prompt_cache[prompt] for prompt in prompts]
        while len(self._prompt_cache) > MAX_CACHED_PROMPTS:
            self._prompt_cache.popitem(last=False)
        return torch.stack([feature for feature, _ in known]), [count for _, count in known]

    def _remember(self, prompts: Sequence[str]) -> None:
        assert self.text_inputs is not None
        ids, counts = self.text_inputs.token_ids(prompts)
        features = self.backbone.text_features(ids.to(self.device)).float()
        self._prompt_cache.update(
            zip(prompts, zip(features.unbind(), counts, strict=True), strict=True)
        )

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
