"""Measure the check of a made-up Pick-High data set: seconds, CPU seconds and peak memory.

Run: python benchmarks/data_check.py --rows 360000
The rows have the lengths of the published ones (a prompt of about 10 words, a refined one of
about 60, file names of 40 characters); the image files are empty, since they are only listed.
The check runs in a process of its own, once on pickles and once on the Parquet made from them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from visreward.data.pick_high import convert_pick_high
from visreward.data.pick_high_check import check_pick_high

SHARES = {"train": 0.9, "val": 0.05, "test": 0.05}
KIB_PER_MIB = 1024


def make_rows(num_rows: int, *, split: str, seed: int) -> pd.DataFrame:
    """Return a table with the published columns, as columns of Python strings and doubles."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(rng.choice(letters, size)) for size in rng.integers(2, 9, 5000)])
    names = [f"{split}-{row:08d}-" + "0123456789abcdef" * 2 for row in range(num_rows)]
    labels = rng.uniform(0, 1, (4, num_rows))
    columns: dict[str, object] = {
        "easy_prompt": [
            f"{split} {row} " + " ".join(chosen)
            for row, chosen in enumerate(rng.choice(words, (num_rows, 10)))
        ],
        "refine_prompt": [
            f"{split} {row} " + " ".join(chosen)
            for row, chosen in enumerate(rng.choice(words, (num_rows, 60)))
        ],
        "easy_image_0": [f"{name}_0.png" for name in names],
        "easy_image_1": [f"{name}_1.png" for name in names],
        "refine_image": [f"{name}.png" for name in names],
    }
    texts = {name: pd.Series(cells, dtype=object) for name, cells in columns.items()}
    numbers = dict(zip(("E1", "E2", "R1", "R2"), labels, strict=True))
    return pd.DataFrame({**texts, **numbers})


def write_dataset(folder: Path, *, num_rows: int) -> None:
    """Write the published layout: three pickles, and an empty file per image."""
    (folder / "Pick-High").mkdir(parents=True)
    for seed, (split, share) in enumerate(SHARES.items()):
        frame = make_rows(max(1, round(num_rows * share)), split=split, seed=seed)
        frame.to_pickle(folder / "Pick-High" / f"{split}.pkl")
        for column, images in (
            ("easy_image_0", "pick_easy_img"),
            ("easy_image_1", "pick_easy_img"),
            ("refine_image", "pick_refine_img"),
        ):
            target = folder / images / split
            target.mkdir(parents=True, exist_ok=True)
            for name in frame[column]:
                (target / name).touch()


def measure(folder: Path) -> None:
    """Check a data set and print what it cost as one line of JSON."""
    start = time.perf_counter()
    report = check_pick_high(folder)
    seconds = time.perf_counter() - start
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB
    result = {
        "rows": sum(report.counts.values()),
        "ok": report.ok,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "peak_mib": round(peak_mib),
    }
    print(json.dumps(result))


def main() -> None:
    """Make a data set in a temporary folder and check it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=360_000, help="rows over all splits")
    parser.add_argument("--measure", type=Path, help="only check this data set, and print")
    arguments = parser.parse_args()
    if arguments.measure is not None:
        measure(arguments.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder)
        write_dataset(dataset, num_rows=arguments.rows)
        for kind in ("pickle", "parquet"):
            if kind == "parquet":
                convert_pick_high(dataset, output=dataset)
            command = [sys.executable, __file__, "--measure", str(dataset)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            print(f"{kind:8} {printed.strip()}", flush=True)


if __name__ == "__main__":
    main()
