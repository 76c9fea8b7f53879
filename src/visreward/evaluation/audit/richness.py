"""The paradox that the ICT & HP paper starts from: is a right picture punished for being rich?"""

from __future__ import annotations

from typing import Final

from visreward.core.types import Sample
from visreward.evaluation.audit.effects import mean_measure
from visreward.evaluation.audit.examination import OVERALL, Examination, Shown, worst
from visreward.evaluation.audit.items import AuditItem, picture_of
from visreward.evaluation.audit.probe import Probe, needs_world
from visreward.evaluation.audit.records import Finding, Limit
from visreward.evaluation.scenes import richness_row

FAMILY: Final = "richness"

_LIMIT: Final = Limit(
    side="at most",
    value=0.5,
    reason="Both pictures hold all that the prompt says, and people prefer the rich one. Above one "
    "half, the score works against detail.",
)


def _measure(examination: Examination) -> Finding:
    """Return how often the rich one of two right pictures scores strictly lower."""
    drawing = examination.audited.drawing
    assert drawing is not None
    plain: list[AuditItem] = []
    rich: list[AuditItem] = []
    for index in range(drawing.num):
        row = richness_row(index, drawing=drawing)
        for kept, pixels, name in zip((plain, rich), row.pictures, ("plain", "rich"), strict=True):
            sample = Sample(
                prompt=row.prompt, image=picture_of(pixels), id=f"scene {index}, {name}"
            )
            kept.append(AuditItem(sample=sample, group=index))
    before, after = (examination.score(item.sample for item in items) for items in (plain, rich))
    groups = [item.group for item in plain]
    change = after[OVERALL] - before[OVERALL]
    lower = (change < 0).astype(float) + 0 * change
    details = [
        mean_measure(
            f"{name.replace('_', ' ') or 'score'}, rich less plain",
            examination.in_sd(after[name] - before[name], name),
            groups,
            unit="sd",
            seed=examination.seed,
        )
        for name in examination.names
        if examination.spread[name] > 0
    ]
    return Finding(
        effect=mean_measure(
            "the rich picture scores lower", lower, groups, unit="share", seed=examination.seed
        ),
        details=tuple(details),
        cases=tuple(
            examination.case(
                plain[place],
                "the rich picture scores lower",
                (
                    Shown(
                        label="plain",
                        image=plain[place].sample.image,
                        score=float(before[OVERALL][place]),
                    ),
                    Shown(
                        label="rich",
                        image=rich[place].sample.image,
                        score=float(after[OVERALL][place]),
                    ),
                ),
            )
            for place in worst(-change)
        ),
    )


def _obstacle(examination: Examination) -> str:
    if examination.model.facts.needs_source:
        return "The model scores edits; the paradox is about generated pictures."
    return needs_world(examination)


PROBES: Final = (
    Probe(
        name="richness",
        family=FAMILY,
        question="Is a right and rich picture marked down against a right and plain one?",
        limit=_LIMIT,
        measure=_measure,
        obstacle=_obstacle,
    ),
)
