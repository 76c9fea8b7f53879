"""EditReward beside the way of the released code, for N candidate edits of one source image.

The released way takes each candidate with each of two rating prompts: it opens, resizes and encodes
both images every time and runs the whole prompt, candidates padded into one batch. Ours encodes
N + 1 images and runs one tree of tokens up to the reward tokens. Same random weights, same scores;
both take turns in one process. The limit is the ratio of what both must multiply.

Run: python benchmarks/editreward_scoring.py [--size mid] [--candidates 1 2 4 8 16] [--repeats N]
     [--dtype float32|bfloat16] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from product_rate import product_rate, seconds
from record import conclude
from visreward.models.vlm.editreward import EditReward
from visreward.models.vlm.packing import pack_sequences
from vlm_sides import PIXELS, SIZES, Released, Size, build_ours, edits, make_pictures

TOLERANCES = {"float32": 1e-4, "bfloat16": 5e-2}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one side computes, in operations."""

    vision: float
    language: float

    @property
    def total(self) -> float:
        """Return both together."""
        return self.vision + self.language


def vision_work(size: Size) -> float:
    """Return the operations of one image, attention included."""
    patches = PIXELS // 14**2
    width, layers, _, _ = size.vision
    attention = 4.0 * width * patches * ((layers - 2) * 64 + 2 * patches)
    return size.vision_flops(patches) + attention


def language_work(size: Size, num_tokens: int, num_seen: int) -> float:
    """Return the operations of some tokens that see so many tokens in sum."""
    width, layers, _, _ = size.language
    return num_tokens * size.language_flops() + 4.0 * width * layers * num_seen


def works(ours: EditReward, size: Size, samples: list[Any]) -> dict[str, Work]:
    """Return what both sides compute for candidates of one source."""
    batch = ours.preprocess([ours.load(sample) for sample in samples])
    vision = vision_work(size)
    released = 0.0
    for sequence in batch.sequences:
        # The release goes on to the end of the conversation, behind the reward token.
        length = len(sequence.ids) + num_tail_tokens(ours)
        released += language_work(size, length, length * (length + 1) // 2)
    tree = 0.0
    for pack in pack_sequences(batch.sequences, max_tokens=ours.max_pack_tokens):
        seen = int((pack.tree.offset + 1).sum())
        tree += language_work(size, pack.tree.num_tokens, seen)
    return {
        "released": Work(vision=4 * len(samples) * vision, language=released),
        "ours": Work(vision=len(batch.images) * vision, language=tree),
    }


def num_tail_tokens(ours: EditReward) -> int:
    """Return how many tokens stand behind the reward token."""
    pieces = ours.inputs.chat.tokens("visual_quality", "", num_images=2)
    assert pieces.reward_at is not None
    return len(pieces.pieces[-1]) - pieces.reward_at - 1


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return every figure of the run."""
    size, device = SIZES[options.size], torch.device(options.device)
    dtype = getattr(torch, options.dtype)
    ours = build_ours(size, device=device, dtype=dtype)
    config = size.config(len(ours.inputs.chat.tokenizer), ours.inputs.chat.tokenizer.get_vocab())
    released = Released(ours, config)
    source, *images = make_pictures(folder, max(options.candidates) + 1)
    width, _, _, inner = size.language
    shapes = [(1024, width, width), (1024, width, inner), (1024, inner, width)]
    rates = [product_rate(shapes, device=device, dtype=dtype)]
    rows: dict[str, Any] = {}
    for num in options.candidates:
        samples = edits(source, images[:num])
        times: dict[str, list[float]] = {"released": [], "ours": []}
        scores: dict[str, list[float]] = {}

        def run_ours(samples: list[Any] = samples, scores: dict[str, list[float]] = scores) -> None:
            ours.vision_cache.clear()
            scores["ours"] = [each.value for each in ours.score(samples, batch_size=32)]

        def run_released(
            samples: list[Any] = samples, scores: dict[str, list[float]] = scores
        ) -> None:
            scores["released"] = released.score(samples, batch_size=options.released_batch)

        run_ours()
        for _ in range(options.repeats):
            times["released"].append(seconds(run_released, device))
            times["ours"].append(seconds(run_ours, device))
        work = works(ours, size, samples)
        fast = statistics.median(times["ours"])
        rows[str(num)] = {
            "seconds": times,
            "speed_up": statistics.median(np.divide(times["released"], times["ours"]).tolist()),
            "limit": work["released"].total / work["ours"].total,
            "edits_per_s": num / fast,
            "gflops_per_s": work["ours"].total / fast / 1e9,
            "largest_difference": float(
                np.abs(np.subtract(scores["ours"], scores["released"])).max()
            ),
            "spread_of_scores": float(np.ptp(scores["released"])),
        }
    rates.append(product_rate(shapes, device=device, dtype=dtype))
    for row in rows.values():
        row["share_of_product_rate"] = row["gflops_per_s"] / max(rates)
    return {"candidates": rows, "product_rate_gflops_per_s": max(rates)}


def report(results: dict[str, Any]) -> None:
    """Print the figures as Markdown."""
    print(
        "| N | released s | ours s | speed-up | limit | of limit | of product rate | difference |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for num, row in results["candidates"].items():
        slow, fast = (statistics.median(row["seconds"][side]) for side in ("released", "ours"))
        print(
            f"| {num} | {slow:.2f} | {fast:.2f} | {row['speed_up']:.2f}x | {row['limit']:.2f}x | "
            f"{row['speed_up'] / row['limit']:.0%} | {row['share_of_product_rate']:.0%} | "
            f"{row['largest_difference']:.1e} |"
        )
    print(f"\nMatrix product: {results['product_rate_gflops_per_s']:.0f} GFLOP/s.")


def main() -> None:
    """Measure, print, write; exit status 1 where the scores are not the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="mid")
    parser.add_argument("--candidates", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--released-batch", type=int, default=8, help="candidates at a time")
    parser.add_argument("--dtype", choices=sorted(TOLERANCES), default="float32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=2)
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
