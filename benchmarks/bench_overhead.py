"""What a benchmark costs beside scoring its distinct images: time, and memory by number of groups.

Pairs of pictures under a prompt each, of which every fourth repeats an earlier one, go through
`ict-hp-mini`: once as a plain stream of the distinct samples through the scoring engine, once as a
benchmark, which draws groups from a JSONL file, keeps a log, evaluates with intervals, and writes
results and samples. Each measurement is a process of its own. Seconds are CPU seconds.

Run: python benchmarks/bench_overhead.py [--groups 200] [--output FILE.json]. Both sides are
measured at that number of groups and at four times as many: `--groups 2500` ends at 10,000 groups,
some ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from record import write_run
from visreward.core.types import Sample
from visreward.evaluation.benchmarks.distinct import GroupStream
from visreward.evaluation.benchmarks.group_files import read_groups
from visreward.evaluation.benchmarks.registry import find_benchmark
from visreward.evaluation.benchmarks.result_files import write_result, write_samples
from visreward.evaluation.benchmarks.runner import RunFacts, evaluate, score_groups
from visreward.evaluation.benchmarks.scorers import EngineScorer
from visreward.models.loading import load_model
from visreward.scoring.engine import ScoringEngine

KIB_PER_MIB = 1024
SIDE = 128
NUM_FILES = 400
REPEAT_EVERY = 4
MODEL = "ict-hp-mini"


def write_data(folder: Path, num_groups: int) -> Path:
    """Write the pictures, and groups of two that name them; return the file of groups."""
    rng = np.random.default_rng(0)
    for number in range(NUM_FILES):
        pixels = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number}.jpg", quality=90)
    path = folder / "groups.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for number in range(num_groups):
            source = number // 2 if number % REPEAT_EVERY == REPEAT_EVERY - 1 else number
            first, second = source % NUM_FILES, (source * 7 + 1) % NUM_FILES
            candidates = [
                {"image": f"{first}.jpg", "rank": 1},
                {"image": f"{second}.jpg", "rank": 2},
            ]
            row = {"id": str(number), "prompt": f"prompt {source}", "candidates": candidates}
            stream.write(json.dumps(row) + "\n")
    return path


def plain(path: Path, engine: ScoringEngine) -> int:
    """Score the distinct samples; return how many there are."""

    def samples() -> Iterator[Sample]:
        yield from GroupStream(read_groups(path).groups).samples()

    return sum(1 for _ in engine.run(list(samples())))


def benchmark(path: Path, engine: ScoringEngine) -> int:
    """Run the same groups as a benchmark; return how many there are."""
    bench = find_benchmark("hpdv3")
    data = bench.read(path)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        scorer = EngineScorer(engine, name=MODEL, log=output / "scores.jsonl")
        answers = score_groups(data.groups, scorer)
        facts = RunFacts(model=MODEL, revision=scorer.revision)
        result, samples = evaluate(bench, data, answers, facts)
        write_samples(samples, output / "samples.jsonl")
        write_result(result, output / "results.json")
    return result.num_groups


SIDES = {"plain": plain, "benchmark": benchmark}


def measure(path: Path, side: str) -> None:
    """Run one side, and print what it cost as one line of JSON."""
    engine = ScoringEngine(load_model(MODEL), num_workers=1)
    for _ in engine.run([Sample(prompt="a", image=path.parent / "0.jpg")]):
        pass
    started = time.process_time()
    num = SIDES[side](path, engine)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB
    print(json.dumps({"num": num, "seconds": round(seconds, 2), "peak_mib": round(peak)}))


def run_side(path: Path, side: str) -> dict[str, Any]:
    """Measure one side in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(path), "--side", side]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure both sides at two numbers of groups, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--groups", type=int, default=200, help="and four times as many")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--measure", type=Path, help="only run --side on this file, and print")
    parser.add_argument("--side", choices=SIDES, default="benchmark")
    options = parser.parse_args()
    if options.measure is not None:
        measure(options.measure, options.side)
        return
    results = {}
    for num_groups in (options.groups, 4 * options.groups):
        with tempfile.TemporaryDirectory() as folder:
            path = write_data(Path(folder), num_groups)
            sides = {side: run_side(path, side) for side in SIDES}
        ratio = sides["benchmark"]["seconds"] / sides["plain"]["seconds"]
        results[str(num_groups)] = {**sides, "ratio": round(ratio, 3)}
        print(
            f"{num_groups:6} groups, {sides['plain']['num']} distinct: "
            f"{sides['plain']['seconds']:.1f} s alone, {sides['benchmark']['seconds']:.1f} s as a "
            f"benchmark, ratio {ratio:.3f}; peak {sides['plain']['peak_mib']} and "
            f"{sides['benchmark']['peak_mib']} MiB",
            flush=True,
        )
    write_run(options.output, settings={"groups": options.groups}, results=results)


if __name__ == "__main__":
    main()
