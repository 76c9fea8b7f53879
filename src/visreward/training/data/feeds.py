"""From rows to batches: pixels, and an order that a resumed run repeats.

Shape letters: B rows, N images per row, T rows of a split, L tokens, W width, C/H/W image.
"""

from __future__ import annotations

import bisect
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from visreward.core.errors import DataError, ImageError, UsageError
from visreward.losses.ict import ContainmentTargets
from visreward.training.config import DataConfig
from visreward.training.data.batches import Batch, ImageFile, Row
from visreward.training.data.order import epoch_order
from visreward.training.data.pixels import PixelCache, PixelReader, pixel_cache
from visreward.training.data.rows import RowFiles, Rows

if TYPE_CHECKING:
    from visreward.models.vlm.backbone import ImageFeatures
    from visreward.training.data.vision_features import FeatureCache


class FrozenStates:
    """(T, N, L, W) float16 hidden states on disk, read by row like a tensor."""

    def __init__(self, path: Path) -> None:
        self.states = np.load(path, mmap_mode="r")

    def __getitem__(self, row_ids: list[int]) -> Tensor:
        return torch.from_numpy(self.states[row_ids])


class Feed(Dataset[Batch]):
    """Batches of one split; item s is the batch of step s, whatever happened before.

    Every epoch has an order of its own, drawn from the seed. A row with an unreadable image is
    never replaced by another. With cached pixels such rows are known, and left out, from the
    start; without, their batches are smaller. Too many of them stop the run.
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
        self.rows = Rows.made(rows)
        self.reader = reader
        self.batch_size = batch_size
        self.seed = seed
        self.rank, self.num_processes = shard
        self.shuffle = shuffle
        self.max_skip_fraction = config.max_skip_fraction
        self.num_workers = 0 if config.cache_pixels else config.num_workers
        self.extra: dict[str, Tensor | FrozenStates] = {}
        self.features: FeatureCache | None = None
        self.with_pixels = True
        self.skipped: dict[int, str] = {}
        self.usable: list[int] = []
        self.cache: PixelCache | None = None
        self._order: tuple[int, NDArray[np.int64]] | None = None
        self._mixture = self.rows.mixture() if shuffle else None
        self._blocks: NDArray[np.int64] | None = None
        failed: dict[int, str] = {}
        if config.cache_pixels:
            files = self.files()
            self._starts = files.starts
            self.cache = pixel_cache(files, reader, folder=config.cache_folder, progress=progress)
            failed = {
                bisect.bisect_right(self._starts, place) - 1: reason
                for place, reason in self.cache.failed.items()
            }
        elif shuffle:
            self._blocks = self.rows.blocks()
        self.leave_out(failed)

    @property
    def images_per_row(self) -> int:
        """Return N of data sets whose rows all have as many images."""
        return len(self.rows[0].images)

    def files(self) -> RowFiles:
        """Return all images, row by row."""
        return RowFiles(self.rows)

    def places(self, row_id: int) -> range:
        """Return where the files of a row stand among all files."""
        return range(*self._starts[row_id : row_id + 2])

    def leave_out(self, reasons: Mapping[int, str]) -> None:
        """Take rows out of every epoch; only before training, because it changes the order.

        Raises:
            DataError: if that makes more than `max_skip_fraction` of all rows.
            UsageError: if fewer rows than a batch are left.
        """
        self.count_skipped(reasons)
        self.usable = [index for index in range(len(self.rows)) if index not in self.skipped]
        self._order = None
        if self.shuffle and len(self.usable) < self.batch_size:
            raise UsageError(
                f"The batch size is {self.batch_size}, but there are {len(self.usable)} usable "
                "rows. Lower optim.batch_size or give more data."
            )

    def count_skipped(self, reasons: Mapping[int, str]) -> None:
        """Take note of rows that could not be read.

        Raises:
            DataError: if that makes more than `max_skip_fraction` of all rows.
        """
        self.skipped.update(reasons)
        if len(self.skipped) > self.max_skip_fraction * len(self.rows):
            first = next(iter(self.skipped.values()))
            raise DataError(
                f"{len(self.skipped)} of {len(self.rows)} rows have an unreadable image, more than "
                f"data.max_skip_fraction {self.max_skip_fraction}. The first: {first}"
            )

    def in_order(self, batch_size: int) -> Feed:
        """Return a feed of the same rows that goes through them once, as they stand."""
        feed = copy.copy(self)
        feed.batch_size, feed.shuffle = batch_size, False
        feed.rank, feed.num_processes = 0, 1
        feed.extra, feed.features, feed.with_pixels = {}, None, True
        feed._order = None
        return feed

    @property
    def batches_per_epoch(self) -> int:
        """Return how many whole batches (any batch, where not shuffled) an epoch has."""
        if self.shuffle:
            return len(self.usable) // self.batch_size
        return -(-len(self.usable) // self.batch_size)

    def row_ids(self, step: int) -> list[int]:
        """Return the rows of this process at a step."""
        epoch, place = divmod(step, self.batches_per_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self._order_of(epoch))
        chosen = self._order[1][place * self.batch_size : (place + 1) * self.batch_size]
        return chosen[self.rank :: self.num_processes].tolist()  # type: ignore[no-any-return]

    def _order_of(self, epoch: int) -> NDArray[np.int64]:
        usable = np.array(self.usable)
        if not self.shuffle:
            return usable
        return epoch_order(
            usable, seed=self.seed, epoch=epoch, mixture=self._mixture, blocks=self._blocks
        )

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __getitem__(self, step: int) -> Batch:
        return self.batch_of(self.row_ids(step))

    def batch_of(self, row_ids: list[int]) -> Batch:
        """Return some rows as a batch; those that cannot be read are in its `skipped`."""
        skipped: dict[int, str] = {}
        pixels: list[tuple[Tensor, ...]] = []
        if self.with_pixels:
            row_ids, pixels, skipped = self._read(row_ids)
        rows = [self.rows[index] for index in row_ids]
        labels = [row.labels for row in rows if row.labels is not None]
        targets = None
        if labels and len(labels) == len(rows):
            e1, e2, r1, r2 = torch.tensor(labels, dtype=torch.float32).unbind(dim=1)
            targets = ContainmentTargets(e1=e1, e2=e2, r1=r1, r2=r2)
        return Batch(
            row_ids=torch.tensor(row_ids, dtype=torch.int64),
            rows=tuple(rows),
            pixels=tuple(pixels) if self.with_pixels else None,
            targets=targets,
            features=self._features_of(row_ids),
            extra={name: values[row_ids] for name, values in self.extra.items()},
            skipped=skipped,
        )

    def _features_of(self, row_ids: list[int]) -> tuple[tuple[ImageFeatures, ...], ...] | None:
        """Return what a frozen vision tower says of each file of some rows, if it was asked."""
        known = self.features
        if known is None:
            return None
        return tuple(tuple(known[at] for at in self.places(row)) for row in row_ids)

    def _read(
        self, row_ids: list[int]
    ) -> tuple[list[int], list[tuple[Tensor, ...]], dict[int, str]]:
        """Return the rows that can be read, their pixels, and why the others cannot."""
        kept: list[int] = []
        pixels: list[tuple[Tensor, ...]] = []
        skipped: dict[int, str] = {}
        seen: dict[ImageFile, Tensor] = {}
        for row_id in row_ids:
            try:
                pixels.append(self.row_pixels(row_id, seen))
            except ImageError as error:
                skipped[row_id] = str(error)
            else:
                kept.append(row_id)
        return kept, pixels, skipped

    def row_pixels(
        self, row_id: int, seen: dict[ImageFile, Tensor] | None = None
    ) -> tuple[Tensor, ...]:
        """Return (3, H, W) uint8 of each file of one row.

        Args:
            row_id: Which.
            seen: Pixels of files that were decoded for the same batch; new ones are put in.

        Raises:
            ImageError: if an image cannot be read; it names the file.
        """
        if self.cache is None:
            files, seen = self.rows[row_id].files, {} if seen is None else seen
            for file in files:
                if file not in seen:
                    seen[file] = self.reader.read(file)
            return tuple(seen[file] for file in files)
        return tuple(self.cache[place] for place in self.places(row_id))

    def steps(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield the batches of steps start to stop - 1, read ahead by worker processes if any."""
        workers = self.num_workers if self.with_pixels else 0
        batches = DataLoader(
            _Pixels(self), batch_size=None, sampler=range(start, stop), num_workers=workers
        )
        for batch in batches:
            yield replace(batch, rows=tuple(self.rows[row] for row in batch.row_ids.tolist()))


@dataclass(frozen=True)
class _Pixels(Dataset[Batch]):
    """Batches without their rows, which would carry open tables from process to process."""

    feed: Feed

    def __getitem__(self, step: int) -> Batch:
        return replace(self.feed[step], rows=())
