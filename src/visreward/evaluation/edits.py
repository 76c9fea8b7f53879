"""What models know of synthetic edits: right order of candidates, each dimension alone, sanity.

Every edit is drawn from a split whose combinations of attributes were never trained on.
Shapes: T edits, N candidates of each, in the order of CANDIDATE_KINDS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visreward.data.scenes.edits import CANDIDATE_KINDS, EditPlan, plan_edit, render_edit
from visreward.evaluation.metrics.intervals import Accuracy, grouped_share, share_of
from visreward.evaluation.pictures import PictureRow, score_rows
from visreward.evaluation.scenes import Drawing, Progress
from visreward.models.base import RewardModel

RIGHT: Final = CANDIDATE_KINDS.index("right")
UNTOUCHED: Final = CANDIDATE_KINDS.index("untouched")
BLACK: Final = len(CANDIDATE_KINDS)
"""Column of a black picture under the edit's own instruction."""
OTHER: Final = BLACK + 1
"""Column of the right edit under the next edit's instruction."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EditAccuracies:
    """How often scores agree with what edits are; ties count as wrong.

    Attributes:
        pairs: Every two candidates with different overall scores, by the fused score.
        following: Pairs that differ in instruction following only, by that dimension.
        quality: Pairs that differ in visual quality only, by that dimension.
        order_of_four: Every four candidates with four different overall scores, in exactly the
            right order; chance is 1 in 24.
        other_instruction: How often another edit's instruction lowers instruction following.
        untouched: How often the right edit beats the untouched source.
        black: How often a black picture scores below all candidates.
        num_edits: T.
    """

    pairs: Accuracy
    following: Accuracy
    quality: Accuracy
    order_of_four: Accuracy
    other_instruction: Accuracy
    untouched: Accuracy
    black: Accuracy
    num_edits: int


def edit_table(
    models: Sequence[RewardModel], drawing: Drawing, *, progress: Progress | None = None
) -> dict[str, EditAccuracies]:
    """Return what each model, by name, makes of synthetic edits.

    Intervals are over whole edits, as the candidates of one depend on each other.

    Args:
        models: Loaded models of edits with the dimensions instruction_following and
            visual_quality, whose names differ.
        drawing: Which edits.
        progress: Called with (rows done, rows).
    """
    scores = score_rows(
        models,
        partial(edit_row, drawing=drawing),
        num=drawing.num,
        num_workers=drawing.num_workers,
        progress=progress,
    )
    plans = [_plan(index, drawing) for index in range(drawing.num)]
    return {
        model.facts.name: edit_accuracies(
            plans,
            fused=scores[model.facts.name],
            following=scores[f"{model.facts.name}/instruction_following"],
            quality=scores[f"{model.facts.name}/visual_quality"],
        )
        for model in models
    }


def edit_row(index: int, *, drawing: Drawing) -> PictureRow:
    """Return edit `index`: its candidates, a black picture, the right one under another prompt."""
    edit = render_edit(_plan(index, drawing), size=drawing.size)
    black = np.zeros_like(edit.source_image)
    return PictureRow(
        pictures=(*edit.images, black, edit.images[RIGHT]),
        prompt=edit.instruction,
        source=edit.source_image,
        own_prompts={OTHER: _other_instruction(edit, index, drawing)},
    )


def _plan(index: int, drawing: Drawing) -> EditPlan:
    return plan_edit(seed=drawing.seed, split=drawing.split, index=index)


def _other_instruction(edit: EditPlan, index: int, drawing: Drawing) -> str:
    """Return the instruction of the next edit that asks for something else."""
    while True:
        index += 1
        found = _plan(index, drawing).instruction
        if found != edit.instruction:
            return found


def edit_accuracies(
    plans: Sequence[EditPlan], *, fused: Array, following: Array, quality: Array
) -> EditAccuracies:
    """Return the accuracies of some scores.

    Args:
        plans: T edits.
        fused: (T, N + 2) scores of the candidates, a black picture, and the right edit under
            another instruction.
        following: (T, N + 2) scores on instruction following.
        quality: (T, N + 2) scores on visual quality.
    """
    labels = np.array([[(c.following, c.quality) for c in plan.candidates] for plan in plans])
    overall = labels.sum(axis=2)
    alone = [_only(labels, dimension) for dimension in (0, 1)]
    return EditAccuracies(
        pairs=_pair_share(fused, _better(overall)),
        following=_pair_share(following, alone[0]),
        quality=_pair_share(quality, alone[1]),
        order_of_four=_order_share(fused, overall, size=4),
        other_instruction=share_of(following[:, OTHER] < following[:, RIGHT]),
        untouched=share_of(fused[:, RIGHT] > fused[:, UNTOUCHED]),
        black=share_of(fused[:, BLACK] < fused[:, :BLACK].min(axis=1)),
        num_edits=len(plans),
    )


def _better(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (T, N, N): whether the first candidate is labelled higher than the second."""
    return labels[:, :, None] > labels[:, None, :]


def _only(labels: NDArray[np.int64], dimension: int) -> NDArray[np.bool_]:
    """Return the pairs that differ in one dimension and not in the other."""
    other = labels[..., 1 - dimension]
    is_equal: NDArray[np.bool_] = other[:, :, None] == other[:, None, :]
    return _better(labels[..., dimension]) & is_equal


def _pair_share(scores: Array, better: NDArray[np.bool_]) -> Accuracy:
    candidates = scores[:, : better.shape[1]]
    right = better & (candidates[:, :, None] > candidates[:, None, :])
    return grouped_share(right.sum(axis=(1, 2)), better.sum(axis=(1, 2)))


def _order_share(scores: Array, overall: NDArray[np.int64], *, size: int) -> Accuracy:
    right, total = np.zeros(len(scores)), np.zeros(len(scores))
    for members in combinations(range(overall.shape[1]), size):
        wanted, found = overall[:, members], scores[:, members]
        is_strict = np.array([len(set(row)) == size for row in wanted.tolist()])
        ranks = wanted.argsort(axis=1)
        rising = np.diff(np.take_along_axis(found, ranks, axis=1), axis=1) > 0
        right += is_strict & rising.all(axis=1)
        total += is_strict
    return grouped_share(right, total)
