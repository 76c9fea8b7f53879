"""One process of the gather test: train step and edge cases over gloo, results to a file.

Run as: python gather_worker.py RANK NUM_PROCESSES RENDEZVOUS_FILE RESULT_FILE
"""

from __future__ import annotations

import dataclasses
import sys

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.functional import normalize

from visreward.core.errors import ShapeError
from visreward.losses.contrastive import contrastive_loss
from visreward.losses.gather import gather_with_grad
from visreward.losses.ict import ContainmentTargets, TripletFeatures, ict_loss

NUM_ROWS = 6
NUM_PIXELS = 5
NUM_FEATURES = 4


def make_batch() -> dict[str, Tensor]:
    """Return the whole batch: five kinds of raw input, four labels, one group id per row."""
    generator = torch.Generator().manual_seed(0)
    batch = {
        field.name: torch.randn(NUM_ROWS, NUM_PIXELS, generator=generator)
        for field in dataclasses.fields(TripletFeatures)
    }
    for field in dataclasses.fields(ContainmentTargets):
        batch[field.name] = torch.rand(NUM_ROWS, generator=generator)
    batch["group_ids"] = torch.tensor([0, 1, 2, 0, 3, 1])
    return batch


def make_towers() -> tuple[nn.Linear, nn.Linear]:
    """Return a text and an image tower, the same in every process."""
    torch.manual_seed(0)
    return nn.Linear(NUM_PIXELS, NUM_FEATURES), nn.Linear(NUM_PIXELS, NUM_FEATURES)


def run_step(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return both losses of a batch, with the gradients that the towers get from their sum."""
    text_tower, image_tower = make_towers()
    rows: dict[str, Tensor] = {}
    for name, value in batch.items():
        if value.is_floating_point() and value.ndim > 1:
            tower = text_tower if name.endswith("text") else image_tower
            rows[name] = gather_with_grad(normalize(tower(value), dim=1))
        else:
            rows[name] = gather_with_grad(value)
    features = TripletFeatures(
        **{field.name: rows[field.name] for field in dataclasses.fields(TripletFeatures)}
    )
    targets = ContainmentTargets(
        **{field.name: rows[field.name] for field in dataclasses.fields(ContainmentTargets)}
    )
    ict = ict_loss(features, targets=targets, fidelity="paper").loss
    contrastive = contrastive_loss(
        image_features=features.winning_image,
        text_features=features.basic_text,
        logit_scale=5.0,
        group_ids=rows["group_ids"],
    )
    torch.autograd.backward(ict + contrastive)
    result = {"ict": ict.detach(), "contrastive": contrastive.detach()}
    for tower_name, tower in (("text", text_tower), ("image", image_tower)):
        for name, parameter in tower.named_parameters():
            assert parameter.grad is not None
            result[f"{tower_name}_{name}"] = parameter.grad
    return result


def read_shape_error(rank: int) -> str:
    """Return what a gather of one row more on rank 1 raises."""
    try:
        gather_with_grad(torch.zeros(2 + rank, 3))
    except ShapeError as error:
        return str(error)
    return ""


def run_process(rank: int, num_processes: int, rendezvous: str, result_path: str) -> None:
    """Take part in a group of processes and write down what this one saw."""
    dist.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=num_processes
    )
    share = NUM_ROWS // num_processes
    batch = {name: value[rank * share : (rank + 1) * share] for name, value in make_batch().items()}
    result: dict[str, Tensor | str] = dict(run_step(batch))
    result["ranks"] = gather_with_grad(torch.full((2,), rank))
    wide = torch.arange(12.0).reshape(3, 4) + 100 * rank
    result["strided"] = gather_with_grad(wide[:, ::2])
    result["shape_error"] = read_shape_error(rank)
    torch.save(result, result_path)
    dist.destroy_process_group()


if __name__ == "__main__":
    run_process(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
