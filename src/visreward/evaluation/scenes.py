"""What models know of the synthetic world: triplets, one-attribute swaps, and the price of detail.

Every row is drawn from a split whose combinations of attributes were never trained on.
Shapes: T rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from visreward.data.scenes.families import make_richness_pair, make_swap_pair
from visreward.data.scenes.grammar import SWAP_KINDS
from visreward.data.scenes.triplets import make_triplet
from visreward.evaluation.metrics.intervals import Accuracy, share_of
from visreward.evaluation.metrics.triplets import TripletAccuracies, triplet_accuracies
from visreward.evaluation.pictures import PictureRow, score_rows
from visreward.models.base import RewardModel

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Which rows of the synthetic world are drawn, and how.

    Attributes:
        num: T, or rows of each kind for swaps.
        seed: Seed of the world; choose one that no training used.
        split: train, val or test.
        size: Side of the pictures in pixels.
        num_workers: Processes that render.
    """

    num: int
    seed: int = 2024
    split: str = "test"
    size: int = 128
    num_workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RichnessEffect:
    """What detail costs: right-and-rich against right-and-plain images, one basic prompt.

    Attributes:
        marked_down: How often the rich image scores strictly lower.
        mean_change: Mean of score(rich) - score(plain), in units of the model's score.
        num_pairs: How many pairs were counted.
    """

    marked_down: Accuracy
    mean_change: float
    num_pairs: int


def triplet_table(
    models: Sequence[RewardModel], drawing: Drawing, *, progress: Progress | None = None
) -> dict[str, TripletAccuracies]:
    """Return the three accuracies of each model under the basic prompt, by name.

    The columns are those of the ICT & HP paper's main table: I2>I1, I3>I2, I3>I1.

    Args:
        models: Loaded models with names that differ.
        drawing: Which triplets.
        progress: Called with (rows done, rows).
    """
    scores = _scores(models, partial(triplet_row, drawing=drawing), drawing, progress)
    return {name: triplet_accuracies(values) for name, values in scores.items()}


def swap_table(
    models: Sequence[RewardModel],
    drawing: Drawing,
    *,
    kinds: Sequence[str] = SWAP_KINDS,
    progress: Progress | None = None,
) -> dict[str, dict[str, Accuracy]]:
    """Return, by swap kind and model, how often the right image beats its one-swap neighbour.

    Ties count as wrong; a model that ignores what was swapped is right half of the time.

    Args:
        models: Loaded models with names that differ.
        drawing: Which pairs; `num` of each kind.
        kinds: Attributes to swap.
        progress: Called with (rows done, rows) of each kind.
    """
    table: dict[str, dict[str, Accuracy]] = {}
    for kind in kinds:
        make = partial(swap_row, kind=kind, drawing=drawing)
        scores = _scores(models, make, drawing, progress)
        table[kind] = {
            name: share_of(values[:, 0] > values[:, 1]) for name, values in scores.items()
        }
    return table


def richness_table(
    models: Sequence[RewardModel], drawing: Drawing, *, progress: Progress | None = None
) -> dict[str, RichnessEffect]:
    """Return how often each model marks a right image down for being rich, by name.

    The paradox that the ICT & HP paper starts from: a CLIP score falls as an image holds more
    than the prompt says.

    Args:
        models: Loaded models with names that differ.
        drawing: Which pairs.
        progress: Called with (rows done, rows).
    """
    scores = _scores(models, partial(richness_row, drawing=drawing), drawing, progress)
    return {
        name: RichnessEffect(
            marked_down=share_of(values[:, 1] < values[:, 0]),
            mean_change=float((values[:, 1] - values[:, 0]).mean()),
            num_pairs=len(values),
        )
        for name, values in scores.items()
    }


def triplet_row(index: int, *, drawing: Drawing) -> PictureRow:
    """Return triplet `index`: losing, winning and refined picture, and the basic prompt."""
    triplet = make_triplet(seed=drawing.seed, split=drawing.split, index=index, size=drawing.size)
    return PictureRow(
        pictures=(triplet.losing_image, triplet.winning_image, triplet.refined_image),
        prompt=triplet.basic_prompt,
    )


def swap_row(index: int, *, kind: str, drawing: Drawing) -> PictureRow:
    """Return pair `index`: the right picture, its one-swap neighbour, and the prompt."""
    pair = make_swap_pair(
        seed=drawing.seed, split=drawing.split, index=index, kind=kind, size=drawing.size
    )
    return PictureRow(pictures=(pair.right_image, pair.swapped_image), prompt=pair.prompt)


def richness_row(index: int, *, drawing: Drawing) -> PictureRow:
    """Return pair `index`: the plain picture, the rich one, and the basic prompt."""
    pair = make_richness_pair(
        seed=drawing.seed, split=drawing.split, index=index, size=drawing.size
    )
    return PictureRow(pictures=(pair.plain_image, pair.rich_image), prompt=pair.prompt)


def _scores(
    models: Sequence[RewardModel],
    make: Callable[[int], PictureRow],
    drawing: Drawing,
    progress: Progress | None,
) -> dict[str, NDArray[np.float64]]:
    return score_rows(
        models, make, num=drawing.num, num_workers=drawing.num_workers, progress=progress
    )
