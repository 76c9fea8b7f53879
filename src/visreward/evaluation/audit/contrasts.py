"""Pairs of samples of which one must score higher, measured in one way for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visreward.core.types import Sample
from visreward.evaluation.audit.effects import mean_measure
from visreward.evaluation.audit.examination import OVERALL, Array, Examination, Shown, worst
from visreward.evaluation.audit.items import AuditItem
from visreward.evaluation.audit.records import Case, Finding, Measure, Unit
from visreward.scoring.records import RowError


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Two samples.

    Attributes:
        item: What they are made of.
        better: Must score higher.
        worse: Must score lower; an error where it cannot be made.
        labels: What to call them, the better one first.
    """

    item: AuditItem
    better: Sample
    worse: Sample | RowError
    labels: tuple[str, str]


def contrast_finding(
    examination: Examination, contrasts: Sequence[Contrast], *, name: str = OVERALL, what: str
) -> Finding:
    """Return how often the better one of two scores strictly higher.

    Args:
        examination: Of the model.
        contrasts: What is compared.
        name: The dimension that decides; `OVERALL` is the score.
        what: Name of the effect.
    """
    better = examination.score(contrast.better for contrast in contrasts)
    worse = examination.score(contrast.worse for contrast in contrasts)
    groups = [contrast.item.group for contrast in contrasts]

    def measure(label: str, values: Array, unit: Unit) -> Measure:
        return mean_measure(label, values, groups, unit=unit, seed=examination.seed)

    details = []
    for other in examination.names:
        label = other.replace("_", " ") or "score"
        gap = better[other] - worse[other]
        if other != name:
            details.append(measure(f"{what}, by {label}", _wins(gap), "share"))
        if examination.spread[other] > 0:
            details.append(measure(f"{label}, gap", examination.in_sd(gap, other), "sd"))
    return Finding(
        effect=measure(what, _wins(better[name] - worse[name]), "share"),
        details=tuple(details),
        cases=_cases(examination, contrasts, better[name], worse[name]),
    )


def _wins(gap: Array) -> Array:
    return np.where(np.isfinite(gap), (gap > 0).astype(float), np.nan)


def _cases(
    examination: Examination, contrasts: Sequence[Contrast], better: Array, worse: Array
) -> tuple[Case, ...]:
    cases = []
    for place in worst(worse - better, [each.item.group for each in contrasts], least=-1e-12):
        contrast = contrasts[place]
        assert isinstance(contrast.worse, Sample)
        pictures = [
            Shown(label=label, image=sample.image, score=float(scores[place]))
            for label, sample, scores in (
                (contrast.labels[0], contrast.better, better),
                (contrast.labels[1], contrast.worse, worse),
            )
        ]
        text = f"{contrast.labels[1]} scores higher" if worse[place] > better[place] else "a tie"
        cases.append(examination.case(contrast.item, text, pictures))
    return tuple(cases)
