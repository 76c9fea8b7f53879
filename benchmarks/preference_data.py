"""Measure how long a made-up file of HPDv3 takes to be ready, and how much memory.

Run: python benchmarks/preference_data.py --rows 1200000
Rows have the lengths of the published ones: a prompt of about 30 words, of which every five rows
share one, and names with a UUID. Reading runs in a process of its own. CPU seconds are those of a
machine that does nothing else.
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
        prompt = ""
        for row in range(num_rows):
            if row % ROWS_PER_PROMPT == 0:
                prompt = f"{row} " + " ".join(rng.choice(words, 30))
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


def measure(file: Path) -> None:
    """Read the file, and print what it cost as one line of JSON."""
    result = read(file)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB
    print(json.dumps(result | {"peak_mib": round(peak_mib)}))


def main() -> None:
    """Write a file in a temporary folder and read it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_200_000)
    parser.add_argument("--measure", type=Path, help="only read this file, and print")
    arguments = parser.parse_args()
    if arguments.measure is not None:
        measure(arguments.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "all.json"
        write_rows(file, num_rows=arguments.rows)
        print(f"file {file.stat().st_size / KIB_PER_MIB**2:.0f} MiB", flush=True)
        command = [sys.executable, __file__, "--measure", str(file)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
