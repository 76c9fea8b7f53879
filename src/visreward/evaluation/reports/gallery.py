"""Galleries: the groups on which models and people agree best and worst, with pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

import numpy as np

from visreward.core.types import ImageSource
from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult, PairVerdict
from visreward.evaluation.reports.agreement import Floats, Measured, agreement_of
from visreward.evaluation.reports.page import measure, picture, sources, text, thumbnail
from visreward.evaluation.reports.tables import section
from visreward.evaluation.reports.wording import clipped, letter_of
from visreward.scoring.table import bar_span, number_text

Place: TypeAlias = Literal["source"] | int
Pictures: TypeAlias = "Callable[[int, Place], ImageSource | None]"
"""Gives the source image of a group or the candidate at a place, or None where there is none."""

MAX_SHOWN: Final = 8
"""Candidates of a group, and models, that are shown."""

_NUM_AGREED: Final = 4
_NUM_WORST: Final = {1: 8, 2: 5, 3: 4}
_NUM_WORST_OF_MANY: Final = 3
_TIED: Final = ", tied"
_THUMBNAIL_SIDE: Final = 256
_PICTURE_BYTES: Final = 6_000_000
"""Characters that all pictures of a page may take together; the rest of a page is below 3 MB."""


class Album:
    """Makes small copies of pictures until a page has enough of them."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._left = _PICTURE_BYTES
        self.num_left_out = 0
        """Pictures that no longer fitted."""

    def tag(self, group: int, place: Place, name: str) -> str:
        """Return the element of a picture, or words where there is none."""
        source = self._pictures(group, place)
        uri = "" if source is None else thumbnail(source, max_side=_THUMBNAIL_SIDE)
        if len(uri) > self._left:
            self.num_left_out += 1
            uri = ""
        self._left -= len(uri)
        return picture(uri, name)

    def has_source(self, group: int) -> bool:
        """Return whether a group has a picture before the edit."""
        return self._pictures(group, "source") is not None


def gallery_sections(models: Sequence[Measured], pictures: Pictures) -> str:
    """Return the groups of best agreement, and those of worst disagreement of each model.

    A group is shown once; the answers of all models stand beside it.
    """
    album = Album(pictures)
    agreement = [agreement_of(model) for model in models]
    shown: set[int] = set()
    agreed = _best(agreement, shown)
    body = "".join(_group(group, models, album, of=None) for group in agreed)
    parts = [
        section(
            "agreement",
            "Where models and people agree best" if len(models) > 1 else "Best agreement",
            body,
            note="Groups that the models put in people's order with the widest gaps.",
        )
        if body
        else ""
    ]
    num = _NUM_WORST.get(len(models), _NUM_WORST_OF_MANY)
    for place, model in enumerate(models):
        worst = _worst(agreement[place], shown, num)
        body = "".join(_group(group, models, album, of=place) for group in worst)
        if body:
            title = "Worst disagreement" + (f": {model.name}" if len(models) > 1 else "")
            parts.append(
                section(
                    f"disagreement-{place}",
                    title,
                    body,
                    note="Groups with the pair on which the model is most sure of what people "
                    "deny; red candidates stand below one that people find worse. People make "
                    "mistakes too: look before you believe either.",
                )
            )
    if album.num_left_out:
        parts.append(
            f'<p class="count">{album.num_left_out} pictures are left out to keep the page '
            "small.</p>\n"
        )
    return "".join(parts)


def _best(agreement: Sequence[Floats], shown: set[int]) -> list[int]:
    """Return groups that most models order as people do, of those the widest gaps first.

    Where candidates are scored alone, no agreement is above 0, and the smallest gaps come first.
    """
    known = np.array(agreement)
    num_right = (known > 0).sum(axis=0)
    least = np.where(known > 0, known, np.inf).min(axis=0)
    least = np.where(num_right > 0, least, np.nan_to_num(known, nan=-np.inf).min(axis=0))
    order = np.lexsort((-least, -num_right))
    is_alone = not num_right.any() and np.isfinite(least).any()
    chosen = [
        int(group) for group in order if num_right[group] or (is_alone and least[group] > -0.1)
    ]
    shown.update(chosen[:_NUM_AGREED])
    return chosen[:_NUM_AGREED]


def _worst(agreement: Floats, shown: set[int], num: int) -> list[int]:
    order = np.argsort(np.where(np.isnan(agreement), np.inf, agreement), kind="stable")
    chosen = [int(group) for group in order if agreement[group] < 0 and int(group) not in shown]
    shown.update(chosen[:num])
    return chosen[:num]


def _group(number: int, models: Sequence[Measured], album: Album, *, of: int | None) -> str:
    """Return a group: prompt, source, candidates in people's order, and what each model says."""
    group = models[0].groups[number]
    num = len(group.candidates)
    order = sorted(range(num), key=lambda place: _standing(group.candidates[place]))
    cards = "".join(_card(number, place, models, album, of=of) for place in order[:MAX_SHOWN])
    left = f"; {num - MAX_SHOWN} more candidates are not shown" if num > MAX_SHOWN else ""
    before = [album.tag(number, "source", "before the edit")] if album.has_source(number) else []
    where = " · ".join(text(clipped(each, 80)) for each in (group.id, group.category) if each)
    orders = "".join(
        f"<dt>{text(clipped(name, 40))}</dt><dd>{said}</dd>\n"
        for name, said in [
            ("people", _order([-_standing(each) for each in group.candidates])),
            *((model.name, _said(model.groups[number])) for model in models[:MAX_SHOWN]),
        ]
        if num > 1
    )
    title = f"“{text(clipped(group.prompt, 400))}”" if group.prompt else "No prompt"
    return (
        f'<article class="group">\n<h3>{title}</h3>\n<p class="count">{where}{left}</p>\n'
        f'<div class="answers">{sources(before)}<dl class="orders">\n{orders}</dl></div>\n'
        f'<ol class="cards">\n{cards}</ol>\n</article>\n'
    )


def _card(
    number: int, place: int, models: Sequence[Measured], album: Album, *, of: int | None
) -> str:
    group = models[0].groups[number]
    candidate = group.candidates[place]
    letter = letter_of(place, len(group.candidates))
    said = _people(candidate, group)
    lines = "".join(
        _line(model.groups[number], place, model.name, is_total=of in (None, spot))
        for spot, model in enumerate(models[:MAX_SHOWN])
    )
    made_by = (
        f'<div class="name"><bdi>{text(clipped(candidate.generator, 60))}</bdi></div>'
        if candidate.generator
        else ""
    )
    is_wrong = of is not None and _is_wrong(models[of].groups[number], place)
    tag = album.tag(number, place, f"candidate {letter}, {said} by people")
    return f"""<li class="card{" wrong" if is_wrong else ""}">
<figure>{tag}<span class="rank">{letter} · {said.removesuffix(_TIED)}</span></figure>
<div class="facts">{made_by}
<dl class="measures">
{lines}</dl></div>
</li>
"""


def _line(group: GroupResult, place: int, name: str, *, is_total: bool) -> str:
    candidate = group.candidates[place]
    if candidate.value is None or not math.isfinite(candidate.value):
        words = "compares only" if group.verdicts and candidate.error is None else "no score"
        return measure(clipped(name, 40), f"<small>{words}</small>", (0, 0), is_total=is_total)
    scale = [each.value for each in group.candidates if each.value is not None]
    span = bar_span(candidate.value, [each for each in scale if math.isfinite(each)])
    return measure(clipped(name, 40), number_text(candidate.value), span, is_total=is_total)


def _standing(candidate: CandidateResult) -> float:
    """Return what orders candidates by people, lowest first."""
    if candidate.rank is not None:
        return float(candidate.rank)
    return math.inf if candidate.human is None else -candidate.human


def _people(candidate: CandidateResult, group: GroupResult) -> str:
    if candidate.rank is not None:
        is_tied = sum(each.rank == candidate.rank for each in group.candidates) > 1
        return f"rank {candidate.rank}{_TIED if is_tied else ''}"
    return "not ranked" if candidate.human is None else f"score {candidate.human:.3g}"


def _is_wrong(group: GroupResult, place: int) -> bool:
    """Return whether a model puts a candidate below one that people find worse, or beside it."""
    value = group.candidates[place].value
    if value is None:
        return False
    standing = _standing(group.candidates[place])
    return any(
        _standing(other) > standing and other.value is not None and other.value >= value
        for other in group.candidates
    )


def _order(values: Sequence[float | None]) -> str:
    """Return candidates by falling value, such as `B > A = C`; those without one stand apart."""
    num = len(values)
    known = [(value, place) for place, value in enumerate(values) if value is not None]
    known = [(value, place) for value, place in known if math.isfinite(value)]
    known.sort(key=lambda each: (-each[0], each[1]))
    words = ""
    for spot, (value, place) in enumerate(known):
        if spot:
            words += " = " if value == known[spot - 1][0] else " > "
        words += letter_of(place, num)
    lost = [letter_of(place, num) for place in range(num) if place not in {p for _, p in known}]
    if lost:
        words += f"{'; ' if words else ''}none for {', '.join(lost)}"
    return text(clipped(words, 120))


def _said(group: GroupResult) -> str:
    """Return a model's order, or the verdicts of a judge that compares."""
    if not group.verdicts:
        return _order([each.value for each in group.candidates])
    num = len(group.candidates)
    return text(clipped("; ".join(_verdict(each, num) for each in group.verdicts), 240))


def _verdict(verdict: PairVerdict, num: int) -> str:
    first, second = letter_of(verdict.first, num), letter_of(verdict.second, num)
    signs = {"first": ">", "second": "<", "tie": "=", None: "?"}
    return ", then ".join(f"{first} {signs[outcome]} {second}" for outcome in verdict.outcomes)
