"""Do pictures of nothing score below pictures?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from PIL import Image

from visreward.core.errors import InputError
from visreward.core.types import Sample
from visreward.evaluation.audit.contrasts import Contrast, contrast_finding
from visreward.evaluation.audit.examination import Examination
from visreward.evaluation.audit.probe import Probe
from visreward.evaluation.audit.records import Finding, Limit
from visreward.scoring.records import RowError

FAMILY: Final = "blanks"

Blank = Callable[[tuple[int, int], np.random.Generator], Image.Image]
"""Makes a picture of a size, width first."""

_LIMIT: Final = Limit(
    side="at least",
    value=0.9,
    reason="No person prefers it to a picture that shows what was asked for. One in ten is left "
    "to chance, and to prompts that such a picture could fulfil.",
)


def _even(size: tuple[int, int], _: np.random.Generator, *, colour: str) -> Image.Image:
    return Image.new("RGB", size, colour)


def _noise(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(rng.integers(256, size=(size[1], size[0], 3), dtype=np.uint8))


def _measure(examination: Examination, *, blank: Blank, label: str) -> Finding:
    rng = np.random.default_rng([examination.seed, 2])
    contrasts = []
    for item in examination.right_items:
        worse: Sample | RowError
        try:
            size = examination.read(item.sample.image).size
        except InputError as error:
            worse = RowError(name=item.sample.id or "", reason=str(error))
        else:
            worse = replace(item.sample, image=blank(size, rng))
        contrasts.append(
            Contrast(item=item, better=item.sample, worse=worse, labels=("the picture", label))
        )
    return contrast_finding(examination, contrasts, what=f"the picture beats {label}")


def _probe(name: str, blank: Blank) -> Probe:
    label = "noise" if name == "noise" else f"a {name} picture"
    return Probe(
        name=name,
        family=FAMILY,
        question=f"Does a right picture score higher than {label}?",
        limit=_LIMIT,
        measure=partial(_measure, blank=blank, label=label),
    )


PROBES: Final = (
    _probe("black", partial(_even, colour="black")),
    _probe("white", partial(_even, colour="white")),
    _probe("noise", _noise),
)
