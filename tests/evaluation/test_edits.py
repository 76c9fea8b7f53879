"""The table of edits: perfect, reversed and hand-made scores have known accuracies."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from visreward.data.scenes.edits import CANDIDATE_KINDS, EditPlan, plan_edit
from visreward.evaluation.edits import BLACK, OTHER, RIGHT, edit_accuracies, edit_row, edit_table
from visreward.evaluation.scenes import Drawing
from visreward.models.base import RewardModel

DRAWING = Drawing(num=40, seed=7, size=64)


@pytest.fixture(scope="module")
def plans() -> list[EditPlan]:
    return [plan_edit(seed=7, split="test", index=index) for index in range(DRAWING.num)]


def labels(plans: list[EditPlan]) -> NDArray[np.float64]:
    """Return (T, N + 2, 2) what the right scores are; black and the other prompt get 0."""
    known = [[(c.following, c.quality) for c in plan.candidates] for plan in plans]
    return np.pad(np.array(known, dtype=np.float64), ((0, 0), (0, 2), (0, 0)))


def test_edit_accuracies_of_the_labels_themselves_are_all_one(plans: list[EditPlan]) -> None:
    known = labels(plans)
    found = edit_accuracies(
        plans, fused=known.mean(axis=2), following=known[..., 0], quality=known[..., 1]
    )
    shares = (
        *(found.pairs, found.following, found.quality, found.order_of_four),
        *(found.other_instruction, found.untouched, found.black),
    )
    assert [share.value for share in shares] == [1.0] * 7
    assert found.num_edits == 40


def test_edit_accuracies_of_reversed_and_of_equal_scores_are_all_zero(
    plans: list[EditPlan],
) -> None:
    known = labels(plans)
    for scores in (-known, np.zeros_like(known)):
        found = edit_accuracies(
            plans, fused=scores.mean(axis=2), following=scores[..., 0], quality=scores[..., 1]
        )
        assert found.pairs.value == found.following.value == found.quality.value == 0
        assert found.order_of_four.value == found.untouched.value == found.black.value == 0
        assert found.other_instruction.value == 0


def test_edit_accuracies_count_pairs_by_hand(plans: list[EditPlan]) -> None:
    plan = plans[0]
    known = labels([plan])
    swapped = known.copy()
    half, wrong = CANDIDATE_KINDS.index("half done"), CANDIDATE_KINDS.index("wrong object")
    swapped[0, [half, wrong]] = swapped[0, [wrong, half]]
    found = edit_accuracies(
        [plan], fused=swapped.mean(axis=2), following=swapped[..., 0], quality=swapped[..., 1]
    )
    pairs = [
        (one, other)
        for one in plan.candidates
        for other in plan.candidates
        if one.quality == other.quality and one.following > other.following
    ]
    # "half done" against "wrong object" is turned round, and now ties with "untouched".
    assert found.following.value == pytest.approx(1 - 2 / len(pairs))


def test_edit_row_holds_what_the_columns_say() -> None:
    row = edit_row(3, drawing=DRAWING)
    plan = plan_edit(seed=7, split="test", index=3)
    assert len(row.pictures) == len(plan.candidates) + 2
    assert row.pictures[BLACK].max() == 0
    assert (row.pictures[OTHER] == row.pictures[RIGHT]).all()
    assert row.source is not None
    untouched = row.pictures[CANDIDATE_KINDS.index("untouched")]
    assert (untouched == row.source).all()
    assert row.own_prompts.keys() == {OTHER}
    assert row.own_prompts[OTHER] != row.prompt == plan.instruction


def test_edit_table_scores_with_sources_and_prompts(edit_oracle: RewardModel) -> None:
    table = edit_table([edit_oracle], DRAWING)["oracle"]
    # It knows how far a picture is from its source, and how long the instruction is.
    assert table.untouched.value == 1.0
    assert 0 < table.other_instruction.value < 1
