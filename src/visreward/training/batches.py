"""Rows of a data set, and batches of them that are ready for a model.

Shape letters: B rows (families or triplets), N images per row, C/H/W image.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from visreward.core.errors import DataError
from visreward.data.captions import Captions
from visreward.data.editreward_data import EditRewardData
from visreward.data.pick_high import PickHigh, Triplet
from visreward.losses.ict import ContainmentTargets
from visreward.models.vlm.backbone import ImageFeatures
from visreward.training.config import DataConfig

TRIPLET_OVERALL: Final = (1.0, 2.0, 3.0)
"""How good losing, winning and refined image of a triplet are, as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is known of the images of a row under one prompt.

    Attributes:
        prompt: The text asked for.
        overall: How good each of N images is as a whole; higher is better.
        dimensions: How good it is on each of K dimensions; empty where that is not known.
    """

    prompt: str
    overall: tuple[float, ...]
    dimensions: tuple[tuple[float, ...], ...] = ()

    @property
    def best(self) -> int:
        """Return the image that is best on the first dimension, or as a whole."""
        values = [each[0] for each in self.dimensions] or list(self.overall)
        return values.index(max(values))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a data set.

    Attributes:
        images: N image files.
        prompts: Captions of the N images, (basic prompt, refined prompt) of a triplet, or the
            instruction of an edit.
        sources: The images before an edit.
        labels: (e1, e2, r1, r2) of a triplet, or None.
        dimensions: What annotators say of each image on each of K dimensions; empty where they
            do not.
        overall: What they say of each image as a whole, likewise.
    """

    images: tuple[Path, ...]
    prompts: tuple[str, ...]
    sources: tuple[Path, ...] = ()
    labels: tuple[float, float, float, float] | None = None
    dimensions: tuple[tuple[float, ...], ...] = ()
    overall: tuple[float, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Return all image files: the sources, then the images."""
        return (*self.sources, *self.images)

    def comparisons(self) -> list[Comparison]:
        """Return what is known of the images: under the first prompt, or under each caption.

        A caption is true of the images that have it, and wrong for all others of its family.
        """
        if self.overall:
            return [
                Comparison(prompt=self.prompts[0], overall=self.overall, dimensions=self.dimensions)
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


def read_rows(config: DataConfig, split: str, limit: int | None) -> list[Row]:
    """Read the rows of one split.

    Raises:
        DataError: if there are none, or families differ in their number of images.
    """
    rows = _READERS[config.format](config, split, limit)
    if not rows:
        raise DataError(f"Split '{split}' of {config.path} has 0 rows. Give a data set with rows.")
    return rows


def _caption_rows(config: DataConfig, split: str, limit: int | None) -> list[Row]:
    rows = [
        Row(
            images=tuple(member.image for member in family.members),
            prompts=tuple(member.caption for member in family.members),
        )
        for family in Captions(config.path).split(split)[:limit]
    ]
    sizes = {len(row.images) for row in rows}
    if len(sizes) > 1:
        raise DataError(
            f"Families of split '{split}' of {config.path} have {sorted(sizes)} images. "
            "Give every family the same number."
        )
    return rows


def _triplet_rows(config: DataConfig, split: str, limit: int | None) -> list[Row]:
    return [_triplet_row(triplet) for triplet in PickHigh(config.path).split(split)[:limit]]


def _edit_rows(config: DataConfig, split: str, limit: int | None) -> list[Row]:
    return [
        Row(
            images=tuple(each.image for each in edit.images),
            prompts=(edit.instruction,),
            sources=edit.sources,
            dimensions=tuple(each.dimensions for each in edit.images if each.dimensions),
            overall=tuple(each.overall for each in edit.images),
        )
        for edit in EditRewardData(config.path).split(split, limit)
    ]


_READERS: Final[Mapping[str, Callable[[DataConfig, str, int | None], list[Row]]]] = {
    "captions": _caption_rows,
    "pick-high": _triplet_rows,
    "editreward": _edit_rows,
}


def _triplet_row(triplet: Triplet) -> Row:
    labels = triplet.labels
    return Row(
        images=(triplet.losing_image, triplet.winning_image, triplet.refined_image),
        prompts=(triplet.basic_prompt, triplet.refined_prompt),
        labels=None if labels is None else (labels.e1, labels.e2, labels.r1, labels.r2),
        overall=TRIPLET_OVERALL,
    )


def prompt_ids(prompts: Sequence[str]) -> Tensor:
    """Return (len(prompts),) int64 that are equal where the prompts are, in every process."""
    digests = [hashlib.sha256(prompt.encode()).digest()[:8] for prompt in prompts]
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests])
