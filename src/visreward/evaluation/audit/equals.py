"""Pictures that are equally good for a prompt, and yet differ in size, light and detail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageEnhance

from visreward.core.types import Sample
from visreward.data.scenes.edits import plan_edit, render_state
from visreward.data.scenes.render import MIN_SIZE, render
from visreward.data.scenes.sampling import enrich
from visreward.data.scenes.triplets import plan_triplet
from visreward.evaluation.audit.items import AuditItem, AuditSet
from visreward.evaluation.scenes import Drawing
from visreward.models.facts import ModelFacts

NUM_EQUAL: Final = 6
"""Pictures for one prompt."""

MIN_EQUAL: Final = 3
"""Fewer pictures of one prompt of a user say nothing of an order."""

_SIZES: Final = (0.75, 1.0, 1.25, 1.5)
"""Sides as multiples of the drawing's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equals:
    """Pictures of several prompts.

    Attributes:
        items: Those of one prompt stand together.
        is_known: Whether they are equally good by construction.
    """

    items: tuple[AuditItem, ...]
    is_known: bool


def equal_pictures(audited: AuditSet, facts: ModelFacts, *, seed: int) -> Equals:
    """Return pictures that compete for a prompt with equal right.

    In the synthetic world: the same things in other scenery, or the same edit in other light. Of
    a user's pictures: those of a prompt, which people may well not find equally good.

    Args:
        audited: What the model is examined on.
        facts: Of the model.
        seed: Of the draws.
    """
    drawing = audited.drawing
    if drawing is None:
        groups = [item.group for item in audited.items]
        kept = tuple(item for item in audited.items if groups.count(item.group) >= MIN_EQUAL)
        return Equals(items=kept, is_known=False)
    make = _equal_edits if facts.needs_source else _equal_scenes
    items = []
    for index in range(drawing.num):
        rng = np.random.default_rng([seed, 3, index])
        samples = make(index, drawing, rng)
        items += [AuditItem(sample=sample, group=index) for sample in samples]
    return Equals(items=tuple(items), is_known=True)


def _equal_scenes(index: int, drawing: Drawing, rng: np.random.Generator) -> list[Sample]:
    plan = plan_triplet(seed=drawing.seed, split=drawing.split, index=index)
    return [
        Sample(
            prompt=plan.basic_prompt,
            image=Image.fromarray(render(enrich(plan.winning_scene, rng), _side(drawing, rng))),
            id=f"scene {index} in scenery {number}",
        )
        for number in range(NUM_EQUAL)
    ]


def _equal_edits(index: int, drawing: Drawing, rng: np.random.Generator) -> list[Sample]:
    plan = plan_edit(seed=drawing.seed, split=drawing.split, index=index)
    samples = []
    for number in range(NUM_EQUAL):
        side = _side(drawing, rng)
        factors = rng.uniform((0.75, 0.5, 0.75, 0.2), (1.25, 1.5, 1.25, 2.0))
        source, result = (
            _graded(Image.fromarray(render_state(state, side)), factors.tolist())
            for state in (plan.source, plan.candidates[0].state)
        )
        samples.append(
            Sample(
                prompt=plan.instruction,
                image=result,
                source_image=source,
                id=f"edit {index} in light {number}",
            )
        )
    return samples


def _side(drawing: Drawing, rng: np.random.Generator) -> int:
    return max(MIN_SIZE, round(drawing.size * float(rng.choice(_SIZES))))


def _graded(picture: Image.Image, factors: list[float]) -> Image.Image:
    kinds = (
        ImageEnhance.Brightness,
        ImageEnhance.Color,
        ImageEnhance.Contrast,
        ImageEnhance.Sharpness,
    )
    for kind, factor in zip(kinds, factors, strict=True):
        picture = kind(picture).enhance(factor)
    return picture
