"""The scores of a model on rows of a file, with the features of its frozen tower kept on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.figures import ScoredPairs
from visreward import load_model
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import DataConfig
from visreward.training.data.batches import Row
from visreward.training.data.feeds import Feed
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.questions import questions_of
from visreward.training.data.reading import read_rows
from visreward.training.data.vision_features import frozen_features
from visreward.training.objectives.pairwise import row_sequences

ROWS_PER_BATCH: Final = 32


@dataclass(frozen=True, kw_only=True)
class ScoredRow:
    """One row with the scores of its N images.

    Attributes:
        row: What is known of it.
        fused: (N, outputs) mu, and log sigma where there are two.
        dimensions: (N, K) mu of each dimension.
    """

    row: Row
    fused: NDArray[np.float64]
    dimensions: NDArray[np.float64]


@torch.no_grad()
def scored_rows(folder: Path, file: Path) -> Iterator[ScoredRow]:
    """Yield the rows of a file, in order, with a model's scores.

    Args:
        folder: A native folder.
        file: In the layout of EditReward's training data.
    """
    model = load_model(str(folder)).eval()
    assert isinstance(model, VLMReward)
    config = DataConfig(format="editreward", path=file)
    feed = Feed(
        read_rows(config, file.stem, None),
        pixel_reader(model),
        config=config,
        batch_size=ROWS_PER_BATCH,
        seed=0,
        shuffle=False,
    )
    feed.features = frozen_features(model, feed, folder=config.cache_folder)
    for batch in feed.steps(0, feed.batches_per_epoch):
        questions = questions_of(batch.rows)
        logits = model.logits(row_sequences(model, batch, questions, []))
        fused = model.fuse(logits)
        for row, question in zip(batch.rows, questions, strict=True):
            part = slice(question.start, question.stop)
            yield ScoredRow(
                row=row,
                fused=fused[part].double().numpy(),
                dimensions=logits[part, :, 0].double().numpy(),
            )


def scored_pairs(rows: Iterable[ScoredRow]) -> ScoredPairs:
    """Return every two images of rows with ratings on each dimension."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    for each in rows:
        one, other = np.array([*combinations(range(len(each.row.images)), 2)]).T
        overall, ratings = np.array(each.row.overall), np.array(each.row.dimensions)
        deviation = np.zeros(len(one))
        if each.fused.shape[1] == 2:
            sigma = np.exp(each.fused[:, 1])
            deviation = np.hypot(sigma[one], sigma[other])
        values = {
            "gap": each.fused[one, 0] - each.fused[other, 0],
            "deviation": deviation,
            "overall": overall[one] - overall[other],
            "gaps": each.dimensions[one] - each.dimensions[other],
            "ratings": ratings[one] - ratings[other],
        }
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return ScoredPairs(**{name: np.concatenate(parts) for name, parts in found.items()})
