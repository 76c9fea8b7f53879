"""Does a model of edits tell the edit from the source, and one dimension from the other?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from visreward.evaluation.audit.contrasts import Contrast, contrast_finding
from visreward.evaluation.audit.effects import mean_measure
from visreward.evaluation.audit.examination import Array, Examination, Shown, worst
from visreward.evaluation.audit.items import AuditItem
from visreward.evaluation.audit.probe import Probe, needs_edits, needs_world
from visreward.evaluation.audit.prompts import FOLLOWING, following_name
from visreward.evaluation.audit.records import Finding, Limit

FAMILY: Final = "edits"

QUALITY: Final = ("visual_quality", "hp")
"""Names of dimensions that say how good a picture looks, whatever was asked for."""

_LIMIT: Final = Limit(
    side="at least",
    value=0.8,
    reason="Chance is one half, and people are never in doubt. Below four in five, training "
    "against the score can end in edits that do nothing.",
)
_SEPARATION: Final = Limit(
    side="at least",
    value=0.8,
    reason="Chance is one half. Below four in five, the two numbers say nearly the same.",
)


def _measure_swapped(examination: Examination) -> Finding:
    contrasts = [
        Contrast(
            item=item,
            better=item.sample,
            worse=replace(
                item.sample, image=item.sample.sources[0], source_image=item.sample.image
            ),
            labels=("the edit", "the edit backwards: source and result swapped"),
        )
        for item in examination.right_items
    ]
    name = following_name(examination)
    return contrast_finding(
        examination, contrasts, name=name, what="the edit beats the edit backwards"
    )


def _measure_untouched(examination: Examination) -> Finding:
    contrasts = [
        Contrast(
            item=item,
            better=item.sample,
            worse=replace(item.sample, image=item.sample.sources[0]),
            labels=("the edit", "the source, untouched"),
        )
        for item in examination.right_items
    ]
    name = following_name(examination)
    return contrast_finding(
        examination, contrasts, name=name, what="the edit beats the untouched source"
    )


def _roles(examination: Examination) -> dict[str, str]:
    """Return the name of the dimension that each kind of fault should lower."""
    known = {"following": FOLLOWING, "quality": QUALITY}
    return {
        fault: name for fault, names in known.items() for name in names if name in examination.names
    }


def _measure_dimensions(examination: Examination) -> Finding:
    """Return how often a fault lowers its own dimension more than the other, in SD."""
    roles = _roles(examination)
    best = {item.group: item for item in reversed(examination.items) if item.is_right}
    faulty = [item for item in examination.items if item.fault]
    right = [best[item.group] for item in faulty]
    own, other = (
        np.where(
            [item.fault == "following" for item in faulty],
            _drop(examination, right, faulty, names[0]),
            _drop(examination, right, faulty, names[1]),
        )
        for names in (
            (roles["following"], roles["quality"]),
            (roles["quality"], roles["following"]),
        )
    )
    lead = own - other
    is_right = np.where(np.isfinite(lead), (lead > 0).astype(float), np.nan)
    groups = [item.group for item in faulty]
    details = []
    for fault, role in roles.items():
        mask = np.array([item.fault == fault for item in faulty])
        if mask.any():
            label = f"faults of {fault}: {role.replace('_', ' ')} falls more"
            details.append(
                mean_measure(
                    label,
                    is_right[mask],
                    np.array(groups)[mask],
                    unit="share",
                    seed=examination.seed,
                )
            )
    return Finding(
        effect=mean_measure(
            "the right dimension falls more", is_right, groups, unit="share", seed=examination.seed
        ),
        details=tuple(details),
        cases=tuple(
            examination.case(
                faulty[place],
                f"only {faulty[place].fault} is worse, but the other dimension falls by "
                f"{-lead[place]:.2f} SD more",
                (
                    Shown(label="right", image=right[place].sample.image),
                    Shown(label=f"worse {faulty[place].fault}", image=faulty[place].sample.image),
                ),
            )
            for place in worst(-lead, groups)
        ),
    )


def _drop(
    examination: Examination, right: Sequence[AuditItem], faulty: Sequence[AuditItem], name: str
) -> Array:
    """Return how far a dimension falls from the right pictures to the faulty ones, in SD."""
    before, after = examination.base_of(right)[name], examination.base_of(faulty)[name]
    return examination.in_sd(before - after, name)


def _no_dimensions(examination: Examination) -> str:
    if len(_roles(examination)) < 2:
        return "The model has no two dimensions, one for the prompt and one for quality."
    if not any(item.fault for item in examination.items):
        return needs_world(examination) or "No picture has a fault in one dimension only."
    return needs_world(examination)


PROBES: Final = (
    Probe(
        name="swapped",
        family=FAMILY,
        question="Does a right edit score higher than the edit backwards?",
        limit=_LIMIT,
        measure=_measure_swapped,
        obstacle=needs_edits,
    ),
    Probe(
        name="untouched",
        family=FAMILY,
        question="Does a right edit score higher than an untouched copy of the source?",
        limit=_LIMIT,
        measure=_measure_untouched,
        obstacle=needs_edits,
    ),
    Probe(
        name="dimensions",
        family=FAMILY,
        question="Does a fault lower the dimension that it belongs to more than the other?",
        limit=_SEPARATION,
        measure=_measure_dimensions,
        obstacle=_no_dimensions,
    ),
)
