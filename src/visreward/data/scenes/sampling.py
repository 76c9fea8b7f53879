"""Draw scenes at random, enrich them, and take things away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from visreward.core.errors import UnknownNameError, UsageError
from visreward.data.scenes.grammar import (
    BACKGROUNDS,
    COUNTS,
    DECORATIONS,
    LIGHTS,
    MAX_NAMED_COPIES,
    PLAIN_BACKGROUND,
    PLAIN_LIGHT,
    RELATIONS,
    SIZES,
    SPLITS,
    SWAP_KINDS,
    Combination,
    Scene,
    Thing,
    combinations_of,
    split_of,
    swap_candidates,
)
from visreward.data.scenes.layout import has_room_for_extra

T = TypeVar("T")

_COUNT_SHARES = (0.46, 0.22, 0.16, 0.16)
_EXTRA_SHARE = 0.35
_SWAP_SHARES = (0.08, 0.17, 0.14, 0.18, 0.16, 0.13, 0.14)
"""By SWAP_KINDS: what small models learn late (material, size, count) comes more often."""
_ITEM_KINDS = ("triplet", "family", "swap", "richness", "finish", "edit")
_NIGHT_LIGHTS = LIGHTS[2:]
_INDOOR_LIGHTS = (LIGHTS[0], LIGHTS[1], LIGHTS[3])
_GROUND_DECORATIONS = DECORATIONS[3:]


def item_rng(
    *, seed: int, split: str, kind: str, index: int, attempt: int = 0
) -> np.random.Generator:
    """Return the source of randomness of one item, independent of every other item's.

    Args:
        seed: Seed of the world, at least 0.
        split: train, val or test.
        kind: triplet, family, swap, richness, finish or edit.
        index: Number of the item in its split, at least 0.
        attempt: Sub-seed, for items that are drawn again.

    Raises:
        UnknownNameError: if the split is unknown.
        UsageError: if seed or index is negative.
    """
    if split not in SPLITS:
        raise UnknownNameError(f"Unknown split {split!r}. Use one of: {', '.join(SPLITS)}")
    if seed < 0 or index < 0:
        raise UsageError(f"The seed is {seed} and the index is {index}. Give numbers from 0 on.")
    entropy = [seed, SPLITS.index(split), _ITEM_KINDS.index(kind), index, attempt]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def sample_swap_kind(rng: np.random.Generator) -> str:
    """Return a random swap kind, deterministic given `rng`."""
    return SWAP_KINDS[int(rng.choice(len(SWAP_KINDS), p=_SWAP_SHARES))]


def sample_swappable(rng: np.random.Generator, *, split: str, kinds: Sequence[str]) -> Scene:
    """Return a random plain scene that has a neighbour of each of the swap kinds.

    Deterministic given `rng`; see `sample_scene`.

    Raises:
        UnknownNameError: if the split or a kind is unknown.
    """
    needs_two = "relation" in kinds or "binding" in kinds
    while True:
        num_named = 2 if needs_two else int(rng.integers(1, 3))
        scene = sample_scene(rng, split=split, num_named=num_named)
        if all(swap_candidates(scene, kind) for kind in kinds):
            return scene


def sample_scene(rng: np.random.Generator, *, split: str, num_named: int) -> Scene:
    """Return a random plain scene of a split, deterministic given `rng`.

    Args:
        rng: Source of randomness.
        split: train, val or test; all combinations of the scene belong to it.
        num_named: Number of named things, 1 or 2.

    Raises:
        UnknownNameError: if the split is unknown.
        UsageError: if `num_named` is neither 1 nor 2.
    """
    if num_named not in (1, 2):
        raise UsageError(f"num_named is {num_named}. Give 1 or 2.")
    combinations = combinations_of(split)
    things: list[Thing] = []
    while len(things) < num_named:
        combination = _pick(rng, combinations)
        looks = {(thing.shape, thing.colour) for thing in things}
        if (combination.shape, combination.colour) not in looks:
            things.append(_thing(rng, combination))
    if sum(thing.count for thing in things) > MAX_NAMED_COPIES:
        limit = MAX_NAMED_COPIES - things[0].count
        things[1] = replace(things[1], count=int(rng.integers(1, limit + 1)))
    return Scene(
        things=tuple(things),
        relation=_pick(rng, RELATIONS) if num_named == 2 else None,
        background=PLAIN_BACKGROUND,
        light=PLAIN_LIGHT,
        decorations=(),
        rich=False,
        layout=int(rng.integers(2**31)),
    )


def enrich(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a plain scene with scenery, light, decorations and perhaps an extra thing.

    The named things and the layout seed stay. An extra shares neither shape nor colour with a
    named thing, so that every prompt of the plain scene stays true. Deterministic given `rng`.
    """
    background = _pick(rng, BACKGROUNDS)
    light = _pick(rng, lights_of(background))
    allowed = decorations_of(background, light)
    chosen = rng.permutation(len(allowed))[: int(rng.integers(1, 3))]
    extra = _extra(scene, rng) if rng.random() < _EXTRA_SHARE else ()
    rich = replace(
        scene,
        things=scene.things + extra,
        background=background,
        light=light,
        decorations=tuple(allowed[index] for index in sorted(chosen)),
        rich=True,
    )
    if extra and not has_room_for_extra(rich):
        return replace(rich, things=scene.things)
    return rich


def drop_thing(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return the scene without one of its two named things; deterministic given `rng`.

    Raises:
        UsageError: if the scene names one thing only.
    """
    if scene.relation is None:
        raise UsageError(
            f"The scene names {len(scene.named)} thing, and none can be missing. "
            "Draw a scene with two named things."
        )
    gone = int(rng.integers(2))
    things = tuple(thing for index, thing in enumerate(scene.things) if index != gone)
    return replace(scene, things=things, relation=None)


def lights_of(background: str) -> tuple[str, ...]:
    """Return the lights that suit a background."""
    if background == "night sky":
        return _NIGHT_LIGHTS
    return _INDOOR_LIGHTS if background == "studio" else LIGHTS


def decorations_of(background: str, light: str) -> tuple[str, ...]:
    """Return the decorations that suit a background and a light."""
    if background == "studio":
        return _GROUND_DECORATIONS
    is_dark = light in _NIGHT_LIGHTS
    sky = ("stars",) if background == "night sky" else ("clouds", "stars" if is_dark else "birds")
    ground = (
        ("pebbles", "leaves") if background in ("desert", "snow field") else _GROUND_DECORATIONS
    )
    return (*sky, *ground)


def _thing(rng: np.random.Generator, combination: Combination) -> Thing:
    count = int(rng.choice(COUNTS, p=_COUNT_SHARES))
    size = _pick(rng, SIZES)
    return Thing(combination.shape, combination.colour, size, combination.material, count)


def _extra(scene: Scene, rng: np.random.Generator) -> tuple[Thing, ...]:
    shapes = {thing.shape for thing in scene.things}
    colours = {thing.colour for thing in scene.things}
    fitting = [
        c
        for c in combinations_of(split_of(scene.things[0].combination))
        if c.shape not in shapes and c.colour not in colours
    ]
    if not fitting:
        return ()
    chosen = _pick(rng, fitting)
    return (Thing(chosen.shape, chosen.colour, "small", chosen.material),)


def _pick(rng: np.random.Generator, values: Sequence[T]) -> T:
    return values[int(rng.integers(len(values)))]
