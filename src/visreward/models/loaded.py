"""Samples on their way into a model: pictures decoded, repeats found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visreward.core.errors import InputError, PromptError
from visreward.core.images import content_key, read_image

if TYPE_CHECKING:
    from PIL import Image

    from visreward.core.types import Sample
    from visreward.models.base import ModelFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSample:
    """A sample whose pictures are decoded.

    Attributes:
        image_key: Content hash; samples with one key share one encoding of the image.
    """

    prompt: str
    image: Image.Image
    image_key: str
    source_image: Image.Image | None = None
    source_key: str | None = None


def load_sample(
    sample: Sample, facts: ModelFacts, *, shared: LoadedSample | None = None
) -> LoadedSample:
    """Decode a sample's pictures by the model's reading rule; `shared` has the same image, or None.

    Raises:
        InputError: if a picture cannot be read, the model needs a prompt and it is blank, or a
            source image is missing or not wanted.
    """
    if facts.needs_prompt and not sample.prompt.strip():
        raise PromptError(
            f"The prompt is empty, but '{facts.name}' scores how an image fits a prompt. "
            "Give a prompt, or use a model that scores images alone."
        )
    if facts.needs_source and sample.source_image is None:
        raise InputError(
            f"No source image, but '{facts.name}' scores edits. Give the image before the edit."
        )
    if not facts.needs_source and sample.source_image is not None:
        raise InputError(
            f"A source image was given, but '{facts.name}' scores single images. "
            "Leave the source image out, or use a model that scores edits."
        )
    image = read_image(sample.image, rule=facts.reading) if shared is None else shared.image
    given = sample.source_image
    source = None if given is None else read_image(given, rule=facts.reading)
    source_key = None if given is None else content_key(given)
    return LoadedSample(
        prompt=sample.prompt,
        image=image,
        image_key=content_key(sample.image) if shared is None else shared.image_key,
        source_image=source,
        source_key=source_key,
    )


def group_by_image(keys: Sequence[str], max_images: int) -> list[list[int]]:
    """Split item indices into batches of at most `max_images` distinct keys.

    Items that share a key stay together, so that each image is encoded once.
    """
    places: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        places.setdefault(key, []).append(index)
    groups = list(places.values())
    return [
        [index for group in groups[start : start + max_images] for index in group]
        for start in range(0, len(groups), max_images)
    ]
