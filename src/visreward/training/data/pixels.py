"""The resized pixels of every image of a data set, decoded once and kept on disk.

Shape letters: M images, C/H/W image.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from visreward.core.errors import DataError, ImageError, UsageError
from visreward.core.images import ReadingRule, read_image
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.inputs import PixelInputs
from visreward.models.vlm.pixels import PatchInputs
from visreward.models.vlm.reward import VLMReward
from visreward.training.data.batches import ImageFile, readable

CHUNK = 256
PIXELS, SHAPES, FAILED = "pixels.bin", "shapes.npy", "failed.json"


@dataclass(frozen=True, kw_only=True)
class PixelReader:
    """Read one image file as the model sees it, before normalisation."""

    inputs: PixelInputs | PatchInputs
    rule: ReadingRule

    def read(self, image: ImageFile) -> Tensor:
        """Return (3, H, W) uint8.

        Raises:
            ImageError: if the image cannot be read.
        """
        try:
            source = readable(image)
        except DataError as error:
            raise ImageError(str(error)) from error
        picture = read_image(source, rule=self.rule, name=str(image))
        return self.inputs.pixels([picture])[0]


def pixel_reader(model: CLIPRewardModel | VLMReward) -> PixelReader:
    """Return a reader of image files as a model sees them."""
    inputs = model.inputs.patches if isinstance(model, VLMReward) else model.pixel_inputs
    return PixelReader(inputs=inputs, rule=model.facts.reading)


_Item: TypeAlias = "tuple[int, np.ndarray | None, str]"


class _Decoded(Dataset[_Item]):
    """(index, pixels or None, reason) of every path.

    Arrays, not tensors: these travel from worker processes through shared memory, which is
    scarce in containers.
    """

    def __init__(self, paths: Sequence[ImageFile], reader: PixelReader) -> None:
        self.paths = paths
        self.reader = reader

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> _Item:
        try:
            return index, self.reader.read(self.paths[index]).numpy(), ""
        except ImageError as error:
            return index, None, str(error)


class PixelCache:
    """(3, H, W) uint8 of M images on disk.

    Attributes:
        shapes: (H, W) of each image; (0, 0) where it could not be read.
        failed: Why not, by number.
    """

    def __init__(self, folder: Path) -> None:
        shapes = np.load(folder / SHAPES)
        self.shapes: list[tuple[int, int]] = [(int(h), int(w)) for h, w in shapes]
        self._starts = np.concatenate([[0], np.cumsum(3 * shapes.prod(axis=1))])
        # A file without bytes cannot be mapped.
        self._pixels = (
            np.memmap(folder / PIXELS, dtype=np.uint8, mode="r")
            if self._starts[-1]
            else np.empty(0, dtype=np.uint8)
        )
        failed = json.loads((folder / FAILED).read_text(encoding="utf-8"))
        self.failed: dict[int, str] = {int(index): reason for index, reason in failed.items()}

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> Tensor:
        """Return the pixels of an image that could be read."""
        height, width = self.shapes[index]
        values = np.array(self._pixels[self._starts[index] : self._starts[index + 1]])
        return torch.from_numpy(values).view(3, height, width)


def fingerprint(paths: Sequence[ImageFile], reader: PixelReader) -> str:
    """Return a digest of the files' names, sizes and times and of how they are read."""
    digest = hashlib.sha256()
    digest.update(json.dumps(reader.inputs.processor.to_dict(), sort_keys=True).encode())
    digest.update(f"{reader.inputs.resizing}{reader.rule}".encode())
    for path in paths:
        try:
            status = (path if isinstance(path, Path) else path.file).stat()
        except OSError:
            digest.update(f"{path}|absent|".encode())
        else:
            digest.update(f"{path}|{status.st_size}|{status.st_mtime_ns}|".encode())
    return digest.hexdigest()[:16]


def require_disk(folder: Path, num_bytes: int, *, what: str, instead: str) -> None:
    """Stop unless a folder's disk has room.

    Args:
        folder: An existing folder.
        num_bytes: How much is going to be written.
        what: What is written, for the message.
        instead: What to do without it, for the message.

    Raises:
        UsageError: if there is less room.
    """
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise UsageError(
            f"{what} would take {num_bytes / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free in "
            f"{folder}. Free some space, or {instead}."
        )


@contextmanager
def one_builder(place: Path) -> Iterator[None]:
    """Let one process at a time build what is kept at `place`; the others wait, then find it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_name(f".{place.name}.lock")):
        yield


def pixel_cache(
    paths: Sequence[ImageFile],
    reader: PixelReader,
    *,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> PixelCache:
    """Return the pixels of all files; decode them where no cache of the same files exists.

    Args:
        paths: M image files, or images in tables.
        reader: How they are read.
        folder: Where caches are kept, one folder for each set of files.
        progress: Called with (images done, M).

    Raises:
        UsageError: if the disk has no room for them.
    """
    place = folder / f"pixels-{fingerprint(paths, reader)}"
    with one_builder(place):
        if not place.is_dir():
            building = place.with_name(f"{place.name}.building")
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            _decode(paths, reader, building, progress)
            building.rename(place)
    return PixelCache(place)


def _decode(
    paths: Sequence[ImageFile],
    reader: PixelReader,
    folder: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write the pixels of all files, one behind the other, and why some have none.

    Raises:
        UsageError: if the disk has no room for the next ones.
    """
    shapes = np.zeros((len(paths), 2), dtype=np.int64)
    failed: dict[int, str] = {}
    loader = DataLoader(
        _Decoded(paths, reader),
        batch_size=CHUNK,
        num_workers=min(torch.get_num_threads(), 8) if len(paths) > CHUNK else 0,
        collate_fn=list,
    )
    done = 0
    with (folder / PIXELS).open("wb") as file:
        for chunk in loader:
            require_disk(
                folder,
                # At the start, what all will take is known from the first ones alone.
                sum(image.nbytes for _, image, _ in chunk if image is not None)
                * (-(-len(paths) // CHUNK) if done == 0 else 1),
                what=f"The pixels of {len(paths)} images",
                instead="set data.cache_pixels=false",
            )
            for index, image, reason in chunk:
                if image is None:
                    failed[index] = reason
                else:
                    shapes[index] = image.shape[1:]
                    file.write(image.tobytes())
            done += len(chunk)
            if progress is not None:
                progress(done, len(paths))
    np.save(folder / SHAPES, shapes)
    (folder / FAILED).write_text(json.dumps(failed), encoding="utf-8")
