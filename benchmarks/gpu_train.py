"""Training EditReward with adapters at 7B size, random weights: packed, and the released way.

Both train low-rank adapters on the language model and the heads, the vision tower frozen: the
released step with full gradient checkpointing, as its configuration has it, ours with selective
checkpointing. Same weights, same adapters; both take turns in one process, without an optimizer.

Run: python benchmarks/gpu_train.py [--pairs 1 4] [--size 7b] [--device cuda] [--dtype bfloat16]
     [--checkpointing selective] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch

from gpu_editreward import peak_bytes
from product_rate import seconds
from record import conclude
from training_step import difference, packed_batch, released_loss
from visreward.models.vlm.editreward import EditReward
from visreward.training.data.batches import Batch
from visreward.training.modeling.gradient_checkpointing import set_checkpointing
from visreward.training.modeling.lora import add_adapters
from visreward.training.objectives.pairwise import PairwiseObjective
from visreward.training.options.freeze_config import FreezeConfig
from visreward.training.options.lora_config import LoRAConfig
from visreward.training.options.objective_config import PairwiseConfig
from vlm_sides import SIZES, Released, build_ours, make_pictures

TOLERANCES = {"float32": 1e-3, "bfloat16": 0.3}
"""Largest difference of an adapter's gradient, by norm."""


def adapt(ours: EditReward, released: Released, *, rank: int, checkpointing: str) -> None:
    """Give both the same adapters, freeze the rest, and choose what is computed again."""
    add_adapters(
        ours, LoRAConfig(rank=rank, alpha=2 * rank, dropout=0.0), freeze=FreezeConfig(vision=True)
    )
    found = dict(ours.backbone.model.named_parameters())
    names = {name.split(".lora_")[0] for name in found if ".lora_" in name}
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=sorted(names))
    peft.inject_adapter_in_model(config, released.model)
    for name, weight in released.model.named_parameters():
        weight.requires_grad_(".lora_" in name)
        if ".lora_" in name:
            weight.data.copy_(found[name].data)
    set_checkpointing(ours, "selective" if checkpointing == "selective" else "none")
    set_checkpointing(released.model, "full" if checkpointing == "selective" else "none")
    ours.train()
    ours.heads.eval()  # both read the same heads, whose dropout would differ
    released.model.train()


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return every figure of the run."""
    size, device = SIZES[options.size], torch.device(options.device)
    ours = build_ours(size, device=device, dtype=getattr(torch, options.dtype))
    tokenizer = ours.inputs.chat.tokenizer
    released = Released(ours, size.config(len(tokenizer), tokenizer.get_vocab()))
    adapt(ours, released, rank=options.rank, checkpointing=options.checkpointing)
    objective = PairwiseObjective(ours, PairwiseConfig(name="pairwise", overall_weight=0.0))
    rows: dict[str, Any] = {}
    for num in options.pairs:
        batch = packed_batch(ours, make_pictures(folder, 3 * num)).to(device)

        def run_ours(batch: Batch = batch) -> None:
            ours.zero_grad()
            objective(batch).loss.backward()

        def run_released(batch: Batch = batch) -> None:
            released.model.zero_grad()
            released_loss(released, batch).backward()

        ways = {"ours": run_ours, "released": run_released}
        memory = {name: peak_bytes(device, way) for name, way in ways.items()}
        largest = difference(ours.backbone.model, released.model)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.repeats):
            for name, way in ways.items():
                times[name].append(seconds(way, device))
        rows[str(num)] = {
            "seconds": times,
            "pairs_per_s": {name: num / statistics.median(each) for name, each in times.items()},
            "speed_up": statistics.median(np.divide(times["released"], times["ours"]).tolist()),
            "peak_bytes": memory,
            "largest_difference": largest,
        }
    return {"pairs": rows}


def report(results: dict[str, Any]) -> None:
    """Print the figures as Markdown."""
    print("| pairs | ours pairs/s | released | speed-up | ours GiB | released GiB | difference |")
    print("|---|---|---|---|---|---|---|")
    for num, row in results["pairs"].items():
        rates = row["pairs_per_s"]
        ours, released = (
            "" if row["peak_bytes"][name] is None else f"{row['peak_bytes'][name] / 2**30:.1f}"
            for name in ("ours", "released")
        )
        print(
            f"| {num} | {rates['ours']:.2f} | {rates['released']:.2f} | {row['speed_up']:.2f}x | "
            f"{ours} | {released} | {row['largest_difference']:.1e} |"
        )


def main() -> None:
    """Measure, print, write; exit status 1 where the gradients are not the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="7b")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 4], help="in one step")
    parser.add_argument("--rank", type=int, default=64, help="of the adapters")
    parser.add_argument("--checkpointing", choices=("selective", "none"), default="selective")
    parser.add_argument("--dtype", choices=sorted(TOLERANCES), default="bfloat16")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options, Path(folder))
    report(results)
    conclude(options, results, rows=results["pairs"].values(), tolerance=TOLERANCES[options.dtype])


if __name__ == "__main__":
    main()
