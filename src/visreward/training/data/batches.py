"""Rows of a data set, and batches of them that are ready for a model.

Shape letters: B rows (families or triplets), N images per row, C/H/W image.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from visreward.data.preference_table import LaterImage
from visreward.data.rated_edits import PairVotes
from visreward.losses.ict import ContainmentTargets
from visreward.models.vlm.backbone import ImageFeatures

ImageFile: TypeAlias = Path | LaterImage
"""A file, or an image in a table that is read when it is asked for."""


def readable(image: ImageFile) -> Path | bytes:
    """Return the path of an image, or its bytes.

    Raises:
        DataError: if a table does not hold it.
    """
    return image if isinstance(image, Path) else image.read().data


def name_below(image: ImageFile, root: Path) -> str:
    """Return the name of an image, of a file without the folder that holds the data set."""
    if not isinstance(image, Path):
        return str(image)
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else image.as_posix()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is known of the images of a row under one prompt.

    Attributes:
        prompt: The text asked for.
        overall: How good each of N images is as a whole; higher is better.
        dimensions: How good it is on each of K dimensions; empty where that is not known.
        is_rated: Whether `overall` holds ratings, and not just numbers in the right order.
        votes: How many annotators chose which of two images, where that is known.
    """

    prompt: str
    overall: tuple[float, ...]
    dimensions: tuple[tuple[float, ...], ...] = ()
    is_rated: bool = False
    votes: tuple[PairVotes, ...] = ()

    @property
    def best(self) -> int:
        """Return the image that is best on the first dimension, or as a whole."""
        values = [each[0] for each in self.dimensions] or list(self.overall)
        return values.index(max(values))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a data set.

    Attributes:
        images: N images.
        prompts: Captions of the N images, (basic prompt, refined prompt) of a triplet, or the
            one prompt of all, such as the instruction of an edit.
        sources: The images before an edit.
        labels: (e1, e2, r1, r2) of a triplet, or None.
        dimensions: What annotators say of each image on each of K dimensions; empty where they
            do not.
        overall: What they say of each image as a whole, likewise.
        is_rated: As in `Comparison`.
        votes: As in `Comparison`.
        id: File and row, for people; empty where the number in the split says as much.
    """

    images: tuple[ImageFile, ...]
    prompts: tuple[str, ...]
    sources: tuple[ImageFile, ...] = ()
    labels: tuple[float, float, float, float] | None = None
    dimensions: tuple[tuple[float, ...], ...] = ()
    overall: tuple[float, ...] = ()
    is_rated: bool = False
    votes: tuple[PairVotes, ...] = ()
    id: str = ""

    @property
    def files(self) -> tuple[ImageFile, ...]:
        """Return all images: the sources, then those that are compared."""
        return (*self.sources, *self.images)

    def comparisons(self) -> list[Comparison]:
        """Return what is known of the images: under the first prompt, or under each caption.

        A caption is true of the images that have it, and wrong for all others of its family.
        """
        if self.overall:
            return [
                Comparison(
                    prompt=self.prompts[0],
                    overall=self.overall,
                    dimensions=self.dimensions,
                    is_rated=self.is_rated,
                    votes=self.votes,
                )
            ]
        return [
            Comparison(prompt=prompt, overall=tuple(float(p == prompt) for p in self.prompts))
            for prompt in dict.fromkeys(self.prompts)
        ]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some rows, ready for a model.

    Attributes:
        row_ids: (B,) int64, which rows of the data set.
        rows: These rows.
        pixels: For each row (3, H, W) uint8 of each of its files, or None where hidden states
            stand in.
        features: What a frozen vision tower says of each of them, or None where it is asked.
        targets: Labels of triplets, (B,) float32 each, or None.
        extra: What an objective computed once for each row, by name, B first.
        skipped: Rows that belong here but could not be read, and why.
        shares: By how much each term of a loss is multiplied, as `step_shares` says; 1 where it
            is not named.
    """

    row_ids: Tensor
    rows: tuple[Row, ...]
    pixels: tuple[tuple[Tensor, ...], ...] | None
    features: tuple[tuple[ImageFeatures, ...], ...] | None = None
    targets: ContainmentTargets | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)

    @property
    def prompts(self) -> tuple[tuple[str, ...], ...]:
        """Return the prompts of each row."""
        return tuple(row.prompts for row in self.rows)

    @property
    def num_images(self) -> int:
        """Return how many image files the rows have, sources included."""
        return sum(len(row.files) for row in self.rows)

    def share(self, term: str) -> float:
        """Return by how much a term of the loss is multiplied."""
        return self.shares.get(term, 1.0)

    def stacked(self) -> Tensor:
        """Return (B, N, 3, H, W) uint8 pixels of rows whose images are alike in number and size."""
        assert self.pixels is not None, "this batch has hidden states in their place"
        return torch.stack([torch.stack(row) for row in self.pixels])

    def split(self, num_parts: int) -> list[Batch]:
        """Return the batch in parts, in order, whose sizes differ by one row at most."""
        size, longer = divmod(len(self.rows), num_parts)
        starts = [part * size + min(part, longer) for part in range(num_parts + 1)]
        return [
            self.part(slice(start, stop))
            for start, stop in itertools.pairwise(starts)
            if stop > start
        ]

    def part(self, chosen: slice) -> Batch:
        """Return some of the rows."""
        pixels = None if self.pixels is None else self.pixels[chosen]
        return replace(
            self._with_tensors(lambda values: values[chosen]),
            row_ids=self.row_ids[chosen],
            rows=self.rows[chosen],
            pixels=pixels,
            features=self.features and self.features[chosen],
        )

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its tensors, except `row_ids`, on a device."""

        def move(values: Tensor) -> Tensor:
            return values.to(device, non_blocking=True)

        pixels = self.pixels and tuple(tuple(map(move, row)) for row in self.pixels)
        features = self.features and tuple(
            tuple(each.map(move) for each in row) for row in self.features
        )
        return replace(self._with_tensors(move), pixels=pixels, features=features)

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with targets and extra tensors changed."""
        targets = self.targets
        if targets is not None:
            targets = ContainmentTargets(
                e1=change(targets.e1),
                e2=change(targets.e2),
                r1=change(targets.r1),
                r2=change(targets.r2),
            )
        extra = {name: change(values) for name, values in self.extra.items()}
        return replace(self, targets=targets, extra=extra)


def prompt_ids(prompts: Sequence[str]) -> Tensor:
    """Return (len(prompts),) int64 that are equal where the prompts are, in every process."""
    digests = [hashlib.sha256(prompt.encode()).digest()[:8] for prompt in prompts]
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests])
