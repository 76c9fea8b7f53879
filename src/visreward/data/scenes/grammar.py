"""The grammar of scenes: vocabulary, things, scenes, splits and one-attribute swaps.

Splits hold out whole combinations of colour, shape and material. Combinations are held out in
blocks of 2 colours x 2 shapes x 2 materials, so that a colour, a shape, a material and even an
exchange of colours between two things (binding) can be swapped without leaving the split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, TypeVar

from visreward.core.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy as np

SHAPES = ("ball", "cube", "cylinder", "cone", "ring", "star")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
SIZES = ("small", "large")
MATERIALS = ("rubber", "metal", "glass", "wooden")
COUNTS = (1, 2, 3, 4)
RELATIONS = ("left of", "right of", "above", "below")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
PLAIN_BACKGROUND = "plain wall"
BACKGROUNDS = ("meadow", "desert", "beach", "snow field", "night sky", "studio")
PLAIN_LIGHT = "even light"
LIGHTS = ("soft daylight", "warm sunset light", "cold moonlight", "a bright spotlight")
DECORATIONS = ("clouds", "birds", "stars", "flowers", "pebbles", "leaves")
SPLITS = ("train", "val", "test")
SWAP_KINDS = ("colour", "size", "shape", "material", "count", "relation", "binding")

MAX_NAMED_COPIES = 5
"""Copies of two named things together; more would not stay readable at 64 pixels."""

_BLOCK_SALT = 297
"""The first salt with which the test split has every shape and material and 6 colours."""
_TEST_BLOCKS, _VAL_BLOCKS = 3, 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class Combination:
    """A colour, a shape and a material: the unit that splits hold out."""

    colour: str
    shape: str
    material: str


@dataclass(frozen=True, slots=True)
class Thing:
    """One or more identical objects that stand together.

    Attributes:
        count: Number of identical copies, 1 to 4.
    """

    shape: str
    colour: str
    size: str
    material: str
    count: int = 1

    def __post_init__(self) -> None:
        _check("shape", self.shape, SHAPES)
        _check("colour", self.colour, COLOURS)
        _check("size", self.size, SIZES)
        _check("material", self.material, MATERIALS)
        _check("count", self.count, COUNTS)

    @property
    def combination(self) -> Combination:
        """Return what the splits look at."""
        return Combination(self.colour, self.shape, self.material)


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture to be: what it holds and how it is set.

    Attributes:
        things: One to three things. The first one, or the first two where `relation` is given,
            are named by prompts; what follows is an extra that only refined prompts name.
        relation: Where things[0] is, seen from things[1], on the screen; None for one named thing.
        background: One of BACKGROUNDS, or PLAIN_BACKGROUND for plain scenes.
        light: One of LIGHTS, or PLAIN_LIGHT for plain scenes.
        decorations: Small things of the scenery; empty for plain scenes.
        rich: Whether the picture has scenery, light and shadows.
        layout: Seed, at least 0, of positions and textures.
    """

    things: tuple[Thing, ...]
    relation: str | None
    background: str
    light: str
    decorations: tuple[str, ...]
    rich: bool
    layout: int

    def __post_init__(self) -> None:
        if self.relation is not None:
            _check("relation", self.relation, RELATIONS)
        _check("background", self.background, BACKGROUNDS if self.rich else (PLAIN_BACKGROUND,))
        _check("light", self.light, LIGHTS if self.rich else (PLAIN_LIGHT,))
        for decoration in self.decorations:
            _check("decoration", decoration, DECORATIONS if self.rich else ())
        self._check_things()

    def _check_things(self) -> None:
        named = 1 if self.relation is None else 2
        if not named <= len(self.things) <= named + 1:
            raise UsageError(
                f"A scene with relation {self.relation!r} has {len(self.things)} thing(s). "
                f"Give {named} named thing(s) and at most one extra."
            )
        if named == 2 and sum(thing.count for thing in self.named) > MAX_NAMED_COPIES:
            raise UsageError(
                f"The named things have {sum(thing.count for thing in self.named)} copies. "
                f"Keep the sum of two counts at or below {MAX_NAMED_COPIES}."
            )
        looks = [(thing.shape, thing.colour) for thing in self.things]
        if len(set(looks)) < len(looks):
            raise UsageError(
                f"Two things share shape and colour: {looks}. "
                "Give each thing a shape and colour of its own."
            )

    @property
    def named(self) -> tuple[Thing, ...]:
        """Return the one or two things that every prompt names."""
        return self.things[: 1 if self.relation is None else 2]

    @property
    def extra(self) -> Thing | None:
        """Return the thing that only a refined prompt names, or None."""
        return self.things[-1] if len(self.things) > len(self.named) else None


def split_of(combination: Combination) -> str:
    """Return the split, train, val or test, that a combination belongs to."""
    return _split_table()[combination]


@cache
def combinations_of(split: str) -> tuple[Combination, ...]:
    """Return the combinations of one split, in a fixed order.

    Raises:
        UnknownNameError: if the split is not train, val or test.
    """
    _check("split", split, SPLITS)
    return tuple(sorted(c for c, name in _split_table().items() if name == split))


def swap_candidates(scene: Scene, kind: str) -> tuple[Scene, ...]:
    """Return every scene that differs from `scene` in exactly one attribute.

    Only named things change, and all combinations stay in the split of the scene.

    Args:
        scene: The scene to change.
        kind: One of SWAP_KINDS; binding exchanges the colours, or the shapes, of the two named
            things.

    Returns:
        The neighbours in a fixed order; empty where the scene has none of this kind.

    Raises:
        UnknownNameError: if the kind is unknown.
    """
    _check("swap kind", kind, SWAP_KINDS)
    if kind == "relation":
        if scene.relation is None:
            return ()
        return tuple(replace(scene, relation=r) for r in RELATIONS if r != scene.relation)
    changed = _bindings(scene) if kind == "binding" else _one_changed(scene, kind)
    split = split_of(scene.things[0].combination)
    return tuple(
        replace(scene, things=things) for things in changed if _is_allowed(scene, things, split)
    )


def swap_attribute(scene: Scene, kind: str, rng: np.random.Generator) -> Scene:
    """Return a scene that differs in exactly one attribute; deterministic given `rng`.

    A relation is turned into its opposite in two cases of three.

    Raises:
        UnknownNameError: if the kind is unknown.
        UsageError: if the scene has no neighbour of this kind.
    """
    candidates = swap_candidates(scene, kind)
    if not candidates:
        raise UsageError(
            f"The scene has no swap of kind {kind!r} within its split: {scene.things}. "
            "Ask swap_candidates first, or draw another scene."
        )
    if kind == "relation" and scene.relation is not None and rng.random() < 2 / 3:
        return replace(scene, relation=OPPOSITE[scene.relation])
    return candidates[int(rng.integers(len(candidates)))]


def _one_changed(scene: Scene, kind: str) -> Iterator[tuple[Thing, ...]]:
    values: dict[str, Sequence[str | int]] = {
        "colour": COLOURS,
        "size": SIZES,
        "shape": SHAPES,
        "material": MATERIALS,
        "count": COUNTS,
    }
    for index, value in product(range(len(scene.named)), values[kind]):
        thing = scene.things[index]
        if getattr(thing, kind) != value:
            changed = replace(thing, **{kind: value})  # type: ignore[arg-type]  # kind names the field
            yield (*scene.things[:index], changed, *scene.things[index + 1 :])


def _bindings(scene: Scene) -> Iterator[tuple[Thing, ...]]:
    if len(scene.named) < 2:
        return
    first, second, *extra = scene.things
    if first.colour == second.colour or first.shape == second.shape:
        return
    colours = (replace(first, colour=second.colour), replace(second, colour=first.colour))
    shapes = (replace(first, shape=second.shape), replace(second, shape=first.shape))
    yield (*colours, *extra)
    yield (*shapes, *extra)


def _is_allowed(scene: Scene, things: tuple[Thing, ...], split: str) -> bool:
    looks = {(thing.shape, thing.colour) for thing in things}
    copies = sum(thing.count for thing in things[: len(scene.named)])
    return (
        len(looks) == len(things)
        and (len(scene.named) == 1 or copies <= MAX_NAMED_COPIES)
        and all(split_of(thing.combination) == split for thing in things)
    )


@cache
def _split_table() -> dict[Combination, str]:
    """Return the split of each combination, from a hash that is the same on every machine."""
    blocks = [
        (colours, shapes, materials)
        for materials in _pairs(MATERIALS, "materials")
        for shapes in _pairs(SHAPES, f"shapes {materials}")
        for colours in _pairs(COLOURS, f"colours {materials} {shapes}")
    ]
    names = ["test"] * _TEST_BLOCKS + ["val"] * _VAL_BLOCKS
    names += ["train"] * (len(blocks) - len(names))
    return {
        Combination(*values): name
        for block, name in zip(_by_hash(blocks, "blocks"), names, strict=True)
        for values in product(*block)
    }


def _pairs(values: Sequence[str], purpose: str) -> list[tuple[str, str]]:
    mixed = _by_hash(values, purpose)
    return list(zip(mixed[::2], mixed[1::2], strict=True))


def _by_hash(values: Sequence[T], purpose: str) -> list[T]:
    def key(value: T) -> bytes:
        return hashlib.sha256(f"{_BLOCK_SALT} {purpose} {value}".encode()).digest()

    return sorted(values, key=key)


def _check(what: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        names = ", ".join(str(name) for name in known) or "none for a plain scene"
        raise UnknownNameError(f"Unknown {what} {value!r}. Use one of: {names}")
