"""Does a score hold where a picture is saved, scaled, cut, mirrored or lit a little otherwise?

For edits, source and result change alike, so that the edit stays what it was.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeAlias

from PIL import Image, ImageEnhance, ImageOps

from visreward.evaluation.audit.changes import Changes, change_finding, on_pictures
from visreward.evaluation.audit.examination import Examination
from visreward.evaluation.audit.items import AuditItem
from visreward.evaluation.audit.probe import Probe
from visreward.evaluation.audit.records import Finding, Limit

FAMILY: Final = "pictures"

Edit: TypeAlias = Callable[[Image.Image], Image.Image]

_UNSEEN: Final = Limit(
    side="at most",
    value=0.25,
    reason="People hardly see it. A quarter of a standard deviation turns 8 % of all comparisons.",
)
_SEEN: Final = Limit(
    side="at most",
    value=0.5,
    reason="People see it and do not mind. Half a standard deviation turns 15 % of all "
    "comparisons.",
)
_SIDES: Final = re.compile(r"\b(left|right|clockwise|text|letters?|words?|sign)\b", re.IGNORECASE)


def jpeg(picture: Image.Image, *, quality: int) -> Image.Image:
    """Return a picture saved as JPEG and read again."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as saved:
        return saved.convert("RGB")


def resize(picture: Image.Image, *, factor: float) -> Image.Image:
    """Return a picture scaled by a factor."""
    size = tuple(max(1, round(side * factor)) for side in picture.size)
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)


def crop(picture: Image.Image, *, share: float) -> Image.Image:
    """Return a picture without a share of its width and height at each side."""
    across, down = round(picture.width * share), round(picture.height * share)
    return picture.crop((across, down, picture.width - across, picture.height - down))


def pad(picture: Image.Image, *, share: float, colour: str) -> Image.Image:
    """Return a picture in a frame, whose width is a share of the shorter side."""
    width = max(1, round(min(picture.size) * share))
    return ImageOps.expand(picture, border=width, fill=colour)


def brighten(picture: Image.Image, *, factor: float) -> Image.Image:
    """Return a picture with all values times a factor, clipped."""
    return ImageEnhance.Brightness(picture).enhance(factor)


def _has_no_sides(item: AuditItem) -> bool:
    return _SIDES.search(item.sample.prompt) is None


def _no_unsided(examination: Examination) -> str:
    if any(map(_has_no_sides, examination.items)):
        return ""
    return "Every prompt speaks of left, right or writing, which a mirror changes."


def _measure(
    examination: Examination,
    *,
    effect: str,
    mild: Mapping[str, Edit],
    strong: Mapping[str, Edit],
    keeps: Callable[[AuditItem], bool] = lambda _: True,
) -> Finding:
    made = [
        {name: on_pictures(edit, examination) for name, edit in edits.items()}
        for edits in (mild, strong)
    ]
    items = [item for item in examination.items if keeps(item)]
    return change_finding(
        examination, Changes(effect=effect, mild=made[0], strong=made[1]), items=items
    )


def _probe(
    name: str,
    question: str,
    limit: Limit,
    *,
    effect: str,
    mild: Mapping[str, Edit],
    strong: Mapping[str, Edit],
) -> Probe:
    return Probe(
        name=name,
        family=FAMILY,
        question=question,
        limit=limit,
        measure=partial(_measure, effect=effect, mild=mild, strong=strong),
    )


PROBES: Final = (
    _probe(
        "jpeg",
        "Does saving as JPEG at quality 90 move the score?",
        _UNSEEN,
        effect="quality 90",
        mild={"quality 90": partial(jpeg, quality=90)},
        strong={f"quality {each}": partial(jpeg, quality=each) for each in (70, 50, 30)},
    ),
    _probe(
        "resize",
        "Does scaling the picture move the score?",
        _UNSEEN,
        effect="to 75 % and 150 %",
        mild={
            "to 75 %": partial(resize, factor=0.75),
            "to 150 %": partial(resize, factor=1.5),
        },
        strong={"to 50 %": partial(resize, factor=0.5)},
    ),
    _probe(
        "crop",
        "Does cutting off a small margin move the score?",
        _SEEN,
        effect="3 % of each side",
        mild={"3 % of each side": partial(crop, share=0.03)},
        strong={
            "6 % of each side": partial(crop, share=0.06),
            "10 % of each side": partial(crop, share=0.10),
        },
    ),
    Probe(
        name="flip",
        family=FAMILY,
        question="Does mirroring the picture move the score, where the prompt names no side?",
        limit=_SEEN,
        measure=partial(
            _measure,
            effect="mirrored",
            mild={"mirrored": ImageOps.mirror},
            strong={},
            keeps=_has_no_sides,
        ),
        obstacle=_no_unsided,
    ),
    _probe(
        "padding",
        "Does a thin frame move the score?",
        _SEEN,
        effect="white or black, 3 %",
        mild={
            "white, 3 %": partial(pad, share=0.03, colour="white"),
            "black, 3 %": partial(pad, share=0.03, colour="black"),
        },
        strong={"white, 8 %": partial(pad, share=0.08, colour="white")},
    ),
    _probe(
        "brightness",
        "Does a little more or less light move the score?",
        _UNSEEN,
        effect="10 % darker or brighter",
        mild={
            "10 % darker": partial(brighten, factor=0.9),
            "10 % brighter": partial(brighten, factor=1.1),
        },
        strong={
            "30 % darker": partial(brighten, factor=0.7),
            "30 % brighter": partial(brighten, factor=1.3),
        },
    ),
)
