"""EditReward at 7B size with random weights on one GPU: edits per second, and against the release.

Three ways score candidates of one source image: ours, the released way with 8 candidates at a time,
and the released way one by one. Files are decoded and resized inside the time of each.

Run: python benchmarks/gpu_editreward.py [--candidates 1 4 16] [--size 7b] [--device cuda]
     [--dtype bfloat16] [--attention sdpa] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from editreward_scoring import TOLERANCES, works
from product_rate import product_rate, seconds
from record import conclude
from visreward.core.types import Sample
from visreward.models.vlm.editreward import EditReward
from visreward.models.vlm.packing import pack_sequences
from vlm_sides import SIZES, Released, build_ours, edits, make_pictures


def peak_bytes(device: torch.device, work: Callable[[], Any]) -> int | None:
    """Return the most memory that the device held during some work; None on a CPU."""
    if device.type != "cuda":
        work()
        return None
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated()


def num_tokens(ours: EditReward, samples: list[Sample]) -> int:
    """Return how many tokens ours runs through the language model."""
    batch = ours.preprocess([ours.load(sample) for sample in samples])
    packs = pack_sequences(batch.sequences, max_tokens=ours.max_pack_tokens)
    return sum(pack.tree.num_tokens for pack in packs)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return every figure of the run."""
    size, device = SIZES[options.size], torch.device(options.device)
    dtype = getattr(torch, options.dtype)
    ours = build_ours(size, device=device, dtype=dtype)
    ours.set_attention(options.attention)
    tokenizer = ours.inputs.chat.tokenizer
    released = Released(ours, size.config(len(tokenizer), tokenizer.get_vocab()))
    source, *images = make_pictures(folder, max(options.candidates) + 1)
    width, _, _, inner = size.language
    shapes = [(rows, width, inner) for rows in (1024, 16_384)]
    rate = product_rate(shapes, device=device, dtype=dtype)
    rows: dict[str, Any] = {}
    for num in options.candidates:
        samples = edits(source, images[:num])
        scores: dict[str, list[float]] = {}

        def run_ours(samples: list[Sample] = samples, found: dict[str, Any] = scores) -> None:
            ours.vision_cache.clear()
            found["ours"] = [each.value for each in ours.score(samples, batch_size=32)]

        def run_batched(samples: list[Sample] = samples, found: dict[str, Any] = scores) -> None:
            found["batched"] = released.score(samples, batch_size=8)

        def run_single(samples: list[Sample] = samples, found: dict[str, Any] = scores) -> None:
            found["one_by_one"] = released.score(samples, batch_size=1)

        ways = {"ours": run_ours, "batched": run_batched, "one_by_one": run_single}
        memory = {name: peak_bytes(device, way) for name, way in ways.items()}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.repeats):
            for name, way in ways.items():
                times[name].append(seconds(way, device))
        median = {name: statistics.median(each) for name, each in times.items()}
        work = works(ours, size, samples)
        rows[str(num)] = {
            "seconds": times,
            "edits_per_s": {name: num / each for name, each in median.items()},
            "tokens_per_s": num_tokens(ours, samples) / median["ours"],
            "share_of_product_rate": work["ours"].total / median["ours"] / 1e9 / rate,
            "limit": work["released"].total / work["ours"].total,
            "peak_bytes": memory,
            "largest_difference": float(
                np.abs(np.subtract(scores["ours"], scores["one_by_one"])).max()
            ),
            "spread_of_scores": float(np.ptp(scores["one_by_one"])),
        }
    return {"candidates": rows, "product_rate_gflops_per_s": rate}


def report(results: dict[str, Any]) -> None:
    """Print the figures as Markdown."""
    print(
        "| N | ours edits/s | batched | one by one | tokens/s | of product rate | peak GiB | diff |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for num, row in results["candidates"].items():
        rates, memory = row["edits_per_s"], row["peak_bytes"]["ours"]
        print(
            f"| {num} | {rates['ours']:.2f} | {rates['batched']:.2f} | {rates['one_by_one']:.2f} | "
            f"{row['tokens_per_s']:.0f} | {row['share_of_product_rate']:.0%} | "
            f"{'' if memory is None else f'{memory / 2**30:.1f}'} | "
            f"{row['largest_difference']:.1e} |"
        )
    print(f"\nMatrix product: {results['product_rate_gflops_per_s'] / 1e3:.1f} TFLOP/s.")


def main() -> None:
    """Measure, print, write; exit status 1 where the scores are not the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="7b")
    parser.add_argument("--candidates", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--dtype", choices=sorted(TOLERANCES), default="bfloat16")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--attention", default="sdpa")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options, Path(folder))
    report(results)
    conclude(
        options,
        results,
        rows=results["candidates"].values(),
        tolerance=TOLERANCES[options.dtype],
    )


if __name__ == "__main__":
    main()
