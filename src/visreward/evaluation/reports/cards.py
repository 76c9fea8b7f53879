"""Scored images as cards, and the line about the model beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from visreward.evaluation.reports.page import measure, text
from visreward.scoring.ranking import PromptRanking, RankedItem
from visreward.scoring.records import ScoredItem, short_name
from visreward.scoring.table import bar_span, number_text

if TYPE_CHECKING:
    from visreward.models.facts import ModelFacts


def model_line(facts: ModelFacts) -> str:
    """Return what a reader must know about a model, in one line of HTML."""
    parts = [f"<b>{text(facts.name)}</b>"]
    if facts.revision:
        parts.append(f"revision {text(facts.revision)}")
    parts += [range_text(facts.score_range), "higher is better"]
    parts.append(f"follows the {'released code' if facts.fidelity == 'released' else 'paper'}")
    if facts.licence:
        parts.append(f"licence {text(facts.licence)}")
    return " · ".join(parts)


def range_text(score_range: tuple[float, float]) -> str:
    """Return between what bounds a model's scores lie, in words."""
    low, high = score_range
    if math.isfinite(low) and math.isfinite(high):
        return f"scores from {low:g} to {high:g}"
    if math.isfinite(low):
        return f"scores from {low:g} up"
    return f"scores up to {high:g}" if math.isfinite(high) else "scores without bounds"


def scales_of(ranking: PromptRanking, facts: ModelFacts) -> dict[str, list[float]]:
    """Return the numbers that share a bar's scale: by dimension, and of the scores under ``""``."""
    scales = {
        name: [place.score.dimensions[name].mu for place in ranking.places]
        for name in facts.dimensions
    }
    return {**scales, "": [place.score.value for place in ranking.places]}


def card(
    place: RankedItem,
    facts: ModelFacts,
    scales: Mapping[str, Sequence[float]],
    tag: str,
    *,
    more_measures: str = "",
) -> str:
    """Return one place of a ranking: picture, rank, name, bars and remarks.

    Args:
        place: What to show.
        facts: Of the model.
        scales: From `scales_of`.
        tag: HTML of the picture.
        more_measures: Further lines from `page.measure`.
    """
    score = place.score
    name = short_name(place.item)
    total = with_sigma(score.value, score.sigma)
    measures = measure("score", total, bar_span(score.value, scales[""]), is_total=True)
    for dimension in facts.dimensions:
        part = score.dimensions[dimension]
        span = bar_span(part.mu, scales[dimension])
        measures += measure(dimension, with_sigma(part.mu, part.sigma), span, is_total=False)
    remarks = "".join(f'<p class="remark">{text(note)}</p>\n' for note in score.notes)
    best = " best" if place.rank == 1 and len(scales[""]) > 1 else ""
    return f"""<li class="card{best}">
<figure>{tag}<span class="rank">{place.rank}</span></figure>
<div class="facts">
<div class="name"><bdi>{text(name)}</bdi></div>
<dl class="measures">
{measures}{more_measures}</dl>
{remarks}</div>
</li>
"""


def with_sigma(mu: float, sigma: float | None) -> str:
    """Return a number as HTML, with its standard deviation where there is one."""
    if sigma is None:
        return number_text(mu)
    spread = f"± {sigma:.2g}" if sigma >= 0.001 else "± under 0.001"
    return f"{number_text(mu)} <small>{spread}</small>"


def faults(failed: Iterable[ScoredItem]) -> str:
    """Return a list of what could not be scored and why, or nothing."""
    # An image that fails with every prompt is one line.
    reasons = dict.fromkeys((item.name, item.error or "") for item in failed)
    lines = "".join(
        f"<li><b><bdi>{text(name)}</bdi></b>{text(reason)}</li>\n" for name, reason in reasons
    )
    return f'<ul class="faults">\n{lines}</ul>\n' if reasons else ""
