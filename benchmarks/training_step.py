"""A training step of EditReward on preference pairs: packed, and the way of the released code.

The released step runs chosen and rejected image with each of two rating prompts: four forward
passes that encode eight images, of which three differ. Ours encodes three images and runs one tree
of tokens. Same random weights, same loss, same gradients; both take turns in one process. Reading
files and the optimizer are left out. The limit is the ratio of what both must multiply.

Run: python benchmarks/training_step.py [--size mid] [--pairs 1] [--repeats N] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from editreward_scoring import works
from product_rate import seconds
from record import conclude
from visreward.losses.uncertainty import uncertainty_loss
from visreward.models.vlm.editreward import EditReward
from visreward.training.data.batches import Batch, Row
from visreward.training.objectives.pairwise import PairwiseObjective
from visreward.training.options.objective_config import PairwiseConfig
from vlm_sides import INSTRUCTION, SIZES, Released, build_ours, edits, make_pictures

TOLERANCE = 1e-3
"""Largest difference of gradients, by norm, in float32."""


def packed_batch(ours: EditReward, pictures: list[Path]) -> Batch:
    """Return rows of (source, chosen, rejected), as a training feeds them."""
    reader = ours.inputs.patches
    rows, pixels = [], []
    for start in range(0, len(pictures), 3):
        source, chosen, rejected = pictures[start : start + 3]
        rows.append(
            Row(
                images=(chosen, rejected),
                prompts=(INSTRUCTION,),
                sources=(source,),
                dimensions=((2.0, 2.0), (1.0, 1.0)),
                overall=(2.0, 1.0),
            )
        )
        loaded = [ours.load(sample) for sample in edits(source, [chosen, rejected])]
        shown = [*loaded[0].source_images, *(each.image for each in loaded)]
        pixels.append(tuple(reader.pixels(shown)))
    return Batch(row_ids=torch.arange(len(rows)), rows=tuple(rows), pixels=tuple(pixels))


def released_loss(released: Released, batch: Batch) -> Tensor:
    """Return the loss of the batch, with one forward pass for each image and rating prompt."""
    assert batch.pixels is not None
    loss = torch.zeros((), device=released.ours.device)
    for number in (0, 1):
        chosen, rejected = (
            released.logits([(INSTRUCTION, [row[0], row[place]]) for row in batch.pixels], number)
            for place in (1, 2)
        )
        loss = loss + uncertainty_loss(
            mu_chosen=chosen[:, 0],
            log_sigma_chosen=chosen[:, 1],
            mu_rejected=rejected[:, 0],
            log_sigma_rejected=rejected[:, 1],
        )
    return loss


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Return the gradients of a model by name."""
    return {
        name: weight.grad.clone()
        for name, weight in model.named_parameters()
        if weight.grad is not None
    }


def difference(ours: nn.Module, released: nn.Module) -> float:
    """Return the largest relative difference of two models' gradients, by norm of a weight."""
    found, wanted = gradients(ours), gradients(released)
    scale = max(value.norm() for value in wanted.values())
    return max(
        float((found[name] - value).norm() / max(value.norm(), 1e-6 * scale))
        for name, value in wanted.items()
        if value.any()
    )


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return every figure of the run."""
    size, device = SIZES[options.size], torch.device(options.device)
    ours = build_ours(size, device=device, dtype=torch.float32)
    tokenizer = ours.inputs.chat.tokenizer
    released = Released(ours, size.config(len(tokenizer), tokenizer.get_vocab()))
    pictures = make_pictures(folder, 3 * options.pairs)
    batch = packed_batch(ours, pictures).to(device)
    objective = PairwiseObjective(ours, PairwiseConfig(name="pairwise", overall_weight=0.0))
    losses: dict[str, float] = {}

    def run_ours() -> None:
        ours.zero_grad()
        loss = objective(batch).loss
        loss.backward()
        losses["ours"] = loss.item()

    def run_released() -> None:
        released.model.zero_grad()
        loss = released_loss(released, batch)
        loss.backward()
        losses["released"] = loss.item()

    run_ours()
    times: dict[str, list[float]] = {"released": [], "ours": []}
    for _ in range(options.repeats):
        times["released"].append(seconds(run_released, device))
        times["ours"].append(seconds(run_ours, device))
    ours.zero_grad()
    run_ours()
    work = works(ours, size, edits(pictures[0], pictures[1:3]))
    return {
        "pairs": options.pairs,
        "seconds": times,
        "speed_up": statistics.median(np.divide(times["released"], times["ours"]).tolist()),
        "limit": work["released"].total / work["ours"].total,
        "pairs_per_s": options.pairs / statistics.median(times["ours"]),
        "losses": losses,
        "largest_difference": difference(ours.backbone.model, released.model),
    }


def report(row: dict[str, Any]) -> None:
    """Print the figures as Markdown."""
    slow, fast = (statistics.median(row["seconds"][side]) for side in ("released", "ours"))
    print("| pairs | released s | ours s | speed-up | limit | pairs/s | gradients differ by |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {row['pairs']} | {slow:.2f} | {fast:.2f} | {row['speed_up']:.2f}x | "
        f"{row['limit']:.2f}x | {row['pairs_per_s']:.2f} | {row['largest_difference']:.1e} |"
    )


def main() -> None:
    """Measure, print, write; exit status 1 where the gradients are not the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="mid")
    parser.add_argument("--pairs", type=int, default=1, help="pairs in one step")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options, Path(folder))
    report(results)
    conclude(options, results, rows=[results], tolerance=TOLERANCE)


if __name__ == "__main__":
    main()
