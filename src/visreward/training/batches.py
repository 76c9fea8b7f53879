"""Rows of a data set, and batches of them that are ready for a model.

Shape letters: B rows (families or triplets), N images per row, C/H/W image.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from visreward.core.errors import DataError
from visreward.data.captions import Captions
from visreward.data.pick_high import PickHigh, Triplet
from visreward.losses.ict import ContainmentTargets
from visreward.training.config import DataConfig


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a data set.

    Attributes:
        images: N image files.
        prompts: Captions of the N images, or (basic prompt, refined prompt) of a triplet.
        labels: (e1, e2, r1, r2) of a triplet, or None.
    """

    images: tuple[Path, ...]
    prompts: tuple[str, ...]
    labels: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some rows, ready for a model.

    Attributes:
        row_ids: (B,) int64, which rows of the data set.
        pixels: (B, N, 3, H, W) uint8, or None where hidden states stand in.
        prompts: B tuples, as in `Row`.
        targets: Labels of triplets, (B,) float32 each, or None.
        extra: What an objective computed once for each row, by name, B first.
        skipped: Rows that belong here but could not be read, and why.
    """

    row_ids: Tensor
    pixels: Tensor | None
    prompts: tuple[tuple[str, ...], ...]
    targets: ContainmentTargets | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)

    def split(self, num_parts: int) -> list[Batch]:
        """Return the batch in parts, in order, whose sizes differ by one row at most."""
        size, longer = divmod(len(self.prompts), num_parts)
        starts = [part * size + min(part, longer) for part in range(num_parts + 1)]
        return [
            self.rows(slice(start, stop))
            for start, stop in itertools.pairwise(starts)
            if stop > start
        ]

    def rows(self, chosen: slice) -> Batch:
        """Return some of the rows."""
        return self._with_tensors(lambda values: values[chosen], prompts=self.prompts[chosen])

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its tensors, except `row_ids`, on a device."""
        moved = self._with_tensors(
            lambda values: values.to(device, non_blocking=True), prompts=self.prompts
        )
        return replace(moved, row_ids=self.row_ids)

    def _with_tensors(
        self, change: Callable[[Tensor], Tensor], *, prompts: tuple[tuple[str, ...], ...]
    ) -> Batch:
        targets = self.targets
        if targets is not None:
            targets = ContainmentTargets(
                e1=change(targets.e1),
                e2=change(targets.e2),
                r1=change(targets.r1),
                r2=change(targets.r2),
            )
        return replace(
            self,
            row_ids=change(self.row_ids),
            pixels=None if self.pixels is None else change(self.pixels),
            prompts=prompts,
            targets=targets,
            extra={name: change(values) for name, values in self.extra.items()},
        )


def read_rows(config: DataConfig, split: str, limit: int | None) -> list[Row]:
    """Read the rows of one split.

    Raises:
        DataError: if there are none, or families differ in their number of images.
    """
    if config.format == "captions":
        rows = [
            Row(
                images=tuple(member.image for member in family.members),
                prompts=tuple(member.caption for member in family.members),
            )
            for family in Captions(config.path).split(split)[:limit]
        ]
    else:
        rows = [_triplet_row(triplet) for triplet in PickHigh(config.path).split(split)[:limit]]
    if not rows:
        raise DataError(f"Split '{split}' of {config.path} has 0 rows. Give a data set with rows.")
    sizes = {len(row.images) for row in rows}
    if len(sizes) > 1:
        raise DataError(
            f"Families of split '{split}' of {config.path} have {sorted(sizes)} images. "
            "Give every family the same number."
        )
    return rows


def _triplet_row(triplet: Triplet) -> Row:
    labels = triplet.labels
    return Row(
        images=(triplet.losing_image, triplet.winning_image, triplet.refined_image),
        prompts=(triplet.basic_prompt, triplet.refined_prompt),
        labels=None if labels is None else (labels.e1, labels.e2, labels.r1, labels.r2),
    )


def prompt_ids(prompts: Sequence[str]) -> Tensor:
    """Return (len(prompts),) int64 that are equal where the prompts are, in every process."""
    digests = [hashlib.sha256(prompt.encode()).digest()[:8] for prompt in prompts]
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests])
