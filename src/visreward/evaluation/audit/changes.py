"""Changes that should leave a score as it is, measured in one way for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visreward.core.errors import InputError
from visreward.core.types import Sample
from visreward.evaluation.audit.effects import mean_measure
from visreward.evaluation.audit.examination import OVERALL, Array, Examination, Shown, worst
from visreward.evaluation.audit.items import AuditItem
from visreward.evaluation.audit.records import Case, Finding, Measure
from visreward.scoring.records import RowError

Change = Callable[[Sample], Sample]
"""Makes the sample that should have the same score; it may read the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A change in several strengths.

    Attributes:
        effect: Name of those that the effect is measured on.
        mild: By name; their mean is the effect.
        strong: By name; for information.
    """

    effect: str
    mild: Mapping[str, Change]
    strong: Mapping[str, Change]


def on_pictures(change: Callable[[Image.Image], Image.Image], examination: Examination) -> Change:
    """Return a change of pictures as a change of samples; sources of edits change alike."""

    def changed(sample: Sample) -> Sample:
        picture = change(examination.read(sample.image))
        sources = tuple(change(examination.read(source)) for source in sample.sources)
        return replace(sample, image=picture, source_image=sources or None)

    return changed


def apply(change: Change, sample: Sample) -> Sample | RowError:
    """Return a changed sample, or why it cannot be changed."""
    try:
        return change(sample)
    except InputError as error:
        return RowError(name=sample.id or "", reason=str(error))


def change_finding(
    examination: Examination, changes: Changes, *, items: Sequence[AuditItem] | None = None
) -> Finding:
    """Return how far scores move under changes that people would not mind.

    The effect is the mean absolute change in standard deviations of the score.

    Args:
        examination: Of the model.
        changes: What is changed.
        items: Which pictures; None takes all.
    """
    chosen = examination.items if items is None else tuple(items)
    before = examination.base_of(chosen)
    after = {
        name: examination.score(apply(change, item.sample) for item in chosen)
        for name, change in {**changes.mild, **changes.strong}.items()
    }
    groups = [item.group for item in chosen]
    measured = partial(_distance, examination, before, groups)
    mild = [after[name] for name in changes.mild]
    details = [measured(name, [scores]) for name, scores in after.items()] if len(after) > 1 else []
    details += [
        measured(dimension.replace("_", " "), mild, dimension)
        for dimension in examination.names
        if dimension != OVERALL and examination.spread[dimension] > 0
    ]
    turned = _turned(examination, before, mild, chosen)
    return Finding(
        effect=measured(changes.effect, mild),
        details=(*details, *turned),
        cases=_cases(examination, chosen, before[OVERALL], changes, after),
    )


def _distance(
    examination: Examination,
    before: Mapping[str, Array],
    groups: Sequence[int],
    label: str,
    after: Sequence[Mapping[str, Array]],
    name: str = OVERALL,
) -> Measure:
    """Return the mean absolute change of a score over one or several changes."""
    moved = np.mean([np.abs(scores[name] - before[name]) for scores in after], axis=0)
    return mean_measure(
        label, examination.in_sd(moved, name), groups, unit="sd", seed=examination.seed
    )


def turned_pairs(before: Array, after: Array, pairs: NDArray[np.int64]) -> Array:
    """Return (P,) whether each comparison turns round: 1, 0, or NaN without all scores."""
    first, second = pairs[:, 0], pairs[:, 1]
    old, new = before[first] - before[second], after[first] - after[second]
    return np.where(np.isfinite(old + new), (np.sign(old) * np.sign(new) < 0).astype(float), np.nan)


def _turned(
    examination: Examination,
    before: Mapping[str, Array],
    after: Sequence[Mapping[str, Array]],
    chosen: Sequence[AuditItem],
) -> tuple[Measure, ...]:
    """Return how many comparisons turn when both pictures change; nothing for parts of the set."""
    pairs = examination.pairs
    if len(chosen) < len(examination.items) or not len(pairs):
        return ()
    turned = np.mean(
        [turned_pairs(before[OVERALL], each[OVERALL], pairs) for each in after], axis=0
    )
    clusters = [chosen[place].group for place in pairs[:, 0]]
    return (
        mean_measure(
            "comparisons that turn", turned, clusters, unit="share", seed=examination.seed
        ),
    )


def _cases(
    examination: Examination,
    chosen: Sequence[AuditItem],
    before: Array,
    changes: Changes,
    after: Mapping[str, Mapping[str, Array]],
) -> tuple[Case, ...]:
    names = list(changes.mild)
    moved = np.array([after[name][OVERALL] - before for name in names])
    distance = np.abs(examination.in_sd(moved))
    biggest = np.nan_to_num(distance, nan=-1.0).argmax(axis=0)
    cases = []
    for place in worst(distance[biggest, np.arange(len(chosen))], [item.group for item in chosen]):
        item, name = chosen[place], names[biggest[place]]
        changed = changes.mild[name](item.sample)
        change = float(examination.in_sd(moved[biggest[place], place]))
        label = name if changed.prompt == item.sample.prompt else f"“{changed.prompt}”"
        cases.append(
            examination.case(
                item,
                f"{name}: {change:+.2f} SD",
                (
                    Shown(label="as it is", image=item.sample.image, score=float(before[place])),
                    Shown(
                        label=label, image=changed.image, score=float(after[name][OVERALL][place])
                    ),
                ),
            )
        )
    return tuple(cases)
