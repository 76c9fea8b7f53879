"""Edit instructions in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from visreward.data.scenes.edit_states import EditStates
from visreward.data.scenes.grammar import OPPOSITE, Scene, Thing
from visreward.data.scenes.language import ALL_MENTIONS, Mentions, thing_phrase

_LOOK: Final = replace(ALL_MENTIONS, size=False, material=False)

_FRAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "recolour": (
        "make the {old} {colour}",
        "change the colour of the {old} to {colour}",
        "turn the {old} {colour}",
    ),
    "replace": (
        "replace the {old} with {new}",
        "put {new} in the place of the {old}",
        "swap the {old} for {new}",
    ),
    "add": ("add {new} {relation} the {other}", "put {new} {relation} the {other}"),
    "remove": ("remove the {old}", "take the {old} away", "erase the {old}"),
    "move": ("move the {old} {relation} the {other}", "put the {old} {relation} the {other}"),
    "restyle": (
        "move the scene {place}, {light}",
        "change the background: {place}, {light}",
    ),
}
_RELATIONS: Final = {
    "left of": "to the left of",
    "right of": "to the right of",
    "above": "above",
    "below": "below",
}
_PLACES: Final = {
    "meadow": "to a green meadow",
    "desert": "to a sandy desert",
    "beach": "to a beach by the sea",
    "snow field": "to a snow field",
    "night sky": "under a night sky",
    "studio": "into a studio",
}


def instruction(states: EditStates, rng: np.random.Generator) -> str:
    """Return what was asked for, in one of several phrasings; deterministic given `rng`."""
    frames = _FRAMES[states.kind]
    frame = frames[int(rng.integers(len(frames)))]
    before, after = states.source.scene, states.right.scene
    old, new = before.things[states.target], after.things[states.target]
    other = before.things[1 - states.target]
    return frame.format(
        old=_named(old),
        new=thing_phrase(new, _new_mentions(states)),
        other=_named(other),
        colour=new.colour,
        relation=_RELATIONS[_relation(after, states.target)],
        place=_PLACES.get(after.background, ""),
        light=after.light if after.light.startswith("a ") else f"in {after.light}",
    )


def _new_mentions(states: EditStates) -> Mentions:
    """Return what is said of a new thing: all of it where nothing like it was there."""
    return ALL_MENTIONS if states.kind == "add" else _LOOK


def _named(thing: Thing) -> str:
    """Return, say, "two red cubes" or "blue ball", without an article."""
    phrase = thing_phrase(thing, _LOOK)
    return phrase.removeprefix("an ").removeprefix("a ")


def _relation(scene: Scene, target: int) -> str:
    """Return where a thing is, seen from the other one."""
    assert scene.relation is not None
    return scene.relation if target == 0 else OPPOSITE[scene.relation]
