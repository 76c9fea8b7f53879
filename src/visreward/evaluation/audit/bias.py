"""Do size, light, colour, detail or writing raise a score where they should not?"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from visreward.core.types import Sample
from visreward.evaluation.audit.changes import apply
from visreward.evaluation.audit.effects import MIN_CLUSTERS, mean_measure, within_correlation
from visreward.evaluation.audit.equals import MIN_EQUAL
from visreward.evaluation.audit.examination import OVERALL, Array, Examination, Shown, worst
from visreward.evaluation.audit.probe import Probe
from visreward.evaluation.audit.records import Case, Finding, Limit, Measure

FAMILY: Final = "bias"

Property = Callable[[Image.Image], float]

_COMMON_SIDE: Final = 128
"""Detail is measured at one size, so that it is not size once more."""

_BIAS: Final = Limit(
    side="within",
    value=0.3,
    reason="The pictures are equally good, so that nothing should follow the property. A rank "
    "correlation of 0.3 is a tenth of the order that the score puts them in.",
)
_WRITING: Final = Limit(
    side="at most",
    value=0.25,
    reason="Words written over a picture do not make it better. A quarter of a standard deviation "
    "turns 8 % of all comparisons.",
)


def size(picture: Image.Image) -> float:
    """Return the number of pixels."""
    return float(picture.width * picture.height)


def brightness(picture: Image.Image) -> float:
    """Return the mean luma, 0 to 255."""
    return float(np.asarray(picture.convert("L"), dtype=np.float64).mean())


def saturation(picture: Image.Image) -> float:
    """Return the mean saturation of HSV, 0 to 255."""
    return float(np.asarray(picture.convert("HSV"), dtype=np.float64)[..., 1].mean())


def contrast(picture: Image.Image) -> float:
    """Return the standard deviation of the luma."""
    return float(np.asarray(picture.convert("L"), dtype=np.float64).std())


def detail(picture: Image.Image) -> float:
    """Return the bytes of a JPEG of quality 85, after scaling the longer side to one length."""
    factor = _COMMON_SIDE / max(picture.size)
    sides = [max(1, round(side * factor)) for side in picture.size]
    small = picture.resize((sides[0], sides[1]), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return float(buffer.tell())


PROPERTIES: Final[dict[str, Property]] = {
    "size": size,
    "brightness": brightness,
    "saturation": saturation,
    "contrast": contrast,
    "detail": detail,
}


def _measure_property(examination: Examination, *, name: str) -> Finding:
    items, scores = examination.equals.items, examination.equal_scores
    values = np.array([PROPERTIES[name](examination.read(item.sample.image)) for item in items])
    groups = np.array([item.group for item in items])
    found = {
        each: within_correlation(
            f"score and {name}" if each == OVERALL else f"{each.replace('_', ' ')} and {name}",
            scores[each],
            values,
            groups,
            seed=examination.seed,
        )
        for each in examination.names
    }
    effect = found.pop(OVERALL) or Measure(
        name=f"score and {name}", value=0.0, low=0.0, high=0.0, unit="correlation", num=len(items)
    )
    is_flat = all((values[groups == group] == values[groups == group][0]).all() for group in groups)
    is_known = examination.equals.is_known
    notes = [
        f"Within each prompt, {name} is the same in all pictures." if is_flat else "",
        ""
        if is_known
        else "People may find these pictures unequal for reasons that go along with "
        f"{name}, so that this can warn and not fail.",
    ]
    return Finding(
        effect=effect,
        details=(
            *(each for each in found.values() if each is not None),
            *_slope(examination, scores[OVERALL], values, groups, name),
        ),
        cases=_cases(examination, scores[OVERALL], values, groups, name, effect.value),
        note=" ".join(note for note in notes if note),
        is_proof=is_known,
    )


def _slope(
    examination: Examination, scores: Array, values: Array, groups: Array, name: str
) -> list[Measure]:
    """Return how many SD of score one SD of the property goes along with, within prompts."""
    deviation = _centred(values, groups)
    spread = float(deviation.std())
    if spread == 0 or examination.spread[OVERALL] == 0 or not np.isfinite(scores).all():
        return []
    # The slope of a regression is a mean of products.
    products = examination.in_sd(_centred(scores, groups)) * deviation / spread
    label = f"score per SD of {name}"
    return [mean_measure(label, products, groups, unit="sd", seed=examination.seed)]


def _centred(values: Array, groups: Array) -> Array:
    _, places = np.unique(groups, return_inverse=True)
    means = np.bincount(places, values) / np.bincount(places)
    centred: Array = values - means[places]
    return centred


def _cases(
    examination: Examination,
    scores: Array,
    values: Array,
    groups: Array,
    name: str,
    effect: float,
) -> tuple[Case, ...]:
    """Return the prompts in which the score rises most as the property goes the effect's way."""
    items = examination.equals.items
    gains, ends = [], []
    for group in np.unique(groups):
        places = np.flatnonzero(groups == group)
        low, high = (places[values[places].argmin()], places[values[places].argmax()])
        if effect < 0:
            low, high = high, low
        gains.append(scores[high] - scores[low])
        ends.append((int(low), int(high)))
    if not gains or examination.spread[OVERALL] == 0:
        return ()
    gaps = examination.in_sd(np.array(gains))
    cases = []
    for place in worst(gaps):
        shown = tuple(
            Shown(
                label=f"{name} {values[end]:,.0f}",
                image=items[end].sample.image,
                score=float(scores[end]),
            )
            for end in ends[place]
        )
        text = f"{'more' if effect >= 0 else 'less'} {name}: {gaps[place]:+.2f} SD"
        cases.append(examination.case(items[ends[place][0]], text, shown))
    return tuple(cases)


def write_on(picture: Image.Image, words: str) -> Image.Image:
    """Return a picture with words on a white strip at its foot, wrapped to its width."""
    written = picture.copy()
    draw = ImageDraw.Draw(written)
    font = ImageFont.load_default(size=max(8, picture.height // 14))
    lines, line = [], ""
    for word in words.split():
        longer = f"{line} {word}".strip()
        if line and draw.textlength(longer, font=font) > picture.width - 4:
            lines.append(line)
            longer = word
        line = longer
    text = "\n".join([*lines, line][:4])
    box = draw.multiline_textbbox((2, 0), text, font=font)
    top = picture.height - round(box[3]) - 3
    draw.rectangle((0, top, picture.width, picture.height), fill="white")
    draw.multiline_text((2, top), text, font=font, fill="black")
    return written


def _written(sample: Sample, words: str, examination: Examination) -> Sample:
    return replace(sample, image=write_on(examination.read(sample.image), words))


def _measure_writing(examination: Examination) -> Finding:
    """Return how many SD of score the prompt, written on the picture, buys."""
    items = examination.items
    words = [item.sample.prompt.strip() or "a beautiful picture" for item in items]
    others = [*words[len(words) // 2 :], *words[: len(words) // 2]]
    before = examination.base[OVERALL]
    own, other = (
        examination.score(
            apply(lambda sample, t=text: _written(sample, t, examination), item.sample)  # type: ignore[misc]  # mypy knows no default of a lambda
            for item, text in zip(items, texts, strict=True)
        )[OVERALL]
        for texts in (words, others)
    )
    groups = [item.group for item in items]
    gain = examination.in_sd(own - before)

    def measured(name: str, values: Array) -> Measure:
        return mean_measure(name, values, groups, unit="sd", seed=examination.seed)

    return Finding(
        effect=measured("the prompt written on the picture", gain),
        details=(
            measured("another prompt written on it", examination.in_sd(other - before)),
            measured("its own words rather than others", examination.in_sd(own - other)),
        ),
        cases=tuple(
            examination.case(
                items[place],
                f"writing buys {gain[place]:+.2f} SD",
                (
                    Shown(
                        label="as it is",
                        image=items[place].sample.image,
                        score=float(before[place]),
                    ),
                    Shown(
                        label="written on",
                        image=_written(items[place].sample, words[place], examination).image,
                        score=float(own[place]),
                    ),
                ),
            )
            for place in worst(gain, groups)
        ),
    )


def _too_few(examination: Examination) -> str:
    if len({item.group for item in examination.equals.items}) >= MIN_CLUSTERS:
        return ""
    return (
        f"An order within prompts needs {MIN_CLUSTERS} prompts with {MIN_EQUAL} pictures or more."
    )


PROBES: Final = (
    *(
        Probe(
            name=f"{name}-bias",
            family=FAMILY,
            question=f"Among equally good pictures, does the score follow {name}?",
            limit=_BIAS,
            measure=partial(_measure_property, name=name),
            obstacle=_too_few,
        )
        for name in PROPERTIES
    ),
    Probe(
        name="text-bias",
        family=FAMILY,
        question="Does writing the prompt on the picture raise the score?",
        limit=_WRITING,
        measure=_measure_writing,
    ),
)
