"""What an edit does to a scene: asked for, half done, done to the wrong thing, overdone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from visreward.core.errors import UnknownNameError
from visreward.data.scenes.grammar import BACKGROUNDS, RELATIONS, Scene, swap_candidates
from visreward.data.scenes.sampling import decorations_of, enrich, lights_of, sample_scene

EDIT_KINDS: Final = ("recolour", "replace", "add", "remove", "move", "restyle")

_RICH_SHARE = 0.5
_ATTEMPTS: Final = ("colour", "shape", "material")
"""What is changed wrongly in an edit that is half done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditState:
    """A picture before or after an edit.

    Attributes:
        scene: What there is.
        hidden: Which named things are not there.
        is_ghost: Whether the hidden things shine through by half.
    """

    scene: Scene
    hidden: tuple[int, ...] = ()
    is_ghost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EditStates:
    """An edit and the ways to get it wrong.

    Attributes:
        kind: One of EDIT_KINDS.
        target: Which named thing the instruction is about.
        source: The picture before.
        right: As asked.
        half: Attempted, and not as asked.
        wrong: Done to another thing, or something else done.
        over: As asked, and more.
    """

    kind: str
    target: int
    source: EditState
    right: EditState
    half: EditState
    wrong: EditState
    over: EditState


def draw_states(rng: np.random.Generator, *, split: str, kind: str) -> EditStates:
    """Return a random edit of a kind; deterministic given `rng`.

    Args:
        rng: Source of randomness.
        split: train, val or test; all combinations of attributes belong to it.
        kind: One of EDIT_KINDS.

    Raises:
        UnknownNameError: if the split or the kind is unknown.
    """
    if kind not in _EDITS:
        raise UnknownNameError(f"Unknown edit {kind!r}. Use one of: {', '.join(EDIT_KINDS)}")
    while True:
        scene = sample_scene(rng, split=split, num_named=2)
        if kind == "restyle" or rng.random() < _RICH_SHARE:
            scene = enrich(scene, rng)
        target = int(rng.integers(2))
        states = _EDITS[kind](rng, scene, target)
        if states is not None:
            return states


def _changed(rng: np.random.Generator, scene: Scene, swap: str, thing: int) -> Scene | None:
    """Return the scene with one attribute of one named thing changed, or None."""
    return _one_of(rng, list(swap_candidates(scene, swap)), scene, thing)


def _attempt(rng: np.random.Generator, scene: Scene, thing: int, unlike: Scene) -> Scene | None:
    """Return the scene with a named thing changed, in another way than was asked, or None."""
    found = [
        each
        for swap in _ATTEMPTS
        for each in swap_candidates(scene, swap)
        if each.things[thing] != unlike.things[thing]
    ]
    return _one_of(rng, found, scene, thing)


def _one_of(
    rng: np.random.Generator, candidates: list[Scene], scene: Scene, thing: int
) -> Scene | None:
    """Return one of the scenes in which a thing is not as it was, or None."""
    found = [each for each in candidates if each.things[thing] != scene.things[thing]]
    return found[int(rng.integers(len(found)))] if found else None


def _overdone(rng: np.random.Generator, right: EditState, target: int) -> EditState | None:
    """Return an edited state in which the other thing has another colour as well."""
    scene = _changed(rng, right.scene, "colour", 1 - target)
    return None if scene is None else replace(right, scene=scene)


def _states(
    rng: np.random.Generator,
    kind: str,
    target: int,
    *,
    source: EditState,
    right: EditState,
    half: EditState,
    wrong: EditState,
) -> EditStates | None:
    over = _overdone(rng, right, target)
    if over is None:
        return None
    return EditStates(
        kind=kind, target=target, source=source, right=right, half=half, wrong=wrong, over=over
    )


def _recolour(rng: np.random.Generator, scene: Scene, target: int) -> EditStates | None:
    right = _changed(rng, scene, "colour", target)
    if right is None:
        return None
    half = _attempt(rng, scene, target, right)
    wrong = _changed(rng, scene, "colour", 1 - target)
    if half is None or wrong is None:
        return None
    return _states(
        rng,
        "recolour",
        target,
        source=EditState(scene=scene),
        right=EditState(scene=right),
        half=EditState(scene=half),
        wrong=EditState(scene=wrong),
    )


def _replace(rng: np.random.Generator, scene: Scene, target: int) -> EditStates | None:
    reshaped = _changed(rng, scene, "shape", target)
    right = None if reshaped is None else _changed(rng, reshaped, "colour", target)
    wrong = _changed(rng, scene, "shape", 1 - target)
    if reshaped is None or right is None or wrong is None:
        return None
    return _states(
        rng,
        "replace",
        target,
        source=EditState(scene=scene),
        right=EditState(scene=right),
        half=EditState(scene=reshaped),
        wrong=EditState(scene=wrong),
    )


def _add(rng: np.random.Generator, scene: Scene, target: int) -> EditStates | None:
    half = _attempt(rng, scene, target, scene)
    wrong = _changed(rng, scene, "colour", 1 - target)
    if half is None or wrong is None:
        return None
    return _states(
        rng,
        "add",
        target,
        source=EditState(scene=scene, hidden=(target,)),
        right=EditState(scene=scene),
        half=EditState(scene=half),
        wrong=EditState(scene=wrong, hidden=(target,)),
    )


def _remove(rng: np.random.Generator, scene: Scene, target: int) -> EditStates | None:
    return _states(
        rng,
        "remove",
        target,
        source=EditState(scene=scene),
        right=EditState(scene=scene, hidden=(target,)),
        half=EditState(scene=scene, hidden=(target,), is_ghost=True),
        wrong=EditState(scene=scene, hidden=(1 - target,)),
    )


def _move(rng: np.random.Generator, scene: Scene, target: int) -> EditStates | None:
    others = [relation for relation in RELATIONS if relation != scene.relation]
    first, second = rng.permutation(len(others))[:2]
    wrong = _changed(rng, scene, "colour", target)
    if wrong is None:
        return None
    return _states(
        rng,
        "move",
        target,
        source=EditState(scene=scene),
        right=EditState(scene=replace(scene, relation=others[first])),
        half=EditState(scene=replace(scene, relation=others[second])),
        wrong=EditState(scene=wrong),
    )


def _restyle(rng: np.random.Generator, scene: Scene, target: int) -> EditStates | None:
    others = [background for background in BACKGROUNDS if background != scene.background]
    background = others[int(rng.integers(len(others)))]
    lights = [light for light in lights_of(background) if light != scene.light]
    light = lights[int(rng.integers(len(lights)))]

    def styled(background: str, light: str) -> EditState:
        known = decorations_of(background, light)
        kept = tuple(each for each in scene.decorations if each in known)
        return EditState(scene=replace(scene, background=background, light=light, decorations=kept))

    wrong = _changed(rng, scene, "colour", target)
    if wrong is None or scene.light not in lights_of(background):
        return None
    return _states(
        rng,
        "restyle",
        target,
        source=EditState(scene=scene),
        right=styled(background, light),
        half=styled(background, scene.light),
        wrong=EditState(scene=wrong),
    )


_EDITS: Final[dict[str, Callable[[np.random.Generator, Scene, int], EditStates | None]]] = {
    "recolour": _recolour,
    "replace": _replace,
    "add": _add,
    "remove": _remove,
    "move": _move,
    "restyle": _restyle,
}
