"""Caption families and evaluation pairs."""

from __future__ import annotations

import numpy as np
import pytest

from visreward.core.errors import UnknownNameError
from visreward.data.scenes.families import (
    make_caption_family,
    make_richness_pair,
    make_swap_pair,
    plan_caption_family,
)
from visreward.data.scenes.grammar import SPLITS, SWAP_KINDS, Scene, split_of, swap_candidates


def kind_between(first: Scene, second: Scene) -> str:
    """Return the swap kind that leads from one scene to the other."""
    return next(kind for kind in SWAP_KINDS if second in swap_candidates(first, kind))


def test_make_caption_family_has_four_images_with_captions() -> None:
    family = make_caption_family(seed=1, split="train", index=0, size=64)
    assert len(family) == 4
    for image, caption in family:
        assert image.shape == (64, 64, 3)
        assert caption
    repeated = make_caption_family(seed=1, split="train", index=0, size=64)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(family, repeated, strict=True))


def test_plan_caption_family_members_are_one_swap_of_different_kinds_apart() -> None:
    kinds = set()
    for index in range(150):
        plain, neighbour, rich, rich_neighbour = (
            member.scene for member in plan_caption_family(seed=1, split="train", index=index)
        )
        assert (plain.rich, neighbour.rich) == (False, False)
        assert (rich.rich, rich_neighbour.rich) == (True, True)
        assert rich.named == plain.named
        first, second = kind_between(plain, neighbour), kind_between(rich, rich_neighbour)
        assert first != second
        kinds |= {first, second}
    assert kinds == set(SWAP_KINDS)


def test_plan_caption_family_captions_tell_all_neighbours_apart() -> None:
    num_basic = 0
    for index in range(200):
        captions = [m.caption for m in plan_caption_family(seed=1, split="train", index=index)]
        assert len({captions[0], captions[1], captions[3]}) == 3
        assert captions[2] not in (captions[1], captions[3])
        num_basic += captions[2] == captions[0]
    # One rich image in four keeps the basic prompt; standard error 0.03.
    assert num_basic / 200 == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("split", SPLITS)
def test_plan_caption_family_stays_in_its_split(split: str) -> None:
    for index in range(25):
        for scene, _ in plan_caption_family(seed=1, split=split, index=index):
            assert {split_of(thing.combination) for thing in scene.things} == {split}


@pytest.mark.parametrize("kind", SWAP_KINDS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_make_swap_pair_images_differ_and_repeat(kind: str, split: str) -> None:
    first = make_swap_pair(seed=2, split=split, index=5, kind=kind, size=64)
    again = make_swap_pair(seed=2, split=split, index=5, kind=kind, size=64)
    assert np.array_equal(first.right_image, again.right_image)
    assert first.prompt == again.prompt
    gap = np.abs(first.right_image.astype(int) - first.swapped_image.astype(int)).max(axis=2)
    assert (gap > 30).mean() > 0.005


def test_make_swap_pair_prompt_names_the_attribute() -> None:
    for index in range(20):
        pair = make_swap_pair(seed=2, split="train", index=index, kind="size", size=64)
        assert "small" in pair.prompt or "large" in pair.prompt


def test_make_swap_pair_unknown_kind_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Unknown swap kind 'mood'"):
        make_swap_pair(seed=2, split="train", index=0, kind="mood", size=64)


def test_make_richness_pair_rich_one_has_more_detail() -> None:
    for index in range(10):
        pair = make_richness_pair(seed=2, split="test", index=index, size=64)
        plain, rich = (
            np.abs(np.diff(image.astype(float), axis=0)).mean()
            for image in (pair.plain_image, pair.rich_image)
        )
        assert rich > plain
        assert pair.prompt
