"""Triplets: why the losing image loses, votes, and independence of the items."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from visreward.core.errors import UnknownNameError, UsageError
from visreward.data.scenes.flaws import FLAWS
from visreward.data.scenes.grammar import SPLITS, SWAP_KINDS, split_of, swap_candidates
from visreward.data.scenes.triplets import TripletPlan, make_triplet, plan_triplet, render_triplet

NUM_PLANS = 400


@pytest.fixture(scope="module")
def plans() -> list[TripletPlan]:
    """Return the first triplets of a world, without pixels."""
    return [plan_triplet(seed=3, split="train", index=index) for index in range(NUM_PLANS)]


def test_make_triplet_has_three_different_images_of_the_size() -> None:
    triplet = make_triplet(seed=3, split="val", index=0, size=64)
    images = (triplet.losing_image, triplet.winning_image, triplet.refined_image)
    for image in images:
        assert image.shape == (64, 64, 3)
        assert image.dtype == np.uint8
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images[1], images[2])


def test_make_triplet_twice_is_equal_in_every_field() -> None:
    first, second = (make_triplet(seed=3, split="test", index=17, size=64) for _ in range(2))
    assert np.array_equal(first.losing_image, second.losing_image)
    assert np.array_equal(first.refined_image, second.refined_image)
    assert plan_triplet(seed=3, split="test", index=17) == plan_triplet(
        seed=3, split="test", index=17
    )


def test_plan_triplet_item_does_not_depend_on_the_order(plans: list[TripletPlan]) -> None:
    backwards = [plan_triplet(seed=3, split="train", index=index) for index in range(30)[::-1]]
    assert backwards[::-1] == plans[:30]


def test_plan_triplet_other_seed_split_or_index_gives_another_item() -> None:
    keys = [(3, "train", 0), (4, "train", 0), (3, "val", 0), (3, "test", 0), (3, "train", 1)]
    scenes = {plan_triplet(seed=s, split=p, index=i).winning_scene for s, p, i in keys}
    assert len(scenes) == len(keys)


def test_plan_triplet_shares_of_losses_are_as_stated(plans: list[TripletPlan]) -> None:
    kinds = Counter(
        "flaw" if plan.flaws else "missing" if plan.loss_kind == "missing" else "wrong"
        for plan in plans
    )
    # Standard error of a share of 0.45 among 400: 0.025.
    assert kinds["wrong"] / NUM_PLANS == pytest.approx(0.45, abs=0.08)
    assert kinds["flaw"] / NUM_PLANS == pytest.approx(0.45, abs=0.08)
    assert kinds["missing"] / NUM_PLANS == pytest.approx(0.10, abs=0.05)
    seen = {kind for plan in plans for kind in plan.loss_kind.split("+")}
    assert seen == {*SWAP_KINDS, *FLAWS, "missing"}


def test_plan_triplet_loser_differs_as_its_kind_says(plans: list[TripletPlan]) -> None:
    for plan in plans:
        if plan.flaws:
            assert plan.loss_kind == "+".join(flaw.kind for flaw in plan.flaws)
            assert plan.severity == max(flaw.severity for flaw in plan.flaws)
            assert plan.losing_scene in (plan.winning_scene, plan.refined_scene)
            assert plan.losing_prompt == plan.basic_prompt
        elif plan.loss_kind == "missing":
            assert len(plan.losing_scene.things) == 1
            assert plan.losing_scene.things[0] in plan.winning_scene.things
            assert plan.losing_prompt != plan.basic_prompt
            assert plan.severity is None
        else:
            assert plan.losing_scene in swap_candidates(plan.winning_scene, plan.loss_kind)
            assert plan.losing_prompt != plan.basic_prompt
            assert plan.severity is None


def test_plan_triplet_rich_losers_have_a_clear_flaw(plans: list[TripletPlan]) -> None:
    rich = [plan for plan in plans if plan.losing_scene.rich]
    assert len(rich) > 30
    assert all(flaw.severity >= 3 for plan in rich for flaw in plan.flaws)
    assert all(plan.flaws for plan in rich)


def test_plan_triplet_winner_is_plain_and_refined_is_rich_with_the_same_things(
    plans: list[TripletPlan],
) -> None:
    for plan in plans:
        assert not plan.winning_scene.rich
        assert plan.refined_scene.rich
        assert plan.refined_scene.named == plan.winning_scene.named
        assert plan.refined_prompt != plan.basic_prompt


def test_plan_triplet_votes_are_7_to_15_with_a_majority_for_the_winner(
    plans: list[TripletPlan],
) -> None:
    for plan in plans:
        assert 7 <= sum(plan.votes) <= 15
        assert plan.votes[0] > plan.votes[1]
        assert 0.5 < plan.confidence < 1
    assert {sum(plan.votes) for plan in plans} == set(range(7, 16))
    assert any(plan.votes[1] > 0 for plan in plans)


@pytest.mark.parametrize("split", SPLITS)
def test_plan_triplet_all_three_scenes_stay_in_the_split(split: str) -> None:
    for index in range(40):
        plan = plan_triplet(seed=9, split=split, index=index)
        for scene in (plan.losing_scene, plan.winning_scene, plan.refined_scene):
            assert {split_of(thing.combination) for thing in scene.things} == {split}


def test_render_triplet_flawed_loser_is_near_its_scene_but_not_equal(
    plans: list[TripletPlan],
) -> None:
    plan = next(p for p in plans if p.severity == 1 and p.loss_kind == "noise")
    triplet = render_triplet(plan, size=64)
    gap = np.abs(triplet.losing_image.astype(float) - triplet.winning_image.astype(float))
    assert 0.5 < gap.mean() < 10


def test_plan_triplet_unknown_split_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Unknown split 'dev'"):
        plan_triplet(seed=0, split="dev", index=0)


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1)])
def test_plan_triplet_negative_numbers_are_refused(seed: int, index: int) -> None:
    with pytest.raises(UsageError, match="Give numbers from 0 on"):
        plan_triplet(seed=seed, split="train", index=index)
