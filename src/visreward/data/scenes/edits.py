"""Edits with a known right answer: a source image, an instruction, candidate edited images.

Item i depends on (seed, split, i) only, never on how many items are made or in what order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from visreward.data.scenes.edit_language import instruction
from visreward.data.scenes.edit_states import EDIT_KINDS, EditState, draw_states
from visreward.data.scenes.flaws import FLAWS, SEVERITIES, apply_flaw
from visreward.data.scenes.render import render
from visreward.data.scenes.sampling import item_rng

Pixels = NDArray[np.uint8]

CANDIDATE_KINDS = ("right", "over-edited", "half done", "wrong object", "untouched", "flawed")
FOLLOWING = {
    "right": 4,
    "over-edited": 3,
    "half done": 2,
    "wrong object": 1,
    "untouched": 1,
    "flawed": 4,
}
"""Instruction following, 1 to 4, by what a candidate is."""
OVER_EDITED_QUALITY = 3
"""Visual quality of an edit that changes more than was asked."""
QUALITY_BY_SEVERITY = (4, 3, 3, 2, 1, 1)
"""Visual quality, 1 to 4, by the severity of a flaw, 0 (none) to 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditCandidate:
    """One edited image to be.

    Attributes:
        kind: One of CANDIDATE_KINDS.
        state: What it shows, before flaws.
        following: Instruction following, 1 to 4.
        quality: Visual quality, 1 to 4.
        flaw: Name of its technical flaw, or None.
        severity: Of the flaw, 1 to 5; 0 without.
    """

    kind: str
    state: EditState
    following: int
    quality: int
    flaw: str | None = None
    severity: int = 0

    @property
    def overall(self) -> float:
        """Return the mean of both dimensions."""
        return (self.following + self.quality) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EditPlan:
    """Everything about an edit but its pixels.

    Attributes:
        kind: One of EDIT_KINDS.
        instruction: What was asked for.
        source: The picture before.
        candidates: One of each of CANDIDATE_KINDS, in that order.
        flaw_seed: Entropy of the randomness inside the flaws.
    """

    kind: str
    instruction: str
    source: EditState
    candidates: tuple[EditCandidate, ...]
    flaw_seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit(EditPlan):
    """An edit with its images, each (size, size, 3) uint8, in the order of the candidates."""

    source_image: Pixels
    images: tuple[Pixels, ...]


def plan_edit(*, seed: int, split: str, index: int) -> EditPlan:
    """Return an edit without its images; deterministic, and much faster than painting them.

    Args:
        seed: Seed of the world, at least 0.
        split: train, val or test.
        index: Number of the item in its split, at least 0.

    Raises:
        UnknownNameError: if the split is unknown.
        UsageError: if seed or index is negative.
    """
    rng = item_rng(seed=seed, split=split, kind="edit", index=index)
    states = draw_states(rng, split=split, kind=EDIT_KINDS[int(rng.integers(len(EDIT_KINDS)))])
    shown = {
        "right": states.right,
        "over-edited": states.over,
        "half done": states.half,
        "wrong object": states.wrong,
        "untouched": states.source,
        "flawed": states.right,
    }
    names = list(FLAWS)
    flaw = names[int(rng.integers(len(names)))]
    severity = int(rng.integers(SEVERITIES[0], SEVERITIES[-1] + 1))
    candidates = tuple(
        _candidate(kind, shown[kind], flaw=flaw, severity=severity) for kind in CANDIDATE_KINDS
    )
    return EditPlan(
        kind=states.kind,
        instruction=instruction(states, rng),
        source=states.source,
        candidates=candidates,
        flaw_seed=int(rng.integers(2**31)),
    )


def _candidate(kind: str, state: EditState, *, flaw: str, severity: int) -> EditCandidate:
    is_flawed = kind == "flawed"
    quality = QUALITY_BY_SEVERITY[severity if is_flawed else 0]
    # A half removed thing shines through: everybody sees that.
    if kind == "over-edited" or state.is_ghost:
        quality = OVER_EDITED_QUALITY
    return EditCandidate(
        kind=kind,
        state=state,
        following=FOLLOWING[kind],
        quality=quality,
        flaw=flaw if is_flawed else None,
        severity=severity if is_flawed else 0,
    )


def render_edit(plan: EditPlan, *, size: int) -> Edit:
    """Return the edit of a plan with its images painted at a size, in pixels.

    Raises:
        UsageError: if the size is outside 64 to 512.
    """
    images = []
    for candidate in plan.candidates:
        image = render_state(candidate.state, size)
        if candidate.flaw is not None:
            rng = np.random.default_rng(plan.flaw_seed)
            image = apply_flaw(image, candidate.flaw, candidate.severity, rng)
        images.append(image)
    return Edit(
        **{field.name: getattr(plan, field.name) for field in fields(plan)},
        source_image=render_state(plan.source, size),
        images=tuple(images),
    )


def render_state(state: EditState, size: int) -> Pixels:
    """Return the picture of a state, (size, size, 3) uint8; deterministic."""
    without = render(state.scene, size, hidden=state.hidden)
    if not state.is_ghost:
        return without
    both = without.astype(np.uint16) + render(state.scene, size)
    return ((both + 1) // 2).astype(np.uint8)
