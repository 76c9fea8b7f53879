"""Samples on their way into a model: pictures decoded, repeats found."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from visreward.core.errors import InputError, PromptError
from visreward.core.images import content_key, read_image

if TYPE_CHECKING:
    from PIL import Image

    from visreward.core.images import ReadingRule
    from visreward.core.types import ImageSource, Sample
    from visreward.models.facts import ModelFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSample:
    """A sample whose pictures are decoded.

    Attributes:
        image_key: Content hash; samples with one key share one encoding of the image.
        source_images: The images before the edit, in order.
        source_keys: Their content hashes.
    """

    prompt: str
    image: Image.Image
    image_key: str
    source_images: tuple[Image.Image, ...] = ()
    source_keys: tuple[str, ...] = ()


def check_given(facts: ModelFacts, prompt: str, *, has_source: bool) -> None:
    """Refuse a sample that lacks what a model needs, or has what it does not take.

    Raises:
        PromptError: if the model needs a prompt and it is blank.
        InputError: if a source image is missing or not wanted.
    """
    if facts.needs_prompt and not prompt.strip():
        raise PromptError(
            f"The prompt is empty, but '{facts.name}' scores how an image fits a prompt. "
            "Give a prompt, or use a model that scores images alone."
        )
    if facts.needs_source and not has_source:
        raise InputError(
            f"No source image, but '{facts.name}' scores edits. Give the image before the edit."
        )
    if not facts.needs_source and has_source:
        raise InputError(
            f"A source image was given, but '{facts.name}' scores single images. "
            "Leave the source image out, or use a model that scores edits."
        )


class PictureReader:
    """Read pictures for a model; the source images used last are decoded and prepared once.

    Threads may share one: whoever asks for a source that another is making waits for it.

    Args:
        rule: How files are read.
        prepare: What is done to each picture, such as resizing.
        max_kept: How many source images are remembered.
    """

    def __init__(
        self,
        rule: ReadingRule,
        prepare: Callable[[Image.Image], Image.Image],
        *,
        max_kept: int = 8,
    ) -> None:
        self._rule = rule
        self._prepare = prepare
        self._max_kept = max_kept
        self._kept: OrderedDict[str, Future[Image.Image]] = OrderedDict()
        self._lock = Lock()

    def read(self, source: ImageSource) -> Image.Image:
        """Return a picture, decoded and prepared anew.

        Raises:
            ImageError: if it cannot be read.
        """
        return self._prepare(read_image(source, rule=self._rule))

    def read_shared(self, source: ImageSource, key: str) -> Image.Image:
        """Return a source image by its content key; errors as in `read`."""
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
            else:
                made: Future[Image.Image] = Future()
                self._kept[key] = made
                if len(self._kept) > self._max_kept:
                    self._kept.popitem(last=False)
        if known is not None:
            return known.result()
        try:
            made.set_result(self.read(source))
        except Exception as error:
            # Those who wait for it get the same error; whoever asks later tries again.
            with self._lock:
                self._kept.pop(key, None)
            made.set_exception(error)
            raise
        return made.result()


def load_sample(
    sample: Sample,
    facts: ModelFacts,
    *,
    shared: LoadedSample | None = None,
    reader: PictureReader | None = None,
) -> LoadedSample:
    """Decode a sample's pictures by the model's reading rule.

    Args:
        sample: What to decode.
        facts: Of the model.
        shared: A sample with the same image, which is not read again, or None.
        reader: Reads and prepares pictures; None reads them as they are.

    Raises:
        InputError: if a picture cannot be read, the model needs a prompt and it is blank, or a
            source image is missing or not wanted.
    """
    check_given(facts, sample.prompt, has_source=bool(sample.sources))
    pictures = reader or PictureReader(facts.reading, lambda picture: picture)
    key = content_key(sample.image) if shared is None else shared.image_key
    image = pictures.read(sample.image) if shared is None else shared.image
    source_keys = tuple(map(content_key, sample.sources))
    sources = map(pictures.read_shared, sample.sources, source_keys)
    return LoadedSample(
        prompt=sample.prompt,
        image=image,
        image_key=key,
        source_images=tuple(sources),
        source_keys=source_keys,
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
