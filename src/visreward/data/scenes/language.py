"""Basic and refined prompts of scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visreward.core.errors import UnknownNameError, UsageError
from visreward.data.scenes.grammar import SWAP_KINDS, Scene, Thing, swap_candidates

NUMBER_WORDS = {1: "one", 2: "two", 3: "three", 4: "four"}
SOME = "some"
"""What a prompt says of two or more copies when it does not name their number."""

_MENTION_SHARES = (0.55, 0.60, 0.85, 0.80)
_BASIC_FRAMES = ("{}", "{}", "a picture of {}", "an image of {}", "a photo of {}", "{}, please")
_RELATION_WORDS = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
_JOINING_WORDS = ("and", "together with")
_PLACES = {
    "meadow": ("in a green meadow", "in a meadow"),
    "desert": ("in a sandy desert", "in a desert"),
    "beach": ("on a beach by the sea", "on a sandy beach"),
    "snow field": ("in a snow field", "in a snow field before dark trees"),
    "night sky": ("under a night sky", "under a purple night sky"),
    "studio": ("in a studio", "in a studio with a wooden floor"),
}
_LIGHT_WORDS = {
    "soft daylight": ("in soft daylight", "lit by soft daylight"),
    "warm sunset light": ("in warm sunset light", "lit by warm sunset light"),
    "cold moonlight": ("in cold moonlight", "lit by cold moonlight"),
    "a bright spotlight": ("under a bright spotlight", "lit by a bright spotlight"),
}
_DECORATION_WORDS = {
    "clouds": ("clouds", "drifting clouds"),
    "birds": ("birds", "flying birds"),
    "stars": ("stars", "shining stars"),
    "flowers": ("flowers", "small flowers"),
    "pebbles": ("pebbles", "scattered pebbles"),
    "leaves": ("leaves", "fallen leaves"),
}
_EXTRA_FRAMES = ("and {} nearby", "with {} in the background", "and also {}")
_OPENINGS = ("", "", "a detailed picture of ", "a beautiful scene with ", "a rich image of ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mentions:
    """Which attributes a basic prompt names beside colour and shape.

    Attributes:
        size: Whether it says small or large.
        material: Whether it says what the things are made of.
        count: Whether it says how many; where not, several copies are called "some".
        relation: Whether it says where the first thing is; where not, the two are joined by "and".
    """

    size: bool
    material: bool
    count: bool
    relation: bool


ALL_MENTIONS = Mentions(size=True, material=True, count=True, relation=True)


def sample_mentions(rng: np.random.Generator, *, must: Sequence[str] = ()) -> Mentions:
    """Return random mentions, deterministic given `rng`.

    Args:
        rng: Source of randomness.
        must: Swap kinds that the prompt has to speak about.

    Raises:
        UnknownNameError: if `must` holds something that is no swap kind.
    """
    size, material, count, relation = (rng.random(4) < _MENTION_SHARES).tolist()
    for kind in must:
        if kind not in SWAP_KINDS:
            raise UnknownNameError(
                f"Unknown swap kind {kind!r}. Use one of: {', '.join(SWAP_KINDS)}"
            )
    return Mentions(
        size=size or "size" in must,
        material=material or "material" in must,
        count=count or "count" in must,
        relation=relation or "relation" in must,
    )


def askable_kinds(scene: Scene, mentions: Mentions) -> tuple[str, ...]:
    """Return the swap kinds after which the basic prompt would no longer be true."""
    silent = {
        kind for kind in ("size", "material", "count", "relation") if not getattr(mentions, kind)
    }
    return tuple(kind for kind in SWAP_KINDS if kind not in silent and swap_candidates(scene, kind))


def basic_prompt(scene: Scene, mentions: Mentions, rng: np.random.Generator) -> str:
    """Return a short prompt that names the named things; deterministic given `rng`.

    The draws do not depend on the scene: the same state of `rng` gives two neighbours the same
    phrasing.
    """
    draws = rng.random(3)
    phrases = [thing_phrase(thing, mentions) for thing in scene.named]
    text = _joined(phrases, scene.relation if mentions.relation else None, draws[1])
    return _pick(_BASIC_FRAMES, draws[0]).format(text)


def refined_prompt(scene: Scene, rng: np.random.Generator) -> str:
    """Return a long prompt: every attribute, place, light, decorations and the extra thing.

    Below 60 words; deterministic given `rng`, with the same phrasing for two neighbours.

    Raises:
        UsageError: if the scene is plain: it has no place and no light to speak of.
    """
    if not scene.rich:
        raise UsageError("The scene is plain. A refined prompt describes a rich scene: enrich it.")
    draws = rng.random(9)
    subject = _joined(
        [thing_phrase(t, ALL_MENTIONS) for t in scene.named], scene.relation, draws[1]
    )
    place = _pick(_PLACES[scene.background], draws[2])
    light = _pick(_LIGHT_WORDS[scene.light], draws[3])
    words = [_pick(_DECORATION_WORDS[d], draws[4 + i]) for i, d in enumerate(scene.decorations[:2])]
    decorations = f"with {' and '.join(words)}" if words else ""
    extra = ""
    if scene.extra is not None:
        extra = _pick(_EXTRA_FRAMES, draws[6]).format(thing_phrase(scene.extra, ALL_MENTIONS))
    if draws[7] < 0.6:
        parts = [f"{subject} {place}", extra, light, decorations]
    else:
        scenery = " ".join(part for part in (place, decorations) if part)
        parts = [f"{subject}", extra, scenery, light]
    return _pick(_OPENINGS, draws[8]) + ", ".join(part for part in parts if part)


def thing_phrase(thing: Thing, mentions: Mentions) -> str:
    """Return a thing in words, say, "two small red metal cubes" or "an orange ball"."""
    words = [thing.colour]
    if mentions.size:
        words.insert(0, thing.size)
    if mentions.material:
        words.append(thing.material)
    if thing.count == 1:
        article = "an" if words[0][0] in "aeiou" else "a"
        return " ".join((article, *words, thing.shape))
    number = NUMBER_WORDS[thing.count] if mentions.count else SOME
    return " ".join((number, *words, f"{thing.shape}s"))


def _joined(phrases: Sequence[str], relation: str | None, draw: float) -> str:
    if len(phrases) == 1:
        return phrases[0]
    words = _JOINING_WORDS if relation is None else _RELATION_WORDS[relation]
    return f"{phrases[0]} {_pick(words, draw)} {phrases[1]}"


def _pick(values: Sequence[str], draw: float) -> str:
    return values[int(draw * len(values))]
