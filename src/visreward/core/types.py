"""The records that cross folder borders: samples, preferences, scores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from visreward.core.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image"
"""A path, encoded bytes, or an opened picture."""

SourceImages: TypeAlias = "ImageSource | tuple[ImageSource, ...]"
"""The image before an edit, or several that an edit draws upon, in order."""

Fidelity: TypeAlias = Literal["released", "paper"]
"""Whose arithmetic is followed: the released code's, or the paper's equations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One thing to score.

    Attributes:
        prompt: The text asked for; for editing, the edit instruction. May be empty only for
            models that take no prompt.
        image: The image to score.
        source_image: The image before an edit, or several as a tuple; None for generated images.
        id: A name for reports and error messages, or None.
    """

    prompt: str
    image: ImageSource
    source_image: SourceImages | None = None
    id: str | None = None

    @property
    def sources(self) -> tuple[ImageSource, ...]:
        """Return the source images; empty where there is none."""
        given = self.source_image
        if given is None:
            return ()
        return given if isinstance(given, tuple) else (given,)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePair:
    """One prompt, a chosen and a rejected image.

    Attributes:
        votes: How many annotators chose (chosen, rejected), or None if unknown.
        confidence: Probability in [0, 1] that the choice is right, or None if unknown.
    """

    prompt: str
    chosen: ImageSource
    rejected: ImageSource
    source_image: SourceImages | None = None
    votes: tuple[int, int] | None = None
    confidence: float | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceGroup:
    """One prompt and N images with ranks.

    Attributes:
        images: N images.
        ranks: N ranks, 1 = best; ties share a rank.
    """

    prompt: str
    images: tuple[ImageSource, ...]
    ranks: tuple[int, ...]
    source_image: SourceImages | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        if len(self.images) != len(self.ranks):
            raise DataError(
                f"Group {self.id!r} has {len(self.images)} images but {len(self.ranks)} ranks. "
                "Give one rank per image."
            )
        if len(self.images) < 2:
            raise DataError(
                f"Group {self.id!r} has {len(self.images)} image(s). A group compares two or more."
            )
        if min(self.ranks) < 1:
            raise DataError(
                f"Group {self.id!r} has the rank {min(self.ranks)}. Ranks start at 1 (best)."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionScore:
    """What a reward model says about one dimension of a sample.

    Attributes:
        mu: Mean; higher is better.
        sigma: Standard deviation, or None where the model predicts none.
    """

    mu: float
    sigma: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a reward model says about one sample.

    Attributes:
        value: The number to rank by; higher is better. Comparable within one model and one
            revision only.
        sigma: Standard deviation of the score for models that predict one, else None.
        dimensions: What the score is made of, by name; empty for one-dimensional models.
        model: Name of the reward model.
        revision: Which weights: a hub commit, or a digest of the weights file.
        notes: What a reader of the score must know, such as a prompt that was cut.
    """

    value: float
    sigma: float | None = None
    dimensions: Mapping[str, DimensionScore] = field(default_factory=dict)
    model: str = ""
    revision: str = ""
    notes: tuple[str, ...] = ()
