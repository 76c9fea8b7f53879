"""The resized pixels of every image of a data set, decoded once and kept on disk.

Shape letters: N images, C/H/W image.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from visreward.core.errors import ImageError
from visreward.core.images import ReadingRule, read_image
from visreward.models.clip.inputs import PixelInputs

CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class PixelReader:
    """Read one image file as the model sees it, before normalisation."""

    inputs: PixelInputs
    rule: ReadingRule

    def read(self, path: Path) -> Tensor:
        """Return (3, H, W) uint8.

        Raises:
            ImageError: if the file cannot be read.
        """
        return self.inputs.pixels([read_image(path, rule=self.rule)])[0]


class _Decoded(Dataset[tuple[int, Tensor | None, str]]):
    """(index, pixels or None, reason) of every path."""

    def __init__(self, paths: Sequence[Path], reader: PixelReader) -> None:
        self.paths = paths
        self.reader = reader

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[int, Tensor | None, str]:
        try:
            return index, self.reader.read(self.paths[index]), ""
        except ImageError as error:
            return index, None, str(error)


class PixelCache:
    """(N, 3, H, W) uint8 on disk, and the reasons of what could not be read."""

    def __init__(self, folder: Path) -> None:
        self.pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        failed = json.loads((folder / "failed.json").read_text(encoding="utf-8"))
        self.failed: dict[int, str] = {int(index): reason for index, reason in failed.items()}

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.array(self.pixels[index]))


def fingerprint(paths: Sequence[Path], reader: PixelReader) -> str:
    """Return a digest of the files' names, sizes and times and of how they are read."""
    digest = hashlib.sha256()
    digest.update(json.dumps(reader.inputs.processor.to_dict(), sort_keys=True).encode())
    digest.update(repr(reader.rule).encode())
    for path in paths:
        status = path.stat() if path.is_file() else None
        facts = (status.st_size, status.st_mtime_ns) if status else ("absent",)
        digest.update(f"{path}{facts}".encode())
    return digest.hexdigest()[:16]


def pixel_cache(
    paths: Sequence[Path],
    reader: PixelReader,
    *,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> PixelCache:
    """Return the pixels of all files; decode them where no cache of the same files exists.

    Args:
        paths: N image files.
        reader: How they are read.
        folder: Where caches are kept, one folder for each set of files.
        progress: Called with (images done, N).
    """
    place = folder / f"pixels-{fingerprint(paths, reader)}"
    if place.is_dir():
        return PixelCache(place)
    building = place.with_name(f"{place.name}.building-{os.getpid()}")
    building.mkdir(parents=True, exist_ok=True)
    size = reader.inputs.size
    pixels = open_memmap(
        building / "pixels.npy", mode="w+", dtype=np.uint8, shape=(len(paths), 3, size, size)
    )
    failed: dict[int, str] = {}
    loader = DataLoader(
        _Decoded(paths, reader),
        batch_size=CHUNK,
        num_workers=min(os.cpu_count() or 1, 8) if len(paths) > CHUNK else 0,
        collate_fn=list,
    )
    done = 0
    for chunk in loader:
        for index, image, reason in chunk:
            if image is None:
                failed[index] = reason
            else:
                pixels[index] = image.numpy()
        done += len(chunk)
        if progress is not None:
            progress(done, len(paths))
    pixels.flush()
    (building / "failed.json").write_text(json.dumps(failed), encoding="utf-8")
    if not place.is_dir():
        building.rename(place)
    return PixelCache(place)
