"""HP beyond its world: clean against damaged photographs.

Run: python benchmarks/real_photos.py --photos FOLDER [--model hp-mini] [--output FILE.json]
Photographs of scikit-image are added where it is installed.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from record import percent, write_run
from visreward import load_model
from visreward.core.images import read_image
from visreward.evaluation.photos import SEVERITIES, fit_photo, photo_table
from visreward.training.reporting.journal import shown

SKIMAGE_PHOTOS = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "camera",
    "coins",
    "hubble_deep_field",
)


def skimage_photos() -> dict[str, Image.Image]:
    """Return the photographs that lie in scikit-image's package; none where it is absent."""
    try:
        from skimage import data
    except ImportError:
        return {}
    folder = Path(data.__file__).parent
    found = {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.stem in SKIMAGE_PHOTOS and path.suffix in (".png", ".jpg")
    }
    return {name: read_image(path) for name, path in found.items()}


def main() -> None:
    """Print the table of flaws by severity and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--model", default="hp-mini")
    parser.add_argument("--max-side", type=int, default=512, help="pixels; larger ones are reduced")
    parser.add_argument("--repeats", type=int, default=4, help="draws of each flaw")
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args()
    pictures = {path.name: read_image(path) for path in sorted(options.photos.iterdir())}
    pictures |= skimage_photos()
    photos: list[NDArray[np.uint8]] = [
        fit_photo(picture, options.max_side) for picture in pictures.values()
    ]
    with shown(Console(stderr=True), "photographs") as progress:
        table = photo_table(
            load_model(options.model), photos, repeats=options.repeats, progress=progress
        )
    print(f"{len(photos)} photographs: {', '.join(pictures)}\n")
    print("| flaw | " + " | ".join(f"severity {severity}" for severity in SEVERITIES) + " |")
    print("|---" * (len(SEVERITIES) + 1) + "|")
    for flaw, row in table.by_flaw.items():
        print(f"| {flaw} | " + " | ".join(f"{100 * row[s].value:.0f} %" for s in SEVERITIES) + " |")
    shares = [table.by_severity[s] for s in SEVERITIES]
    print("| all | " + " | ".join(percent(a.value, a.low, a.high) for a in shares) + " |")
    severe = table.severe
    print(f"\nSeverity 2 and above: {percent(severe.value, severe.low, severe.high)}")
    settings = {"model": options.model, "max_side": options.max_side, "repeats": options.repeats}
    write_run(options.output, settings=settings, results=asdict(table))


if __name__ == "__main__":
    main()
