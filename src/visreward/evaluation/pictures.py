"""Score pictures that are made on the fly: rows of K pictures with one prompt each.

Shapes: T rows, K pictures per row.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visreward.core.errors import UsageError
from visreward.models.base import RewardModel
from visreward.models.loaded import LoadedSample

ROWS_PER_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRow:
    """K pictures and what they are scored under.

    Attributes:
        pictures: (H, W, 3) uint8 each.
        prompt: Of all pictures but those in `own_prompts`.
        source: The picture before an edit, or None.
        own_prompts: Prompt by number of the picture, where it is another one.
    """

    pictures: tuple[NDArray[np.uint8], ...]
    prompt: str
    source: NDArray[np.uint8] | None = None
    own_prompts: Mapping[int, str] = field(default_factory=dict)


def score_rows(
    models: Sequence[RewardModel],
    make: Callable[[int], PictureRow],
    *,
    num: int,
    num_workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Return the scores of T made rows under each model, and of each model's dimensions.

    Args:
        models: Loaded models with names that differ.
        make: Makes row i; a function that can be pickled where `num_workers` is above 1.
        num: T.
        num_workers: Processes that make pictures.
        progress: Called with (rows done, T).

    Returns:
        (T, K) scores by model name, and by `name/dimension` for models with dimensions.

    Raises:
        UsageError: if `num` is below 1.
    """
    if num < 1:
        raise UsageError(f"num is {num}. Score at least one row.")
    columns: dict[str, list[NDArray[np.float64]]] = {}
    done = 0
    for rows in _batches(make, num, num_workers):
        samples = [sample for row in rows for sample in _loaded(row)]
        for model in models:
            scores = model.score_batch(samples)
            found = {model.facts.name: [score.value for score in scores]}
            for name in model.facts.dimensions:
                found[f"{model.facts.name}/{name}"] = [s.dimensions[name].mu for s in scores]
            for name, values in found.items():
                columns.setdefault(name, []).append(np.array(values).reshape(len(rows), -1))
        done += len(rows)
        if progress is not None:
            progress(done, num)
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _batches(
    make: Callable[[int], PictureRow], num: int, num_workers: int
) -> Iterator[list[PictureRow]]:
    """Yield the rows in order, some at a time; a bounded number of pictures is in memory."""
    if num_workers <= 1:
        for start in range(0, num, ROWS_PER_BATCH):
            yield [make(index) for index in range(start, min(start + ROWS_PER_BATCH, num))]
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        window = 4 * num_workers * ROWS_PER_BATCH
        for start in range(0, num, window):
            indices = range(start, min(start + window, num))
            rows = list(pool.map(make, indices, chunksize=ROWS_PER_BATCH))
            for first in range(0, len(rows), ROWS_PER_BATCH):
                yield rows[first : first + ROWS_PER_BATCH]


def _loaded(row: PictureRow) -> list[LoadedSample]:
    sources = () if row.source is None else (row.source,)
    return [
        LoadedSample(
            prompt=row.own_prompts.get(number, row.prompt),
            image=Image.fromarray(picture),
            image_key=_key(picture),
            source_images=tuple(map(Image.fromarray, sources)),
            source_keys=tuple(map(_key, sources)),
        )
        for number, picture in enumerate(row.pictures)
    ]


def _key(picture: NDArray[np.uint8]) -> str:
    return hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()
