"""Are all scores there, and do they tell pictures apart?"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from visreward.evaluation.audit.effects import mean_measure
from visreward.evaluation.audit.examination import OVERALL, Array, Examination, Shown
from visreward.evaluation.audit.probe import Probe
from visreward.evaluation.audit.records import Case, Finding, Limit, Measure

FAMILY: Final = "scores"

CLOSE_SD: Final = 0.01
"""Two scores nearer to each other than this say nothing of two pictures."""

_AT_END: Final = 0.001
"""A score this near to an end of its range, as a share of the range, is at the end."""

_COMPLETE: Final = Limit(
    side="at most",
    value=0.0,
    reason="A picture without a finite score stops a training run. One is enough, so that this "
    "share has no interval.",
)
_SATURATED: Final = Limit(
    side="at most",
    value=0.1,
    reason="At the end of the range a better picture cannot score higher. More than one in ten "
    "there leaves good pictures without an order.",
)
_TIED: Final = Limit(
    side="at most",
    value=0.1,
    reason="A hundredth of a standard deviation is about rounding. Of scores that are spread like "
    "a normal distribution, 0.6 % of pairs are nearer than that.",
)


def _measure_complete(examination: Examination) -> Finding:
    missing = ~np.isfinite(examination.base[OVERALL])
    share = float(missing.mean())
    places = np.flatnonzero(missing)[:3]
    cases = tuple(
        examination.case(
            examination.items[place],
            "no score",
            (Shown(label="no score", image=examination.items[place].sample.image),),
        )
        for place in places
    )
    return Finding(
        effect=Measure(
            name="pictures without a score",
            value=share,
            low=share,
            high=share,
            unit="share",
            num=len(missing),
        ),
        cases=cases,
    )


def _measure_saturated(examination: Examination) -> Finding:
    """Return the share of pictures whose score is at an end of the range.

    Where an end is infinite, the highest (or lowest) score that occurs stands for it, if several
    pictures share it.
    """
    scores = examination.base[OVERALL]
    ends = [
        _at_end(scores, examination.model.facts.score_range, is_top=top) for top in (True, False)
    ]
    groups = [item.group for item in examination.items]
    missing = np.where(np.isfinite(scores), 0.0, np.nan)
    top, bottom = (
        mean_measure(name, at + missing, groups, unit="share", seed=examination.seed)
        for name, at in zip(("at the upper end", "at the lower end"), ends, strict=True)
    )
    both = mean_measure(
        "scores at an end of the range",
        np.maximum(*ends) + missing,
        groups,
        unit="share",
        seed=examination.seed,
    )
    return Finding(effect=both, details=(top, bottom), cases=_end_cases(examination, ends))


def _at_end(scores: Array, score_range: tuple[float, float], *, is_top: bool) -> Array:
    low, high = score_range
    end = high if is_top else low
    finite = np.isfinite(scores)
    if math.isfinite(low) and math.isfinite(high):
        reach = _AT_END * (high - low)
        return np.where(finite, np.abs(scores - end) <= reach, False).astype(float)
    if not math.isfinite(end):
        end = float(np.nanmax(scores) if is_top else np.nanmin(scores))
    tied = np.where(finite, scores == end, False)
    return (tied if tied.sum() > 1 else np.zeros_like(tied)).astype(float)


def _end_cases(examination: Examination, ends: list[Array]) -> tuple[Case, ...]:
    cases = []
    for at, word in zip(ends, ("upper", "lower"), strict=True):
        places = np.flatnonzero(at)[:4]
        if len(places) > 1:
            shown = [
                Shown(
                    label=examination.items[place].sample.id or "",
                    image=examination.items[place].sample.image,
                    score=float(examination.base[OVERALL][place]),
                )
                for place in places
            ]
            text = f"{int(at.sum())} pictures at the {word} end"
            cases.append(examination.case(examination.items[places[0]], text, shown))
    return tuple(cases)


def _measure_spread(examination: Examination) -> Finding:
    """Return the share of compared pictures whose scores are as good as equal."""
    pairs = examination.pairs
    scores = examination.base
    clusters = [examination.items[place].group for place in pairs[:, 0]]

    def measured(label: str, name: str) -> Measure:
        gap = np.abs(scores[name][pairs[:, 0]] - scores[name][pairs[:, 1]])
        close = np.where(
            np.isfinite(gap), (gap <= CLOSE_SD * examination.spread[name]).astype(float), np.nan
        )
        return mean_measure(label, close, clusters, unit="share", seed=examination.seed)

    details = [measured(f"by {name.replace('_', ' ')}", name) for name in examination.names if name]
    within = _within_share(examination)
    note = (
        ""
        if within is None
        else (
            f"{100 * within:.0f} % of the variance of the scores lies within prompts, where "
            "pictures compete; the rest tells prompts apart."
        )
    )
    return Finding(
        effect=measured("comparisons that are as good as tied", OVERALL),
        details=tuple(details),
        note=note,
    )


def _within_share(examination: Examination) -> float | None:
    scores = examination.base[OVERALL]
    kept = np.isfinite(scores)
    groups = np.array([item.group for item in examination.items])[kept]
    _, places = np.unique(groups, return_inverse=True)
    counts = np.bincount(places)
    if counts.max() < 2 or examination.spread[OVERALL] == 0:
        return None
    means = np.bincount(places, scores[kept]) / counts
    return float(((scores[kept] - means[places]) ** 2).mean() / examination.spread[OVERALL] ** 2)


def _one_picture(examination: Examination) -> str:
    return "" if len(examination.pairs) else "There is one picture, and nothing to compare."


PROBES: Final = (
    Probe(
        name="finite",
        family=FAMILY,
        question="Does every picture have a finite score?",
        limit=_COMPLETE,
        measure=_measure_complete,
    ),
    Probe(
        name="saturation",
        family=FAMILY,
        question="How many scores are at an end of their range?",
        limit=_SATURATED,
        measure=_measure_saturated,
    ),
    Probe(
        name="spread",
        family=FAMILY,
        question="How many compared pictures have as good as equal scores?",
        limit=_TIED,
        measure=_measure_spread,
        obstacle=_one_picture,
    ),
)
