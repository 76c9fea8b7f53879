"""From data sets to batches: rows, their pixels, and an order that a resumed run repeats.

Shape letters: B rows (families or triplets), N images per row, C/H/W image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from visreward.core.errors import DataError, ImageError, UsageError
from visreward.data.captions import Captions
from visreward.data.pick_high import PickHigh, Triplet
from visreward.losses.ict import ContainmentTargets
from visreward.training.config import DataConfig
from visreward.training.pixels import PixelCache, PixelReader, pixel_cache


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
        targets: Labels of triplets, (B,) each, or None.
        extra: What an objective computed once for each row, by name, B first.
    """

    row_ids: Tensor
    pixels: Tensor | None
    prompts: tuple[tuple[str, ...], ...]
    targets: ContainmentTargets | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)

    def split(self, num_parts: int) -> list[Batch]:
        """Return the batch in equal parts, in order."""
        size = len(self.prompts) // num_parts
        return [
            self._rows(slice(start, start + size)) for start in range(0, size * num_parts, size)
        ]

    def _rows(self, rows: slice) -> Batch:
        targets = self.targets
        if targets is not None:
            targets = ContainmentTargets(
                e1=targets.e1[rows], e2=targets.e2[rows], r1=targets.r1[rows], r2=targets.r2[rows]
            )
        return replace(
            self,
            row_ids=self.row_ids[rows],
            pixels=None if self.pixels is None else self.pixels[rows],
            prompts=self.prompts[rows],
            targets=targets,
            extra={name: values[rows] for name, values in self.extra.items()},
        )


def read_rows(config: DataConfig, split: str, limit: int | None) -> list[Row]:
    """Read the rows of one split.

    Raises:
        DataError: if there are none.
    """
    rows: list[Row] = []
    if config.format == "captions":
        for family in Captions(config.path).split(split)[:limit]:
            images, captions = zip(*family, strict=True)
            rows.append(Row(images=images, prompts=captions))
    else:
        rows = [_triplet_row(triplet) for triplet in PickHigh(config.path).split(split)[:limit]]
    if not rows:
        raise DataError(f"Split '{split}' of {config.path} has 0 rows. Give a data set with rows.")
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


class FrozenStates:
    """(T, N, L, W) float16 hidden states on disk, read by row like a tensor."""

    def __init__(self, path: Path) -> None:
        self.states = np.load(path, mmap_mode="r")

    def __getitem__(self, row_ids: list[int]) -> Tensor:
        return torch.from_numpy(self.states[row_ids])


class Feed(Dataset[Batch]):
    """Batches of one split; item s is the batch of step s, whatever happened before.

    Every epoch has an order of its own, drawn from the seed. Rows with an unreadable image are
    left out from the start when pixels are cached, and stop the run where they exceed
    `max_skip_fraction`.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        reader: PixelReader,
        *,
        config: DataConfig,
        batch_size: int,
        seed: int,
        shard: tuple[int, int] = (0, 1),
        shuffle: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.rows = list(rows)
        self.reader = reader
        self.batch_size = batch_size
        self.seed = seed
        self.rank, self.num_processes = shard
        self.shuffle = shuffle
        self.extra: dict[str, Tensor | FrozenStates] = {}
        self.with_pixels = True
        self.skipped: dict[int, str] = {}
        self.cache: PixelCache | None = None
        if config.cache_pixels:
            paths = [path for row in self.rows for path in row.images]
            self.cache = pixel_cache(
                paths, reader, folder=config.path / ".cache", progress=progress
            )
            self._skip_failed(config)
        self.usable = [index for index in range(len(self.rows)) if index not in self.skipped]
        if shuffle and len(self.usable) < batch_size:
            raise UsageError(
                f"The batch size is {batch_size}, but there are {len(self.usable)} usable rows. "
                "Lower optim.batch_size or give more data."
            )

    def _skip_failed(self, config: DataConfig) -> None:
        assert self.cache is not None
        images_per_row = len(self.rows[0].images)
        for place, reason in self.cache.failed.items():
            self.skipped[place // images_per_row] = reason
        if len(self.skipped) > config.max_skip_fraction * len(self.rows):
            first = next(iter(self.skipped.values()))
            raise DataError(
                f"{len(self.skipped)} of {len(self.rows)} rows have an unreadable image, more than "
                f"max_skip_fraction {config.max_skip_fraction}. The first: {first}"
            )

    @property
    def batches_per_epoch(self) -> int:
        """Return how many whole batches (any batch, where not shuffled) an epoch has."""
        if self.shuffle:
            return len(self.usable) // self.batch_size
        return -(-len(self.usable) // self.batch_size)

    def row_ids(self, step: int) -> list[int]:
        """Return the rows of this process at a step."""
        epoch, place = divmod(step, self.batches_per_epoch)
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            order = torch.randperm(len(self.usable), generator=generator).tolist()
        else:
            order = list(range(len(self.usable)))
        chosen = order[place * self.batch_size : (place + 1) * self.batch_size]
        return [self.usable[index] for index in chosen[self.rank :: self.num_processes]]

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __getitem__(self, step: int) -> Batch:
        row_ids = self.row_ids(step)
        rows = [self.rows[index] for index in row_ids]
        labels = [row.labels for row in rows if row.labels is not None]
        targets = None
        if len(labels) == len(rows):
            e1, e2, r1, r2 = torch.tensor(labels, dtype=torch.float32).unbind(dim=1)
            targets = ContainmentTargets(e1=e1, e2=e2, r1=r1, r2=r2)
        return Batch(
            row_ids=torch.tensor(row_ids),
            pixels=torch.stack([self.row_pixels(i) for i in row_ids]) if self.with_pixels else None,
            prompts=tuple(row.prompts for row in rows),
            targets=targets,
            extra={name: values[row_ids] for name, values in self.extra.items()},
        )

    def row_pixels(self, row_id: int) -> Tensor:
        """Return (N, 3, H, W) uint8 of one row.

        Raises:
            DataError: if an image cannot be read; names the row.
        """
        row = self.rows[row_id]
        if self.cache is not None:
            first = row_id * len(row.images)
            return torch.stack([self.cache[first + place] for place in range(len(row.images))])
        try:
            return torch.stack([self.reader.read(path) for path in row.images])
        except ImageError as error:
            raise DataError(f"Row {row_id}: {error}") from error

    def steps(self, start: int, stop: int, *, num_workers: int = 0) -> Iterator[Batch]:
        """Yield the batches of steps start to stop - 1, read ahead by worker processes if any."""
        yield from DataLoader(
            self, batch_size=None, sampler=range(start, stop), num_workers=num_workers
        )
