"""Rows of preference data as they are on disk: a prompt, and images that people compared."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from visreward.core.errors import DataError
from visreward.core.types import ImageSource, PreferenceGroup, PreferencePair, SourceImages


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBytes:
    """An encoded image that a table holds itself.

    Attributes:
        name: What the table calls it.
        data: The encoded image.
    """

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedImage:
    """An image and what people say of it, next to the other images of its row.

    Attributes:
        image: The file, or the image itself.
        rank: 1 = best, equal for a tie; None where nobody said.
        votes: How many annotators chose it, or None if unknown.
        dimensions: Score on each dimension of the data set, None where there is none; empty
            where the data set has no dimensions. Higher is better.
        overall: Score as a whole, higher is better, or None.
        generator: What made the image, or None if unknown.
        ratings: Score as a whole by each rater, whose mean `overall` then is; empty where raters
            are not told apart.
    """

    image: Path | ImageBytes
    rank: int | None
    votes: int | None = None
    dimensions: tuple[float | None, ...] = ()
    overall: float | None = None
    generator: str | None = None
    ratings: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def source(self) -> ImageSource:
        """Return the image as models take it: a path or bytes."""
        return readable(self.image)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceRow:
    """One row of a data set of preferences.

    Attributes:
        id: File and row, such as `train.json:17`.
        prompt: The text asked for; for editing, the edit instruction.
        images: Two images or more, in the order of the file; one where people scored each alone.
        sources: The images before an edit; empty for generated images.
        confidence: Probability in [0, 1] that the preference is right, or None if unknown.
        category: What kind of question it is, where the data set says so, or "".
    """

    id: str
    prompt: str
    images: tuple[JudgedImage, ...]
    sources: tuple[Path | ImageBytes, ...] = ()
    confidence: float | None = None
    category: str = ""

    @property
    def has_ranks(self) -> bool:
        """Whether people said which image is better, or that none is."""
        return all(image.rank is not None for image in self.images)

    @property
    def is_tie(self) -> bool:
        """Whether people said that all images are equally good."""
        return self.has_ranks and len({image.rank for image in self.images}) == 1

    def pairs(self) -> Iterator[PreferencePair]:
        """Yield a preference pair for every two images of different ranks, in the file's order.

        Ties make none, nor does a row without ranks. A row of more than two images has a pair's
        places added to its id, such as `test.json:3/0-2`.
        """
        for (place, one), (other_place, other) in itertools.combinations(enumerate(self.images), 2):
            if one.rank is None or other.rank is None or one.rank == other.rank:
                continue
            chosen, rejected = (one, other) if one.rank < other.rank else (other, one)
            is_voted = chosen.votes is not None and rejected.votes is not None
            yield PreferencePair(
                prompt=self.prompt,
                chosen=chosen.source,
                rejected=rejected.source,
                source_image=self.source_image,
                votes=(chosen.votes or 0, rejected.votes or 0) if is_voted else None,
                confidence=self.confidence,
                id=self.id if len(self.images) == 2 else f"{self.id}/{place}-{other_place}",
            )

    def group(self) -> PreferenceGroup:
        """Return all images with their ranks.

        Raises:
            DataError: if nobody said which image is better.
        """
        ranks = tuple(image.rank for image in self.images if image.rank is not None)
        if len(ranks) < len(self.images):
            raise DataError(f"Row {self.id} has no label. Leave out rows where has_ranks is false.")
        return PreferenceGroup(
            prompt=self.prompt,
            images=tuple(image.source for image in self.images),
            ranks=ranks,
            source_image=self.source_image,
            id=self.id,
        )

    @property
    def source_image(self) -> SourceImages | None:
        """Return the images before an edit as models take them: one, several, or None."""
        sources = tuple(readable(source) for source in self.sources)
        return sources[0] if len(sources) == 1 else sources or None


def soft_label(pair: PreferencePair) -> float | None:
    """Return the share of the votes that the chosen image has, or None where nobody voted.

    In [0, 1]; below 0.5 where the votes are against the choice. Deterministic.
    """
    if pair.votes is None or sum(pair.votes) == 0:
        return None
    return pair.votes[0] / sum(pair.votes)


def readable(image: Path | ImageBytes) -> ImageSource:
    """Return an image as models take it: a path or bytes."""
    return image.data if isinstance(image, ImageBytes) else image
