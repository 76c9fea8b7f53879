"""ICT x HP scoring beside the way of the released eval.py, at real sizes with random weights.

The released script takes one (image, prompt) pair at a time: it opens the image, runs
transformers' processor, tokenises to 77 tokens, encodes text and image with ICT's towers, encodes
the image again with HP's tower and runs the head, in float32. Ours is `ICTHP.score` on the same
weights, its prompt cache empty at the start. Both take turns in one process; peak memory is
measured in a process of its own for each. On a GPU, the rate with known prompts follows.

Run: python benchmarks/clip_scoring.py --size vit-b-32|vit-h-14 [--dtype float32|bfloat16]
     [--device cpu|cuda] [--num-images 16] [--repeats N] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clip_sides import (
    IMAGE_SIDE,
    SIZES,
    Released,
    Size,
    build_ours,
    build_released,
    make_pictures,
)
from product_rate import product_rate, seconds
from record import conclude
from visreward.core.types import Sample
from visreward.models.clip.family import CLIPBatch
from visreward.models.clip.hp import ICTHP, ICTHPBatch

PROMPTS = (
    "a tiny dragon taking a bath in a teacup, warm light, soft steam over the water",
    "a red bicycle leaning against an old brick wall",
    "three cats and two dogs in the rain, seen from above, in the style of a woodcut",
    "a bowl of green apples on a wooden table beside a window with a view of the sea",
)
GPU_BATCH_SIZES = (1, 8, 32, 64, 128, 256)
REPEATS = {"vit-b-32": 5, "vit-h-14": 1}
"""On 2 CPU cores the released way takes 40 s for one turn at ViT-B/32, 6 minutes at ViT-H/14."""
TOLERANCES = {"float32": 1e-4, "bfloat16": 3e-2}
"""How far two scores of one pair may differ; bfloat16 keeps 8 bits of every number."""


def pairs(paths: Sequence[Path], prompts: Sequence[str]) -> list[Sample]:
    """Return every image with every prompt."""
    return [Sample(prompt=prompt, image=path) for path in paths for prompt in prompts]


def values(model: ICTHP, samples: list[Sample], *, batch_size: int = 16) -> list[float]:
    """Return our scores, with nothing known beforehand."""
    model.ict._prompt_cache.clear()
    return [score.value for score in model.score(samples, batch_size=batch_size)]


def product_shapes(size: Size, images: int) -> list[tuple[int, int, int]]:
    """Return the matrix products of an image tower: rows, inner and outer width."""
    rows, width = images * size.num_tokens, size.vision.width
    return [(rows, width, width), (rows, width, 4 * width), (rows, 4 * width, width)]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Both sides, and where they run."""

    size: Size
    ours: ICTHP
    released: Released
    device: torch.device

    def compare(self, samples: list[Sample], repeats: int) -> dict[str, Any]:
        """Let both sides score the same pairs, in turns; return times, ratio and difference."""
        times: dict[str, list[float]] = {"released": [], "ours": []}
        scores: dict[str, list[float]] = {}

        def run_ours() -> None:
            scores["ours"] = values(self.ours, samples)

        def run_released() -> None:
            scores["released"] = self.released.score(samples)

        self.ours.score(samples[:1])
        self.released.score(samples[:1])
        for _ in range(repeats):
            times["released"].append(seconds(run_released, self.device))
            times["ours"].append(seconds(run_ours, self.device))
        fast = statistics.median(times["ours"])
        return {
            "seconds": times,
            "speed_up": statistics.median(np.divide(times["released"], times["ours"]).tolist()),
            "images_per_s": len({sample.image for sample in samples}) / fast,
            "gflops_per_s": self.flops(samples) / fast / 1e9,
            "largest_difference": float(
                np.abs(np.subtract(scores["ours"], scores["released"])).max()
            ),
            "spread_of_scores": float(np.ptp(scores["ours"])),
        }

    def flops(self, samples: list[Sample]) -> float:
        """Return what ours computes: each image in both towers, each prompt once."""
        assert self.ours.ict.text_inputs is not None
        prompts = list(dict.fromkeys(sample.prompt for sample in samples))
        ids, _ = self.ours.ict.text_inputs.token_ids(prompts)
        texts = len(ids) * self.size.text.flops(ids.shape[1])
        return texts + 2 * len({sample.image for sample in samples}) * self.size.image_flops()

    @torch.inference_mode()
    def tower_rate(self, images: int) -> float:
        """Return the rate of HP's image tower alone, in GFLOP/s."""
        pixels = torch.randint(0, 256, (images, 3, IMAGE_SIDE, IMAGE_SIDE), dtype=torch.uint8)
        fast = min(seconds(lambda: self.ours.hp.encode_images(pixels), self.device) for _ in "abc")
        return images * self.size.image_flops() / fast / 1e9

    def drift(self, samples: list[Sample]) -> dict[str, float]:
        """Return how far a score moves with the batch size, ordinarily and batch-invariant."""
        moved: dict[str, float] = {}
        for name, invariant in (("ordinary", False), ("batch_invariant", True)):
            self.ours.batch_invariant = invariant
            runs = [values(self.ours, samples, batch_size=size) for size in (1, 3, 8)]
            moved[name] = float(np.ptp(runs, axis=0).max())
        self.ours.batch_invariant = False
        return moved

    @torch.inference_mode()
    def images_per_second(self, batch_size: int) -> float:
        """Return the rate from pixels in main memory to scores, the prompt being known."""
        pixels = torch.randint(0, 256, (batch_size, 3, IMAGE_SIDE, IMAGE_SIDE), dtype=torch.uint8)
        batch = CLIPBatch(
            pixels=pixels.pin_memory(),
            prompts=PROMPTS[:1],
            image_index=torch.arange(batch_size),
            prompt_index=torch.zeros(batch_size, dtype=torch.int64),
        )
        both = ICTHPBatch(ict=batch, hp=batch)
        times = [seconds(lambda: self.ours(both), self.device) for _ in range(13)]
        return batch_size / statistics.median(times[3:])


def run_side(options: argparse.Namespace, paths: list[Path]) -> None:
    """Score with one side alone and print the most memory that it held while scoring."""
    device = torch.device(options.device)
    ours = build_ours(SIZES[options.size], PROMPTS).to(device)
    samples = pairs(paths[: options.num_images], PROMPTS)
    released = build_released(ours)
    if options.side == "ours":
        del released
        ours.to(getattr(torch, options.dtype))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets VmHWM
    if options.side == "ours":
        ours.score(samples)
    else:
        released.score(samples[:2])
    if device.type == "cuda":
        print(torch.cuda.max_memory_allocated())
        return
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(int(status.partition("VmHWM:")[2].split()[0]) * 1024)


def peak_bytes(options: argparse.Namespace, side: str) -> int:
    """Return the peak memory of one side, in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--size", options.size]
    command += ["--dtype", options.dtype, "--device", options.device]
    command += ["--num-images", str(options.num_images)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(printed.splitlines()[-1])


def measure(options: argparse.Namespace, paths: list[Path]) -> dict[str, Any]:
    """Return every figure of the run."""
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    size, number = SIZES[options.size], options.num_images
    workloads = {
        f"{number} images x {len(PROMPTS)} prompts": pairs(paths[:number], PROMPTS),
        f"1 prompt x {2 * number} images": pairs(paths, PROMPTS[:1]),
    }
    memory = {side: peak_bytes(options, side) for side in ("released", "ours")}
    in_flight = 64 if device.type == "cuda" else min(number, 16)
    shapes = product_shapes(size, in_flight)
    rates = [product_rate(shapes, device=device, dtype=dtype)]
    ours = build_ours(size, PROMPTS).to(device)
    released = build_released(ours)
    ours.to(dtype)
    bench = Bench(size=size, ours=ours, released=released, device=device)
    repeats = options.repeats or REPEATS[options.size]
    results: dict[str, Any] = {
        "workloads": {name: bench.compare(each, repeats) for name, each in workloads.items()},
        "tower_gflops_per_s": bench.tower_rate(in_flight),
        "peak_bytes": memory,
        "drift_with_batch_size": bench.drift(pairs(paths[:8], PROMPTS[:1])),
    }
    if device.type == "cuda":
        results["images_per_s_prompt_known"] = {
            str(batch_size): bench.images_per_second(batch_size) for batch_size in GPU_BATCH_SIZES
        }
    # Measured at both ends, so that a busy moment does not flatter the shares.
    rates.append(product_rate(shapes, device=device, dtype=dtype))
    results["product_rate_gflops_per_s"] = max(rates)
    for row in results["workloads"].values():
        row["share_of_product_rate"] = row["gflops_per_s"] / max(rates)
    return results


def report(results: dict[str, Any]) -> None:
    """Print the figures as Markdown."""
    print("| workload | released s | ours s | speed-up | of product rate | difference |")
    print("|---|---|---|---|---|---|")
    for name, row in results["workloads"].items():
        slow, fast = (statistics.median(row["seconds"][side]) for side in ("released", "ours"))
        print(
            f"| {name} | {slow:.2f} | {fast:.2f} | {row['speed_up']:.2f}x | "
            f"{row['share_of_product_rate']:.0%} | {row['largest_difference']:.1e} |"
        )
    memory, drift = results["peak_bytes"], results["drift_with_batch_size"]
    print(
        f"\nMatrix product: {results['product_rate_gflops_per_s']:.0f} GFLOP/s; HP's image tower "
        f"alone: {results['tower_gflops_per_s']:.0f} GFLOP/s.\n"
        f"Peak memory: released {memory['released'] / 2**20:.0f} MiB, "
        f"ours {memory['ours'] / 2**20:.0f} MiB.\n"
        f"A score moves with the batch size by {drift['ordinary']:.1e}, "
        f"batch-invariant by {drift['batch_invariant']:.1e}."
    )
    for batch_size, rate in results.get("images_per_s_prompt_known", {}).items():
        print(f"Images per second with known prompts, {batch_size} at a time: {rate:.0f}")


def main() -> None:
    """Measure, print, write; exit status 1 where the scores are not the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="vit-b-32")
    parser.add_argument("--dtype", choices=sorted(TOLERANCES), default="float32", help="of ours")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--num-images", type=int, default=16, help="of the first workload")
    parser.add_argument("--repeats", type=int, help="turns of each side; default 5, 1 at ViT-H/14")
    parser.add_argument("--output", help="JSON file to write")
    parser.add_argument("--side", choices=("released", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = make_pictures(Path(folder), 2 * options.num_images)
        if options.side is not None:
            run_side(options, paths)
            return
        results = measure(options, paths)
    report(results)
    conclude(
        options,
        results,
        rows=results["workloads"].values(),
        tolerance=TOLERANCES[options.dtype],
        without=("output", "side"),
    )


if __name__ == "__main__":
    main()
