"""How far a model's scores move with the batch size: ordinarily, and batch-invariant.

Run: python benchmarks/batch_drift.py [--model ict-hp-mini] [--dtype float32|bfloat16|float16]
     [--device cpu] [--num-images 16] [--output FILE.json]
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image

from record import write_run
from visreward import Sample, load_model
from visreward.data.scenes.triplets import make_triplet

BATCH_SIZES = (1, 2, 3, 5, 8, 16)


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
    given = samples(options.num_images)
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
