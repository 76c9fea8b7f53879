"""Make the examples: six pictures for one prompt, and six edits of one picture.

Run it again after a change of the renderer: python examples/make_images.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visreward.data.scenes.examples import EDIT, PROMPT, edit_pictures, pictures

FOLDER = Path(__file__).resolve().parent / "images"
EDITS = Path(__file__).resolve().parent / "edits"


def write(folder: Path, pictures: Iterator[tuple[str, NDArray[np.uint8]]]) -> list[str]:
    """Save pictures and return their names."""
    folder.mkdir(exist_ok=True)
    names = []
    for name, pixels in pictures:
        Image.fromarray(pixels).save(folder / name, optimize=True)
        names.append(name)
    return names


def main() -> None:
    """Write the pictures and the rows that pair them with their prompts."""
    rows = [{"prompt": PROMPT, "image": name} for name in write(FOLDER, pictures())]
    before, *edited = write(EDITS, edit_pictures())
    edits = [{"prompt": EDIT.instruction, "image": name, "source_image": before} for name in edited]
    for folder, lines in ((FOLDER, rows), (EDITS, edits)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "samples.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
