"""Measure how long a made-up file of HPDv3 takes to be ready, and how much memory.

Run: python benchmarks/preference_data.py --rows 1200000
Rows have the lengths of the published ones: a prompt of about 30 words, of which every five rows
share one, and names with a UUID. Reading, the check and a training's preparation have a process
each. Seconds are also those of other work on the machine, CPU seconds are not.
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

from visreward.data.hpdv3 import HPDV3
from visreward.data.preference_check import check_preferences
from visreward.data.preference_files import PreferenceData

KIB_PER_MIB = 1024
ROWS_PER_PROMPT = 5
ACCESSES = 2000


def write_rows(file: Path, *, num_rows: int) -> None:
    """Write a list of pairs under the published keys, one pair a line."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(rng.choice(letters, size)) for size in rng.integers(2, 9, 5000)])
    with file.open("w", encoding="utf-8") as stream:
        prompts = words[rng.integers(0, len(words), (num_rows // ROWS_PER_PROMPT + 1, 30))]
        for row in range(num_rows):
            prompt = f"{row // ROWS_PER_PROMPT} " + " ".join(prompts[row // ROWS_PER_PROMPT])
            is_voted = row % 2 == 0
            values = {
                "prompt": prompt,
                "choice_dist": [12, 7] if is_voted else None,
                "confidence": 0.9999907 if is_voted else None,
                "path1": f"images/{row:08d}-0123-4567-89ab-0123456789ab.jpg",
                "path2": f"images/{row:08d}-ba98-7654-3210-0123456789ab.jpg",
                "model1": "flux",
                "model2": "infinity",
            }
            stream.write("[\n" if row == 0 else ",\n")
            stream.write(json.dumps(values, indent=1))
        stream.write("\n]\n")


def read(file: Path) -> dict[str, float]:
    """Read the file and ask for rows here and there; return what that cost."""
    start, cpu_start = time.perf_counter(), time.process_time()
    table = PreferenceData(HPDV3, file).split(file.stem)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    chosen = np.random.default_rng(0).integers(0, len(table), ACCESSES)
    cpu_start = time.process_time()
    for row in chosen:
        _ = table[int(row)]
    per_row = (time.process_time() - cpu_start) / ACCESSES
    return {
        "rows": len(table),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "columns_mib": round(table.rows.nbytes / KIB_PER_MIB**2),
        "cpu_microseconds_per_access": round(per_row * 1e6),
    }


def check(file: Path) -> dict[str, float]:
    """Check the file, none of whose images are there; return what that cost."""
    start, cpu_start = time.perf_counter(), time.process_time()
    report = check_preferences(HPDV3, file)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    rows = sum(report.counts.values())
    return {"rows": rows, "seconds": round(seconds, 1), "cpu_seconds": round(cpu_seconds, 1)}


def prepare(file: Path) -> dict[str, float]:
    """Do what a training does before its first batch of images; return what that cost."""
    from visreward.training.config import DataConfig, ValidationConfig
    from visreward.training.data.order import epoch_order
    from visreward.training.data.reading import read_splits

    start, cpu_start = time.perf_counter(), time.process_time()
    config = DataConfig(
        format="hpdv3",
        path=file,
        min_confidence=0.95,
        cache_pixels=False,
        validation=ValidationConfig(held_out=0.01),
    )
    splits = read_splits(config, wanted="order")
    order = epoch_order(np.arange(len(splits.train)), seed=0, epoch=0)
    first = [splits.train[int(row)] for row in order[:64]]
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return {
        "rows": len(splits.train),
        "validation_rows": len(splits.validation),
        "files_of_first_batch": sum(len(row.files) for row in first),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
    }


STEPS = {"read": read, "check": check, "prepare": prepare}


def measure(file: Path, *, step: str) -> None:
    """Do a step, and print what it cost as one line of JSON."""
    result = STEPS[step](file)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB
    print(json.dumps(result | {"peak_mib": round(peak_mib)}))


def main() -> None:
    """Write a file in a temporary folder, and read and check it in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_200_000)
    parser.add_argument("--step", choices=STEPS, action="append", help="only this; may be repeated")
    parser.add_argument("--measure", type=Path, help="only do the step with this file, and print")
    arguments = parser.parse_args()
    steps = arguments.step or [*STEPS]
    if arguments.measure is not None:
        measure(arguments.measure, step=steps[0])
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "all.json"
        write_rows(file, num_rows=arguments.rows)
        print(f"file {file.stat().st_size / KIB_PER_MIB**2:.0f} MiB", flush=True)
        command = [sys.executable, __file__, "--measure", str(file), "--step"]
        for step in steps:
            printed = subprocess.run([*command, step], check=True, capture_output=True, text=True)
            print(f"{step:7} {printed.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
