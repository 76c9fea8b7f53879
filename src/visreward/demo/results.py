"""What a page shows of scores: cards, chances against the best, where a score stands, errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from visreward.demo.examples import words_of
from visreward.demo.loaded_models import is_builtin
from visreward.demo.scoring import Scored
from visreward.evaluation.reports.cards import (
    card,
    faults,
    model_line,
    range_text,
    scales_of,
    with_sigma,
)
from visreward.evaluation.reports.page import measure, picture, sources, text
from visreward.models.catalog import catalog
from visreward.scoring.records import short_name
from visreward.scoring.table import bar_span

if TYPE_CHECKING:
    from visreward.demo.loaded_models import LoadedModels
    from visreward.models.base import RewardModel
    from visreward.models.facts import ModelFacts
    from visreward.scoring.ranking import PromptRanking, RankedItem


def error_html(message: str) -> str:
    """Return why nothing was scored, as an alert."""
    return f'<div class="shown"><p class="error" role="alert">{text(message)}</p></div>'


def hint_html(message: str) -> str:
    """Return what stands where results will be."""
    return f'<div class="shown"><p class="hint">{text(message)}</p></div>'


def about_html(facts: ModelFacts) -> str:
    """Return what a reader of a score must know about its model."""
    return f'{_limits(facts)}<p class="about">{model_line(facts)}</p>\n'


def _limits(facts: ModelFacts) -> str:
    if not facts.note:
        return ""
    words = ". What it says of other pictures means little." if is_builtin(facts) else "."
    return f'<p class="note"><b>{text(facts.name)}</b> {text(facts.note)}{words}</p>\n'


def needs_text(facts: ModelFacts) -> str:
    """Return what a model needs, its range and its limits, below the choice of the model."""
    wanted = [
        "reads the prompt" if facts.needs_prompt else "reads no prompt",
        "needs a source image" if facts.needs_source else "takes no source image",
        range_text(facts.score_range),
        *([facts.note] if facts.note else []),
    ]
    return " · ".join(wanted)


def score_html(scored: Scored, model: RewardModel, *, landmarks: Scored | None) -> str:
    """Return one image's score: its card, and where it stands among the examples."""
    ranking = scored.ranking
    if ranking is None:
        return error_html(scored.failed[0].error or "")
    place = ranking.places[0]
    tag = picture(scored.thumbnails[place.item.name], f"The image scored: {place.item.name}")
    shown = card(place, model.facts, _single_scales(ranking, model.facts, landmarks), tag)
    stands = "" if landmarks is None else _ladder(place, landmarks, scored.thumbnails)
    return (
        f'<div class="shown single">{_asked(ranking.prompt, model)}{_before(scored)}'
        f'<ol class="cards">\n{shown}</ol>\n{stands}{about_html(model.facts)}</div>'
    )


def ranking_html(scored: Scored, model: RewardModel) -> str:
    """Return images of one prompt, best first, with each one's chance against the best.

    Failed images are named with their reasons below.
    """
    failed = f"<h2>Not scored</h2>\n{faults(scored.failed)}" if scored.failed else ""
    ranking = scored.ranking
    if ranking is None:
        return f'<div class="shown">{failed}{about_html(model.facts)}</div>'
    scales = scales_of(ranking, model.facts)
    best = ranking.places[0]
    cards = "".join(
        card(
            place,
            model.facts,
            scales,
            picture(scored.thumbnails[place.item.name], f"Rank {place.rank}: {place.item.name}"),
            more_measures="" if place is best else _chance(model, place, best),
        )
        for place in ranking.places
    )
    num, num_failed = len(ranking.places), len(scored.failed)
    count = f"{num} image{'s' if num > 1 else ''} scored, best first"
    count += f"; {num_failed} not scored, see below" if failed else ""
    return (
        f'<div class="shown">{_asked(ranking.prompt, model)}<p class="count">{count}</p>\n'
        f'{_before(scored)}<ol class="cards">\n{cards}</ol>\n{failed}'
        f"{_reading(best, num)}{about_html(model.facts)}</div>"
    )


def models_html(models: LoadedModels) -> str:
    """Return what is loaded, what each model needs, and what its scores are worth."""
    return (
        f'<div class="shown"><div class="models">{"".join(map(_model_html, models.facts))}</div>'
        '<p class="about">Other models: <code>visreward models list</code> names them, and '
        "<code>visreward demo --model NAME</code> starts this page with them.</p></div>"
    )


def _model_html(facts: ModelFacts) -> str:
    dimensions = ", ".join(name.replace("_", " ") for name in facts.dimensions) or "one number"
    follows = "the released code" if facts.fidelity == "released" else "the paper"
    row = catalog().get(facts.name)
    rows = {
        "Needs": "an image"
        + (", a prompt" if facts.needs_prompt else "")
        + (", the source image" if facts.needs_source else ""),
        "Scores": f"{range_text(facts.score_range).removeprefix('scores ')}, higher is better",
        "Made of": dimensions,
        "Follows": follows,
        "Licence": facts.licence or "not stated",
        "Revision": facts.revision or "not stated",
        "Paper": "not stated" if row is None else row.paper,
    }
    lines = "".join(f"<dt>{name}</dt><dd>{text(value)}</dd>\n" for name, value in rows.items())
    return (
        f'<section class="model-facts" aria-label="{text(facts.name)}"><h2>{text(facts.name)}</h2>'
        f"{_limits(facts)}<dl>{lines}</dl></section>"
    )


def _single_scales(
    ranking: PromptRanking, facts: ModelFacts, landmarks: Scored | None
) -> dict[str, list[float]]:
    """Return scales on which one score can be read: the model's range, and the examples."""
    scales = scales_of(ranking, facts)
    if landmarks is not None and landmarks.ranking is not None:
        for name, values in scales_of(landmarks.ranking, facts).items():
            scales[name] += values
    scales[""] += [end for end in facts.score_range if math.isfinite(end)]
    return scales


def _asked(prompt: str, model: RewardModel) -> str:
    words = f"“{text(prompt)}”" if model.facts.needs_prompt else "The image alone, without a prompt"
    return f'<h2 class="asked">{words}</h2>\n'


def _before(scored: Scored) -> str:
    return "" if scored.source is None else sources([picture(scored.source, "before the edit")])


def _chance(model: RewardModel, place: RankedItem, best: RankedItem) -> str:
    chance = model.prefer(place.score, best.score)
    return measure("beats the best", _percent(chance), (0.0, chance), is_total=False)


def _percent(chance: float) -> str:
    return f"{100 * chance:.0f} %" if chance >= 0.01 else "under 1 %"


def _reading(best: RankedItem, num: int) -> str:
    if num == 1:
        return ""
    certain = (
        " This model gives no uncertainty, so its scores count as certain."
        if best.score.sigma is None
        else " It reads both scores with their uncertainty (±)."
    )
    return (
        '<p class="about">Bars start at 0 and share one scale. “Beats the best” is the '
        f"probability that the image is preferred to the one at rank 1.{certain}</p>\n"
    )


def _ladder(place: RankedItem, landmarks: Scored, thumbnails: dict[str, str]) -> str:
    """Return the score among those of the examples, highest first."""
    assert landmarks.ranking is not None
    known = landmarks.ranking
    scale = [*(each.score.value for each in known.places), place.score.value]
    rows = [(each, landmarks.thumbnails[each.item.name], False) for each in known.places]
    rows.append((place, thumbnails[place.item.name], True))
    rows.sort(key=lambda row: -row[0].score.value)
    lines = "".join(_rung(each, uri, scale, is_own=is_own) for each, uri, is_own in rows)
    return (
        "<h2>Where this score stands</h2>\n"
        f'<p class="count">Among the examples for “{text(known.prompt)}”</p>\n'
        f'<ol class="ladder">\n{lines}</ol>\n'
    )


def _rung(place: RankedItem, uri: str, scale: list[float], *, is_own: bool) -> str:
    begin, end = bar_span(place.score.value, scale)
    name = short_name(place.item)
    words = "this image" if is_own else words_of(name)
    own = ' class="own" aria-current="true"' if is_own else ""
    bar = f"left:{100 * begin:.2f}%;width:{100 * (end - begin):.2f}%"
    return (
        f'<li{own}><img src="{uri}" alt=""><span class="what">{text(words)}</span>'
        f'<span class="bar"><i style="{bar}"></i></span>'
        f'<span class="value">{with_sigma(place.score.value, place.score.sigma)}</span></li>\n'
    )
