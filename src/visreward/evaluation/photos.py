"""Does a model prefer a photograph to a damaged copy of it?

Shapes: P photographs, H/W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visreward.data.scenes.flaws import FLAWS, apply_flaw
from visreward.evaluation.metrics.intervals import Accuracy, share_of
from visreward.evaluation.pictures import PictureRow, score_rows
from visreward.models.base import RewardModel

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageCase:
    """One photograph with one flaw.

    Attributes:
        photo: Index of the photograph.
        seed: Entropy of the randomness inside the flaw.
    """

    photo: int
    flaw: str
    severity: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoTable:
    """How often the clean photograph scores strictly higher.

    Attributes:
        by_flaw: By flaw and severity.
        by_severity: Over all flaws.
        severe: Over all flaws at severity 2 and above.
    """

    by_flaw: dict[str, dict[int, Accuracy]]
    by_severity: dict[int, Accuracy]
    severe: Accuracy


def damage_cases(num_photos: int, *, repeats: int = 1) -> list[DamageCase]:
    """Return every photograph with every flaw at every severity, `repeats` draws of each."""
    return [
        DamageCase(photo=photo, flaw=flaw, severity=severity, seed=draw)
        for photo in range(num_photos)
        for flaw in FLAWS
        for severity in SEVERITIES
        for draw in range(repeats)
    ]


def damage_row(
    index: int, *, cases: Sequence[DamageCase], photos: Sequence[NDArray[np.uint8]]
) -> PictureRow:
    """Return the clean photograph and its damaged copy of one case; deterministic."""
    case = cases[index]
    rng = np.random.default_rng([case.photo, case.severity, case.seed, len(case.flaw)])
    damaged = apply_flaw(photos[case.photo], case.flaw, case.severity, rng)
    return PictureRow(pictures=(photos[case.photo], damaged), prompt="a photograph")


def fit_photo(image: Image.Image, max_side: int) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 with the longer side at most `max_side` pixels."""
    picture = image.convert("RGB")
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def photo_table(
    model: RewardModel,
    photos: Sequence[NDArray[np.uint8]],
    *,
    repeats: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> PhotoTable:
    """Return how often a model prefers each photograph to its damaged copies.

    Args:
        model: A model that needs no prompt, or takes "a photograph" as one.
        photos: P pictures, (H, W, 3) uint8.
        repeats: Draws of the randomness inside a flaw.
        progress: Called with (pairs done, pairs).

    Raises:
        UsageError: if there are no photographs.
    """
    cases = damage_cases(len(photos), repeats=repeats)
    make = partial(damage_row, cases=cases, photos=photos)
    scores = score_rows([model], make, num=len(cases), progress=progress)[model.facts.name]
    right = scores[:, 0] > scores[:, 1]

    def share(wanted: Callable[[DamageCase], bool]) -> Accuracy:
        return share_of(right[[wanted(case) for case in cases]])

    return PhotoTable(
        by_flaw={
            flaw: {
                severity: share(lambda c, f=flaw, s=severity: (c.flaw, c.severity) == (f, s))  # type: ignore[misc]
                for severity in SEVERITIES
            }
            for flaw in FLAWS
        },
        by_severity={
            severity: share(lambda c, s=severity: c.severity == s)  # type: ignore[misc]
            for severity in SEVERITIES
        },
        severe=share(lambda case: case.severity >= 2),
    )
