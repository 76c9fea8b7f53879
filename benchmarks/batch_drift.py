"""How far a model's scores move with the batch size: ordinarily, and batch-invariant.

The candidate edits of a vision-language model go through its backbone as one tree of tokens, so
its batch size says how large the trees are; batch-invariant, each candidate is a tree of its own.

Run: python benchmarks/batch_drift.py [--model ict-hp-mini] [--dtype float32|bfloat16|float16]
     [--device cpu] [--num-images 16] [--output FILE.json]
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image

from record import write_run
from visreward import Sample, load_model
from visreward.data.scenes.edits import plan_edit, render_edit
from visreward.data.scenes.triplets import make_triplet

BATCH_SIZES = (1, 2, 3, 5, 8, 16)


def edits(num: int) -> list[Sample]:
    """Return candidate edits of the synthetic world, those of one source together."""
    found: list[Sample] = []
    while len(found) < num:
        edit = render_edit(plan_edit(seed=2, split="test", index=len(found)), size=128)
        source = Image.fromarray(edit.source_image)
        found += [
            Sample(prompt=edit.instruction, image=Image.fromarray(image), source_image=source)
            for image in edit.images
        ]
    return found[:num]


def samples(num: int) -> list[Sample]:
    """Return images of the synthetic world with their prompts."""
    found = []
    for index in range(num):
        triplet = make_triplet(seed=2, split="test", index=index, size=128)
        image = Image.fromarray(triplet.refined_image)
        found.append(Sample(prompt=triplet.basic_prompt, image=image))
    return found


def main() -> None:
    """Print the largest difference between any two batch sizes, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ict-hp-mini")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--num-images", type=int, default=16)
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args()
    needs_source = load_model(options.model).facts.needs_source
    given = (edits if needs_source else samples)(options.num_images)
    moved, spread = {}, 0.0
    for name, invariant in (("ordinary", False), ("batch-invariant", True)):
        runs = []
        for size in BATCH_SIZES:
            model = load_model(
                options.model,
                device=options.device,
                dtype=options.dtype,
                batch_invariant=invariant,
            )
            runs.append([score.value for score in model.score(given, batch_size=size)])
        moved[name] = float(np.ptp(runs, axis=0).max())
        spread = float(np.ptp(runs[0]))
    print("| model | dtype | ordinary | batch-invariant | spread of the scores |")
    print("|---|---|---|---|---|")
    print(
        f"| {options.model} | {options.dtype} | {moved['ordinary']:.1e} | "
        f"{moved['batch-invariant']:.1e} | {spread:.2f} |"
    )
    settings = {key: value for key, value in vars(options).items() if key != "output"}
    write_run(options.output, settings=settings, results={"moved": moved, "spread": spread})


if __name__ == "__main__":
    main()
