"""Measure how many images a core makes ready for training: our feed, and the released way.

Run: python benchmarks/train_pipeline.py --output benchmarks/results/train-pipeline.json
The model is left out: a batch is made and thrown away. A pair is a source image and two edited
ones, JPEG files of 1024 x 1024, seen at 256 x 28 x 28 pixels under two rating prompts.

Plain: for each rating prompt and each of the two images, the source and the image are opened,
decoded, resized, and normalised and cut by the image processor of transformers, so that a pair
decodes eight images; tokens are made for each. Ours: a batch decodes its three images once, and
makes the tokens of the four sequences. `feed` stops at uint8 pixels, as training does, which cuts
and normalises on the model's device; `feed, patches` does that on the same core too; `feed, kept
pixels` is every epoch but the first with `data.cache_pixels`.

Rates are distinct images per second of CPU time, in one thread; both sides alternate in one run,
and the median of the repeats counts. The patches of both are compared.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from record import write_run
from visreward.models.vlm.editreward import EditReward
from visreward.training.config import DataConfig
from visreward.training.data.batches import Batch
from visreward.training.data.feeds import Feed
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.questions import questions_of
from visreward.training.data.reading import read_rows
from visreward.training.objectives.pairwise import row_sequences
from vlm_sides import INSTRUCTION, SIZES, build_ours

IMAGES_PER_PAIR = 3
TOLERANCE = 1e-5


def write_pairs(folder: Path, *, num: int, side: int) -> None:
    """Write pairs in EditReward's layout, whose JPEG files are about as large as photos."""
    rng = np.random.default_rng(0)
    rows = []
    for pair in range(num):
        names = [f"{pair}-{place}.jpg" for place in range(IMAGES_PER_PAIR)]
        for name in names:
            small = Image.fromarray(rng.integers(0, 256, (side // 16, side // 16, 3), np.uint8))
            smooth = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), np.int16)
            grain = rng.integers(-6, 7, (side, side, 1), np.int16)
            pixels = (smooth + grain).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name, quality=90)
        keys = ("path_src", "path1", "path2")
        rows.append(dict(zip(keys, names, strict=True)) | {"prompt": f"{INSTRUCTION} {pair}"})
    (folder / "train.json").write_text(json.dumps(rows), encoding="utf-8")


def plain_batch(model: EditReward, batch: list[dict[str, Any]], folder: Path) -> list[Tensor]:
    """Return the patches of each sequence of a batch, and make its tokens."""
    inputs = model.inputs
    found = []
    for row in batch:
        for dimension in inputs.dimensions:
            for key in ("path1", "path2"):
                shown = []
                for name in (row["path_src"], row[key]):
                    with Image.open(folder / name) as file:
                        shown.append(inputs.patches.resized(file.convert("RGB")))
                cut = inputs.patches.processor(images=shown, do_resize=False, return_tensors="pt")
                inputs.chat.tokens(dimension, row["prompt"], num_images=len(shown))
                found.append(cut["pixel_values"])
    return found


def our_batch(model: EditReward, batch: Batch, *, has_patches: bool) -> Tensor | None:
    """Make the tokens of a batch, and return the patches of its images where they are wanted."""
    lined_up = row_sequences(model, batch, questions_of(batch.rows), [])
    return model.inputs.patches.patches(lined_up.images).values if has_patches else None


def measure(work: Callable[[], object], *, num_images: int) -> float:
    """Return the images per second of CPU time that some work gets through."""
    start = time.process_time()
    work()
    return num_images / (time.process_time() - start)


def largest_difference(model: EditReward, feed: Feed, rows: list[Any], folder: Path) -> float:
    """Return by how much the patches of the first pair differ between both sides."""
    ours = our_batch(model, feed.batch_of([0]), has_patches=True)
    assert ours is not None
    source, chosen, rejected = ours.chunk(IMAGES_PER_PAIR)
    plain = plain_batch(model, rows[:1], folder)
    sides = [torch.cat([source, image]) for image in (chosen, rejected)] * 2
    return max((one - other).abs().max().item() for one, other in zip(plain, sides, strict=True))


def main() -> None:
    """Measure both sides."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--side", type=int, default=1024, help="of the JPEG files, in pixels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = build_ours(SIZES["tiny"], device=torch.device("cpu"), dtype=torch.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder, num=options.pairs, side=options.side)
        rows = json.loads((folder / "train.json").read_text())
        feeds = {}
        for is_kept in (False, True):
            config = DataConfig(format="editreward", path=folder, cache_pixels=is_kept)
            feeds[is_kept] = Feed(
                read_rows(config, "train", None),
                pixel_reader(model),
                config=config,
                batch_size=options.pairs,
                seed=0,
            )
        difference = largest_difference(model, feeds[False], rows, folder)
        sides: dict[str, Callable[[], object]] = {
            "plain": lambda: plain_batch(model, rows, folder),
            "feed": lambda: our_batch(model, feeds[False][0], has_patches=False),
            "feed, patches": lambda: our_batch(model, feeds[False][0], has_patches=True),
            "feed, kept pixels": lambda: our_batch(model, feeds[True][0], has_patches=False),
        }
        num_images = options.pairs * IMAGES_PER_PAIR
        rates: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(options.repeats):
            for side, work in sides.items():
                rates[side].append(measure(work, num_images=num_images))
    medians = {side: float(np.median(each)) for side, each in rates.items()}
    for side, rate in medians.items():
        print(f"{side:18} {rate:8.1f} images/s per core  {rate / medians['plain']:6.2f}x")
    print(f"patches differ by {difference:.1e} at most")
    assert difference <= TOLERANCE
    settings = {key: value for key, value in vars(options).items() if key != "output"}
    results = {
        "images_per_cpu_second": {side: round(rate, 1) for side, rate in medians.items()},
        "ratio": {side: round(rate / medians["plain"], 2) for side, rate in medians.items()},
        "largest_difference": difference,
    }
    write_run(options.output, settings=settings, results=results)


if __name__ == "__main__":
    main()
