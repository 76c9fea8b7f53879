"""Labels of how far an image contains its prompt, made from CLIP scores, and their files.

Letters: n triplets. E1, E2 say how far the losing and the winning image contain the basic
prompt; R1, R2 say it of the refined prompt. The refined image has the label 1 for both.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import DataError, NonFiniteError, ShapeError, UsageError
from visreward.data.base import Arrow, load_optional, read_parquet, write_parquet
from visreward.data.pick_high_table import LABELS, find_files, read_table

_SOURCE_KEY = b"visreward.labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainmentLabels:
    """The four labels of one triplet, each in [0, 1].

    Attributes:
        e1: Basic prompt, losing image.
        e2: Basic prompt, winning image.
        r1: Refined prompt, losing image.
        r2: Refined prompt, winning image.
    """

    e1: float
    e2: float
    r1: float
    r2: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelColumns:
    """The labels of n triplets: (n,) float64 each, in [0, 1], named as in `ContainmentLabels`."""

    e1: NDArray[np.float64]
    e2: NDArray[np.float64]
    r1: NDArray[np.float64]
    r2: NDArray[np.float64]

    def __post_init__(self) -> None:
        shapes = {getattr(self, name).shape for name in LABELS}
        if len(shapes) > 1 or self.e1.ndim != 1:
            raise ShapeError(
                f"The label columns have the shapes {sorted(shapes)}. "
                "Give four of one length, one number per triplet."
            )

    def __len__(self) -> int:
        return len(self.e1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSource:
    """What labels were made with: the CLIP model's name, and theta."""

    model: str
    theta: float


def containment_labels(
    clip_losing: ArrayLike, *, clip_winning: ArrayLike, clip_prompts: ArrayLike, theta: float
) -> LabelColumns:
    """Return the ICT labels of n triplets.

    C(I) = min(CLIP(I, basic prompt) / theta, 1)
    E2 = C(winning), E1 = min(C(losing), E2), and neither is below 0
    R2 = E2 * cos(basic prompt, refined prompt), R1 = E1 * the same, the cosine kept in [0, 1]
    Paper: Enhancing Reward Models for High-quality Image Generation: Beyond Text-Image
    Alignment (arXiv 2507.19002), the labels of the ICT objective. The bounds at 0, and at 1 for
    a cosine that rounding puts above it, are ours, so that every label is in [0, 1]. Released
    code: none; the published tables hold the labels ready made, by a theta that is not stated.
    Deterministic.

    Args:
        clip_losing: (n,) CLIP score of basic prompt and losing image, in the unit of `theta`.
        clip_winning: (n,) the same with the winning image.
        clip_prompts: (n,) cosine of the CLIP embeddings of basic and refined prompt.
        theta: CLIP score from which on an image counts as containing all of its prompt.

    Raises:
        UsageError: if theta is not a positive number.
        ShapeError: if the three differ in shape or are not one-dimensional.
        NonFiniteError: if a score is NaN or infinite.
    """
    if not (math.isfinite(theta) and theta > 0):
        raise UsageError(
            f"theta is {theta}, and labels divide by it. Give a positive CLIP score, such as 0.3."
        )
    scores = {
        "clip_losing": np.asarray(clip_losing, np.float64),
        "clip_winning": np.asarray(clip_winning, np.float64),
        "clip_prompts": np.asarray(clip_prompts, np.float64),
    }
    shapes = {name: array.shape for name, array in scores.items()}
    if len(set(shapes.values())) > 1 or scores["clip_losing"].ndim != 1:
        raise ShapeError(
            f"The CLIP scores have the shapes {shapes}. Give three of one length, one number "
            "per triplet."
        )
    for name, array in scores.items():
        if not np.isfinite(array).all():
            row = int(np.argmin(np.isfinite(array)))
            raise NonFiniteError(
                f"{name}[{row}] is {array[row]}. Check the CLIP model and that triplet's files."
            )
    e2 = np.clip(scores["clip_winning"] / theta, 0.0, 1.0)
    e1 = np.clip(scores["clip_losing"] / theta, 0.0, e2)
    cosine = np.clip(scores["clip_prompts"], 0.0, 1.0)
    return LabelColumns(e1=e1, e2=e2, r1=e1 * cosine, r2=e2 * cosine)


def write_labels(
    path: str | os.PathLike[str], *, split: str, labels: LabelColumns, source: LabelSource
) -> Path:
    """Store labels beside the table of a split of Pick-High, where its reader finds them.

    Args:
        path: The dataset, as `pick_high.PickHigh` takes it.
        split: Which split.
        labels: One row per row of the table, in its order.
        source: What the labels were made with; it is stored with them.

    Returns:
        The file written, `{split}.labels.parquet`; one that was there is replaced.

    Raises:
        DataError: if the table cannot be read, or has another number of rows.
        UnknownNameError: if there is no such split.
    """
    arrow = load_optional("pyarrow", extra="train")
    files = find_files(path)
    num_rows = read_table(files.table(split)).rows.num_rows
    if len(labels) != num_rows:
        raise _other_length(files.labels(split), num_labels=len(labels), num_rows=num_rows)
    made_with = {"model": source.model, "theta": source.theta}
    table = arrow.table({name: getattr(labels, name) for name in LABELS})
    table = table.replace_schema_metadata({_SOURCE_KEY: json.dumps(made_with)})
    write_parquet(table, files.labels(split))
    return files.labels(split)


def read_labels(file: Path, *, num_rows: int) -> Arrow:
    """Return stored labels as a pyarrow.Table with the columns e1, e2, r1, r2.

    Args:
        file: What `write_labels` wrote.
        num_rows: How many rows the table has that they belong to.

    Raises:
        DataError: if the file is not one of labels, or has another number of rows.
    """
    arrow = load_optional("pyarrow", extra="train")
    table = read_parquet(file)
    types = {name: arrow.float64() for name in LABELS}
    if dict(zip(table.schema.names, table.schema.types, strict=True)) != types:
        raise DataError(
            f"The label file '{file}' has the columns {', '.join(table.schema.names)}, expected "
            f"{', '.join(LABELS)} as doubles. Delete it and make the labels again."
        )
    if table.num_rows != num_rows:
        raise _other_length(file, num_labels=table.num_rows, num_rows=num_rows)
    return table


def label_source(table: Arrow) -> LabelSource:
    """Return what the labels in a table of `read_labels` were made with.

    Raises:
        DataError: if the table does not say.
    """
    try:
        made_with = json.loads((table.schema.metadata or {})[_SOURCE_KEY])
        return LabelSource(model=str(made_with["model"]), theta=float(made_with["theta"]))
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"A label file does not say what it was made with ({error}). "
            "Delete it and make the labels again."
        ) from error


def _other_length(file: Path, *, num_labels: int, num_rows: int) -> DataError:
    return DataError(
        f"The labels '{file}' are {num_labels} rows, their table has {num_rows}. "
        "Make the labels again for the table as it is, in its order."
    )
