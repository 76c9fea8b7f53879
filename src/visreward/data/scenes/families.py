"""Captioned images in families of near neighbours, and pairs for evaluation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visreward.data.scenes.grammar import Scene, swap_attribute
from visreward.data.scenes.language import basic_prompt, refined_prompt, sample_mentions
from visreward.data.scenes.layout import has_room_for_extra
from visreward.data.scenes.render import render
from visreward.data.scenes.sampling import (
    enrich,
    item_rng,
    sample_scene,
    sample_swap_kind,
    sample_swappable,
)

Pixels = NDArray[np.uint8]

FAMILY_SIZE = 4
_BASIC_FOR_RICH_SHARE = 0.25


class CaptionedScene(NamedTuple):
    """A scene and a prompt that is true of it."""

    scene: Scene
    caption: str


class CaptionedImage(NamedTuple):
    """An image, (size, size, 3) uint8, and a prompt that is true of it."""

    image: Pixels
    caption: str


class SwapPair(NamedTuple):
    """Two plain images that differ in one attribute, and a prompt that fits the first only."""

    right_image: Pixels
    swapped_image: Pixels
    prompt: str


class RichnessPair(NamedTuple):
    """A plain and a rich image that hold what the basic prompt asks for."""

    plain_image: Pixels
    rich_image: Pixels
    prompt: str


def make_caption_family(
    *, seed: int, split: str, index: int, size: int
) -> tuple[CaptionedImage, ...]:
    """Return four captioned images of one family; see `plan_caption_family`."""
    plan = plan_caption_family(seed=seed, split=split, index=index)
    return tuple(CaptionedImage(render(scene, size), caption) for scene, caption in plan)


def plan_caption_family(*, seed: int, split: str, index: int) -> tuple[CaptionedScene, ...]:
    """Return the scenes and captions of one family; deterministic.

    The four are: a plain scene with its basic prompt; a neighbour one swap away with the same
    words but one; the rich version of the first with its refined prompt (one in four times the
    basic one); a neighbour of the rich one, another kind of swap away, with its refined prompt.

    Args:
        seed: Seed of the world, at least 0.
        split: train, val or test.
        index: Number of the family in its split, at least 0.

    Raises:
        UnknownNameError: if the split is unknown.
        UsageError: if seed or index is negative.
    """
    rng = item_rng(seed=seed, split=split, kind="family", index=index)
    kinds = (sample_swap_kind(rng), sample_swap_kind(rng))
    while kinds[0] == kinds[1]:
        kinds = (kinds[0], sample_swap_kind(rng))
    mentions = sample_mentions(rng, must=kinds)
    plain, rich, rich_neighbour = _draw_members(rng, split, kinds)
    neighbour = swap_attribute(plain, kinds[0], rng)
    phrasing, refined_phrasing = (int(n) for n in rng.integers(2**31, size=2))
    basic = [
        basic_prompt(scene, mentions, np.random.default_rng(phrasing))
        for scene in (plain, neighbour)
    ]
    refined = [
        refined_prompt(scene, np.random.default_rng(refined_phrasing))
        for scene in (rich, rich_neighbour)
    ]
    is_basic = rng.random() < _BASIC_FOR_RICH_SHARE
    return (
        CaptionedScene(plain, basic[0]),
        CaptionedScene(neighbour, basic[1]),
        CaptionedScene(rich, basic[0] if is_basic else refined[0]),
        CaptionedScene(rich_neighbour, refined[1]),
    )


def make_swap_pair(*, seed: int, split: str, index: int, kind: str, size: int) -> SwapPair:
    """Return a right image, its neighbour one swap away, and a prompt that tells them apart.

    Deterministic. The prompt names the swapped attribute.

    Args:
        seed: Seed of the world, at least 0.
        split: train, val or test.
        index: Number of the pair, at least 0.
        kind: One of the grammar's SWAP_KINDS.
        size: Side of the images in pixels, 64 to 512.

    Raises:
        UnknownNameError: if the split or the kind is unknown.
        UsageError: if seed or index is negative or the size is outside 64 to 512.
    """
    rng = item_rng(seed=seed, split=split, kind="swap", index=index)
    mentions = sample_mentions(rng, must=(kind,))
    scene = sample_swappable(rng, split=split, kinds=(kind,))
    swapped = swap_attribute(scene, kind, rng)
    return SwapPair(render(scene, size), render(swapped, size), basic_prompt(scene, mentions, rng))


def make_richness_pair(*, seed: int, split: str, index: int, size: int) -> RichnessPair:
    """Return a plain and a rich image of the same named things, and their basic prompt.

    Deterministic; arguments and errors as in `make_swap_pair`.
    """
    rng = item_rng(seed=seed, split=split, kind="richness", index=index)
    mentions = sample_mentions(rng)
    plain = sample_scene(rng, split=split, num_named=int(rng.integers(1, 3)))
    rich = enrich(plain, rng)
    return RichnessPair(render(plain, size), render(rich, size), basic_prompt(plain, mentions, rng))


def _draw_members(
    rng: np.random.Generator, split: str, kinds: tuple[str, str]
) -> tuple[Scene, Scene, Scene]:
    """Return a plain scene, its rich version and a neighbour of that, with room for all things."""
    while True:
        plain = sample_swappable(rng, split=split, kinds=kinds)
        rich = enrich(plain, rng)
        neighbour = swap_attribute(rich, kinds[1], rng)
        if rich.extra is None or has_room_for_extra(neighbour):
            return plain, rich, neighbour
