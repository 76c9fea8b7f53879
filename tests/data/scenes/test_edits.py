"""Edits with a known right answer."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from visreward.core.errors import UnknownNameError, UsageError
from visreward.data.scenes.edit_states import EDIT_KINDS, draw_states
from visreward.data.scenes.edits import (
    CANDIDATE_KINDS,
    EditPlan,
    plan_edit,
    render_edit,
    render_state,
)
from visreward.data.scenes.grammar import split_of
from visreward.data.scenes.render import render

PLANS = [plan_edit(seed=4, split="train", index=index) for index in range(120)]


def first(kind: str) -> EditPlan:
    return next(plan for plan in PLANS if plan.kind == kind)


def test_every_kind_comes_about_equally_often() -> None:
    counts = Counter(plan_edit(seed=1, split="train", index=i).kind for i in range(600))
    assert set(counts) == set(EDIT_KINDS)
    assert min(counts.values()) > 60


def test_edits_are_deterministic_and_independent_of_their_neighbours() -> None:
    assert plan_edit(seed=4, split="train", index=7) == PLANS[7]
    assert plan_edit(seed=5, split="train", index=7) != PLANS[7]
    assert plan_edit(seed=4, split="test", index=7) != PLANS[7]
    one, other = (render_edit(PLANS[7], size=64) for _ in "ab")
    assert all(np.array_equal(a, b) for a, b in zip(one.images, other.images, strict=True))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_all_things_belong_to_the_split(split: str) -> None:
    for index in range(40):
        plan = plan_edit(seed=3, split=split, index=index)
        for state in (plan.source, *(candidate.state for candidate in plan.candidates)):
            named = state.scene.named
            assert {split_of(thing.combination) for thing in named} == {split}


def test_scores_are_one_to_four_and_the_right_one_is_best() -> None:
    for plan in PLANS:
        by_kind = {candidate.kind: candidate for candidate in plan.candidates}
        assert tuple(by_kind) == CANDIDATE_KINDS
        right = by_kind["right"]
        assert (right.following, right.quality) == (4, 4)
        for candidate in plan.candidates:
            assert 1 <= candidate.following <= 4
            assert 1 <= candidate.quality <= 4
            assert candidate.kind == "right" or candidate.overall < right.overall
        assert by_kind["untouched"].following == by_kind["wrong object"].following == 1
        assert by_kind["flawed"].state == right.state
        assert by_kind["flawed"].quality < 4


@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_pictures_are_what_the_kinds_say(kind: str) -> None:
    edit = render_edit(first(kind), size=64)
    by_kind = dict(zip(CANDIDATE_KINDS, edit.images, strict=True))
    assert np.array_equal(by_kind["untouched"], edit.source_image)
    distinct = {image.tobytes() for image in edit.images}
    assert len(distinct) == len(CANDIDATE_KINDS)
    for image in edit.images:
        assert image.shape == (64, 64, 3)
        assert image.dtype == np.uint8


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("recolour", ("make", "change the colour", "turn")),
        ("replace", ("replace", "in the place of", "swap")),
        ("add", ("add", "put")),
        ("remove", ("remove", "away", "erase")),
        ("move", ("move", "put")),
        ("restyle", ("move the scene", "change the background")),
    ],
)
def test_instructions_name_what_changes(kind: str, words: tuple[str, ...]) -> None:
    rng = np.random.default_rng(3)
    for plan in (plan for plan in PLANS if plan.kind == kind):
        assert any(word in plan.instruction for word in words)
        assert "{" not in plan.instruction
        before, after = plan.source.scene, plan.candidates[0].state.scene
        if kind == "recolour":
            [new] = [a.colour for b, a in zip(before.named, after.named, strict=True) if a != b]
            assert new in plan.instruction
        if kind == "restyle":
            assert after.light.removeprefix("a ") in plan.instruction
    assert draw_states(rng, split="train", kind=kind).kind == kind


def test_removed_thing_is_gone_and_the_other_stays_where_it_was() -> None:
    plan = first("remove")
    source, gone = (render(plan.source.scene, 64, hidden=hidden) for hidden in ((), (0, 1)))
    right = render_state(plan.candidates[0].state, 64)
    [hidden] = plan.candidates[0].state.hidden
    other = render(plan.source.scene, 64, hidden=(1 - hidden,))
    changed = (right != source).any(axis=2)
    assert changed.any()
    # Where only the removed thing stood, the empty scene shows; elsewhere nothing moved.
    assert np.array_equal(right[changed], gone[changed]) or plan.source.scene.rich
    assert not np.array_equal(right, other)


def test_half_removed_thing_shines_through() -> None:
    plan = first("remove")
    by_kind = {candidate.kind: candidate for candidate in plan.candidates}
    half, right = (
        render_state(by_kind[kind].state, 64).astype(int) for kind in ("half done", "right")
    )
    source = render_state(plan.source, 64).astype(int)
    assert np.abs(half - (source + right) / 2).max() <= 0.5
    assert by_kind["half done"].quality == 3


def test_unknown_kind_split_and_numbers_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown edit 'melt'.*recolour"):
        draw_states(np.random.default_rng(0), split="train", kind="melt")
    with pytest.raises(UnknownNameError, match="Unknown split"):
        plan_edit(seed=0, split="all", index=0)
    with pytest.raises(UsageError, match="seed is -1"):
        plan_edit(seed=-1, split="train", index=0)
