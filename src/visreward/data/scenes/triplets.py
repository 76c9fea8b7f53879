"""Preference triplets with a known reason why the losing image loses.

Item i depends on (seed, split, i) only, never on how many items are made or in what order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from visreward.data.scenes.annotators import confidence_of, utility, vote
from visreward.data.scenes.finish import finish
from visreward.data.scenes.flaws import FLAWS, SEVERITIES, apply_flaw
from visreward.data.scenes.grammar import Scene, swap_attribute
from visreward.data.scenes.language import basic_prompt, refined_prompt, sample_mentions
from visreward.data.scenes.render import render
from visreward.data.scenes.sampling import (
    drop_thing,
    enrich,
    item_rng,
    sample_scene,
    sample_swap_kind,
    sample_swappable,
)

WRONG_SHARE, MISSING_SHARE = 0.45, 0.10
"""Shares of losing images with a wrong part and a missing thing; the rest has flaws."""
_SECOND_FLAW_SHARE = 0.25
_RICH_FLAWED_SHARE = 0.35
"""Share of flawed losers that are rich, so that richness alone does not tell the winner."""
_NUM_ANNOTATORS = (7, 15)


@dataclass(frozen=True, slots=True)
class Flaw:
    """A technical flaw of a losing image.

    Attributes:
        kind: A name in FLAWS.
        severity: 1 (barely visible) to 5 (gross).
    """

    kind: str
    severity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletPlan:
    """Everything about a triplet but its pixels.

    Attributes:
        losing_scene: What the losing image shows, before flaws.
        winning_scene: What the winning image shows: right, plain and clean.
        refined_scene: What the refined image shows: right, rich and clean.
        basic_prompt: The prompt that all three images compete for.
        refined_prompt: A longer prompt that describes the refined image.
        losing_prompt: A basic prompt that is true of the losing image.
        loss_kind: A swap kind, "missing", or the names of the flaws joined by "+".
        flaws: One or two flaws of the losing image, or none.
        severity: The greater severity of the flaws, 1 to 5; None where there is no flaw.
        votes: How many annotators chose (winning, losing); the winning image has the majority.
        confidence: Probability, above 0.5, that the majority is right.
        flaw_seed: Entropy of the randomness inside the flaws.
        finish_seed: Which photographic finish all three images have, or None.
    """

    losing_scene: Scene
    winning_scene: Scene
    refined_scene: Scene
    basic_prompt: str
    refined_prompt: str
    losing_prompt: str
    loss_kind: str
    flaws: tuple[Flaw, ...]
    severity: int | None
    votes: tuple[int, int]
    confidence: float
    flaw_seed: int
    finish_seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplet(TripletPlan):
    """A triplet with its images, each (size, size, 3) uint8."""

    losing_image: NDArray[np.uint8]
    winning_image: NDArray[np.uint8]
    refined_image: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loser:
    scene: Scene
    kind: str
    content: str
    flaws: tuple[Flaw, ...] = ()


def make_triplet(*, seed: int, split: str, index: int, size: int) -> Triplet:
    """Return a triplet with its images; see `plan_triplet` and `render_triplet`."""
    return render_triplet(plan_triplet(seed=seed, split=split, index=index), size=size)


def plan_triplet(*, seed: int, split: str, index: int, finish_share: float = 0.0) -> TripletPlan:
    """Return a triplet without its images; deterministic, and much faster than painting them.

    A draw whose simulated annotators prefer the losing image, or are divided, is replaced by the
    draw of the next sub-seed.

    Args:
        seed: Seed of the world, at least 0.
        split: train, val or test.
        index: Number of the item in its split, at least 0.
        finish_share: Share of triplets with a photographic finish, 0 to 1; nothing else of a
            triplet depends on it.

    Raises:
        UnknownNameError: if the split is unknown.
        UsageError: if seed or index is negative.
    """
    finish_rng = item_rng(seed=seed, split=split, kind="finish", index=index)
    is_finished = finish_rng.random() < finish_share
    finish_seed = int(finish_rng.integers(2**31)) if is_finished else None
    attempt = 0
    while True:
        rng = item_rng(seed=seed, split=split, kind="triplet", index=index, attempt=attempt)
        plan = _draw(rng, split)
        if plan.votes[0] > plan.votes[1]:
            return replace(plan, finish_seed=finish_seed)
        attempt += 1


def render_triplet(plan: TripletPlan, *, size: int) -> Triplet:
    """Return the triplet of a plan with its images painted at a size, in pixels.

    Raises:
        UsageError: if the size is outside 64 to 512.
    """
    scenes = (plan.losing_scene, plan.winning_scene, plan.refined_scene)
    losing, winning, refined = (_picture(scene, plan, size) for scene in scenes)
    rng = np.random.default_rng(plan.flaw_seed)
    for flaw in plan.flaws:
        losing = apply_flaw(losing, flaw.kind, flaw.severity, rng)
    return Triplet(
        **{field.name: getattr(plan, field.name) for field in fields(plan)},
        losing_image=losing,
        winning_image=winning,
        refined_image=refined,
    )


def _picture(scene: Scene, plan: TripletPlan, size: int) -> NDArray[np.uint8]:
    picture = render(scene, size)
    return picture if plan.finish_seed is None else finish(picture, plan.finish_seed)


def _draw(rng: np.random.Generator, split: str) -> TripletPlan:
    kind = _draw_loss(rng)
    mentions = sample_mentions(rng, must=() if kind in ("missing", "flaw") else (kind,))
    winning = _draw_winning(rng, split, kind)
    refined = enrich(winning, rng)
    loser = _draw_loser(rng, kind, winning, refined)
    phrasing = int(rng.integers(2**31))
    severities = tuple(flaw.severity for flaw in loser.flaws)
    votes = vote(
        utility("right"),
        utility(loser.content, severities=severities, rich=loser.scene.rich),
        int(rng.integers(_NUM_ANNOTATORS[0], _NUM_ANNOTATORS[1] + 1)),
        rng,
    )
    return TripletPlan(
        losing_scene=loser.scene,
        winning_scene=winning,
        refined_scene=refined,
        basic_prompt=basic_prompt(winning, mentions, np.random.default_rng(phrasing)),
        refined_prompt=refined_prompt(refined, rng),
        losing_prompt=basic_prompt(loser.scene, mentions, np.random.default_rng(phrasing)),
        loss_kind=loser.kind,
        flaws=loser.flaws,
        severity=max(severities, default=None),
        votes=votes,
        confidence=confidence_of(*votes),
        flaw_seed=int(rng.integers(2**31)),
    )


def _draw_loss(rng: np.random.Generator) -> str:
    draw = rng.random()
    if draw < WRONG_SHARE:
        return sample_swap_kind(rng)
    return "missing" if draw < WRONG_SHARE + MISSING_SHARE else "flaw"


def _draw_winning(rng: np.random.Generator, split: str, kind: str) -> Scene:
    if kind == "missing":
        return sample_scene(rng, split=split, num_named=2)
    if kind == "flaw":
        return sample_scene(rng, split=split, num_named=int(rng.integers(1, 3)))
    return sample_swappable(rng, split=split, kinds=(kind,))


def _draw_loser(rng: np.random.Generator, kind: str, winning: Scene, refined: Scene) -> _Loser:
    if kind == "missing":
        return _Loser(scene=drop_thing(winning, rng), kind=kind, content="missing")
    if kind != "flaw":
        return _Loser(scene=swap_attribute(winning, kind, rng), kind=kind, content="wrong")
    is_rich = rng.random() < _RICH_FLAWED_SHARE
    number = 2 if rng.random() < _SECOND_FLAW_SHARE else 1
    names = list(FLAWS)
    chosen = rng.permutation(len(names))[:number]
    # A rich image has to be flawed clearly to be worth less than a plain clean one.
    least = 3 if is_rich else SEVERITIES[0]
    severities = rng.integers(least, SEVERITIES[-1] + 1, number)
    flaws = tuple(
        Flaw(names[name], int(severity)) for name, severity in zip(chosen, severities, strict=True)
    )
    scene = refined if is_rich else winning
    return _Loser(
        scene=scene, kind="+".join(flaw.kind for flaw in flaws), content="right", flaws=flaws
    )
