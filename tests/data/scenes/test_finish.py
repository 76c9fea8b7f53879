"""The photographic finish: one seed is one finish, and it leaves the picture's content."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from visreward.data.scenes.finish import finish
from visreward.data.scenes.triplets import make_triplet, plan_triplet, render_triplet

SEEDS = range(40)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return make_triplet(seed=5, split="train", index=0, size=128).refined_image


def correlation(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.corrcoef(left.ravel().astype(float), right.ravel().astype(float))[0, 1])


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX))


def test_finish_is_a_picture_and_leaves_its_input(picture: np.ndarray) -> None:
    before = picture.copy()
    result = finish(picture, 3)
    assert result.shape == picture.shape
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(picture, before)


def test_finish_same_seed_same_bytes_other_seed_other_bytes(picture: np.ndarray) -> None:
    np.testing.assert_array_equal(finish(picture, 3), finish(picture, 3))
    assert not np.array_equal(finish(picture, 3), finish(picture, 4))


def test_finish_changes_clearly_and_keeps_the_content(picture: np.ndarray) -> None:
    moved = [np.abs(finish(picture, seed).astype(int) - picture).mean() for seed in SEEDS]
    assert min(moved) > 3
    kept = [correlation(shrunk(finish(picture, seed), 16), shrunk(picture, 16)) for seed in SEEDS]
    assert np.median(kept) > 0.7


def test_finish_some_seeds_are_grey_and_most_are_not(picture: np.ndarray) -> None:
    spread = np.array([np.ptp(finish(picture, seed), axis=2).mean() for seed in range(150)])
    assert 0 < (spread < 1).mean() < 0.2


def test_finish_at_another_size_is_the_same_finish(picture: np.ndarray) -> None:
    small, large = (
        render_triplet(plan_triplet(seed=5, split="train", index=0, finish_share=1), size=size)
        for size in (96, 192)
    )
    alike = correlation(shrunk(small.winning_image, 24), shrunk(large.winning_image, 24))
    assert alike > 0.8


def test_triplet_share_of_finishes_changes_nothing_else() -> None:
    plans = [
        [plan_triplet(seed=7, split="train", index=i, finish_share=share) for i in range(60)]
        for share in (0.0, 0.5, 1.0)
    ]
    finished = [[plan.finish_seed is not None for plan in row] for row in plans]
    assert not any(finished[0])
    assert all(finished[2])
    assert 15 < sum(finished[1]) < 45
    for plain, half, full in zip(*plans, strict=True):
        assert plain.basic_prompt == half.basic_prompt == full.basic_prompt
        assert plain.flaw_seed == full.flaw_seed
        assert half.finish_seed in (None, full.finish_seed)


def test_triplet_images_share_one_finish_below_the_flaws() -> None:
    plans = (
        plan_triplet(seed=7, split="train", index=index, finish_share=1.0) for index in range(200)
    )
    plan = next(plan for plan in plans if plan.loss_kind == "colour")
    finished = render_triplet(plan, size=64)
    bare = render_triplet(replace(plan, finish_seed=None), size=64)
    assert not np.array_equal(finished.winning_image, bare.winning_image)
    # A colour swap moves nothing, so that only the recoloured things tell the two apart.
    same = (finished.losing_image == finished.winning_image).all(axis=2).mean()
    assert 0.3 < same < 1
