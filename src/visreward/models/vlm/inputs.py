"""Samples in, sequences of tokens and pictures out: what goes into a vision-language model.

Shape letters: B samples, K dimensions, S = B * K sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from visreward.core.errors import PromptError, UsageError
from visreward.models.vlm.pixels import PatchInputs, pixels_of
from visreward.models.vlm.rating_prompts import ChatInputs
from visreward.models.vlm.sequences import PlacedImage, TokenSequence, line_up

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from visreward.models.loaded import LoadedSample
    from visreward.models.vlm.backbone import ImageFeatures
    from visreward.models.vlm.settings import VLMSettings

MAX_PROMPT_TOKENS: Final = 4096
"""Longest prompt; a longer one is refused rather than cut, as the rating prompt ends behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VLMBatch:
    """Samples as sequences.

    Attributes:
        sequences: S sequences: all dimensions of the first sample, then of the next.
        images: The distinct resized pictures that they show, (3, H, W) uint8, or float in [0, 1]
            where a gradient is asked for.
        keys: Content of each picture; empty where it is not known.
        features: By number of a picture, what the vision tower makes of it, where that is known.
    """

    sequences: tuple[TokenSequence, ...]
    images: tuple[Tensor, ...]
    keys: tuple[str, ...]
    features: Mapping[int, ImageFeatures] = field(default_factory=dict)


class VLMInputs:
    """Make each sample one sequence for each dimension, up to the last token that a head reads.

    Args:
        patches: Resizes pictures and cuts them.
        chat: Asks about them.
        settings: Those of the model.

    Raises:
        UsageError: if the heads or the pooling do not go with the rating prompts.
    """

    def __init__(self, *, patches: PatchInputs, chat: ChatInputs, settings: VLMSettings) -> None:
        num_dimensions = len(chat.prompts.templates)
        if settings.head.num_heads not in (1, num_dimensions):
            raise UsageError(
                f"The model has {settings.head.num_heads} heads and {num_dimensions} rating "
                "prompts. Give one head, or one for each rating prompt."
            )
        if settings.pooling == "special" and chat.reward_id is None:
            raise UsageError(
                "pooling is 'special', but the rating prompts have no reward token. Add it to "
                "their suffix, or take pooling 'last'."
            )
        self.patches = patches
        self.chat = chat
        self.settings = settings

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Return the K dimensions."""
        return tuple(self.chat.prompts.templates)

    def collect(self, samples: Sequence[LoadedSample]) -> VLMBatch:
        """Collect the distinct images of some samples and line up their tokens.

        Raises:
            PromptError: if a prompt is too long.
        """
        numbers: dict[str, int] = {}
        images: list[Image.Image] = []
        sequences: list[TokenSequence] = []
        for sample in samples:
            keys = (*sample.source_keys, sample.image_key)
            shown = zip(keys, (*sample.source_images, sample.image), strict=True)
            placed = []
            for key, image in shown:
                if key not in numbers:
                    numbers[key] = len(images)
                    images.append(self.patches.resized(image))
                resized = images[numbers[key]]
                placed.append(self.placed(numbers[key], (resized.height, resized.width)))
            sequences += self.sequences(sample.prompt, placed)
        return VLMBatch(
            sequences=tuple(sequences),
            images=tuple(map(pixels_of, images)),
            keys=tuple(numbers),
        )

    def collect_tensors(
        self, images: Tensor, prompts: Sequence[str], source_images: Tensor | None
    ) -> VLMBatch:
        """Line up the tokens of image tensors, with gradients to the pixels.

        Args:
            images: (B, 3, H, W) float in [0, 1].
            prompts: B texts.
            source_images: (B or 1, 3, H, W) likewise, or None.

        Raises:
            PromptError: if a prompt is too long.
        """
        sources = [] if source_images is None else list(self.patches.resized_tensor(source_images))
        edited = list(self.patches.resized_tensor(images))
        sequences: list[TokenSequence] = []
        for number, (image, prompt) in enumerate(zip(edited, prompts, strict=True)):
            placed = [self.placed(len(sources) + number, image.shape[1:])]
            if sources:
                source = number if len(sources) > 1 else 0
                placed.insert(0, self.placed(source, sources[source].shape[1:]))
            sequences += self.sequences(prompt, placed)
        shown = (*sources, *edited)
        return VLMBatch(
            sequences=tuple(sequences),
            images=shown,
            keys=("",) * len(shown),
        )

    def placed(self, number: int, size: Sequence[int]) -> PlacedImage:
        """Return how many tokens a resized picture of (height, width) takes."""
        down, across = (side // self.patches.factor for side in size)
        return PlacedImage(number=number, grid=(down, across))

    def sequences(self, prompt: str, images: Sequence[PlacedImage]) -> list[TokenSequence]:
        """Return the K sequences of one sample.

        Raises:
            PromptError: if the prompt is too long.
        """
        found = []
        for dimension in self.dimensions:
            pieces = self.chat.tokens(dimension, prompt, num_images=len(images))
            if len(pieces.pieces[-1]) > MAX_PROMPT_TOKENS:
                raise PromptError(
                    f"The prompt makes {len(pieces.pieces[-1])} tokens with the rating prompt, "
                    f"but {MAX_PROMPT_TOKENS} are the limit. Shorten it."
                )
            sequence = line_up(
                pieces,
                images,
                image_id=self.chat.image_id,
                positions=self.settings.positions,
            )
            if self.settings.pooling == "special":
                assert sequence.reward_at is not None
                sequence = sequence.up_to(sequence.reward_at + 1)
            found.append(sequence)
        return found
