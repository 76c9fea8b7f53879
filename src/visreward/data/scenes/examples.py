"""The example pictures: six for one prompt, and six edits of one picture.

All combinations are held out: no model that ships was trained on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from visreward.data.scenes.edits import plan_edit, render_edit
from visreward.data.scenes.flaws import apply_flaw
from visreward.data.scenes.grammar import PLAIN_BACKGROUND, PLAIN_LIGHT, Scene, Thing
from visreward.data.scenes.render import render

PROMPT = "two small orange metal cubes left of a large purple rubber cylinder"
SIZE = 224

EDIT = plan_edit(seed=0, split="test", index=1)
CUBES = Thing("cube", "orange", "small", "metal", count=2)
CYLINDER = Thing("cylinder", "purple", "large", "rubber")
PLAIN = Scene(
    things=(CUBES, CYLINDER),
    relation="left of",
    background=PLAIN_BACKGROUND,
    light=PLAIN_LIGHT,
    decorations=(),
    rich=False,
    layout=5,
)
RICH = replace(
    PLAIN,
    background="meadow",
    light="warm sunset light",
    decorations=("clouds", "flowers"),
    rich=True,
)


def pictures() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield file names and (H, W, 3) uint8 pictures."""
    wrong_colour = replace(PLAIN, things=(replace(CUBES, colour="white"), CYLINDER))
    wrong_place = replace(RICH, relation="right of")
    missing = replace(PLAIN, things=(CUBES,), relation=None)
    rng = np.random.default_rng(0)
    yield "right-and-rich.png", render(RICH, SIZE)
    yield "right-and-plain.png", render(PLAIN, SIZE)
    yield "wrong-colour.png", render(wrong_colour, SIZE)
    yield "wrong-place.png", render(wrong_place, SIZE)
    yield "cylinder-missing.png", render(missing, SIZE)
    yield "right-but-blurred.png", apply_flaw(render(PLAIN, SIZE), "blur", 5, rng)


def edit_pictures() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield file names and (H, W, 3) uint8 pictures: the one before the edit, then the edits."""
    edit = render_edit(EDIT, size=SIZE)
    yield "before.png", edit.source_image
    for candidate, pixels in zip(edit.candidates, edit.images, strict=True):
        yield f"{candidate.kind.replace(' ', '-')}.png", pixels
