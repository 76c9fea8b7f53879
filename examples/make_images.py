"""Make the example images: one prompt, six pictures from right and rich to wrong or broken.

Run it again after a change of the renderer: python examples/make_images.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visreward.data.scenes.flaws import apply_flaw
from visreward.data.scenes.grammar import PLAIN_BACKGROUND, PLAIN_LIGHT, Scene, Thing
from visreward.data.scenes.render import render

FOLDER = Path(__file__).resolve().parent / "images"
PROMPT = "two small orange metal cubes left of a large purple rubber cylinder"
SIZE = 224

# Both combinations are held out: no model that ships was trained on them.
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


def main() -> None:
    """Write the pictures and the rows that pair them with the prompt."""
    rows = []
    for name, pixels in pictures():
        Image.fromarray(pixels).save(FOLDER / name, optimize=True)
        rows.append(json.dumps({"prompt": PROMPT, "image": name}) + "\n")
    (FOLDER / "samples.jsonl").write_text("".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
