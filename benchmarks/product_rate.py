"""What a machine reaches in plain matrix products: the yardstick for everything else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

REPEATS = 6


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Return the wall time of some work, until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


@torch.inference_mode()
def product_rate(
    shapes: Iterable[tuple[int, int, int]], *, device: torch.device, dtype: torch.dtype
) -> float:
    """Return the best rate in GFLOP/s, over some shapes and a large square.

    On a CPU both of torch's libraries are tried: its ordinary way, and oneDNN.

    Args:
        shapes: Rows, inner and outer width of products to try.
        device: Where to compute.
        dtype: Of the numbers.
    """
    # On a GPU one product takes less than the call; 20 in a row hide that.
    side, calls = (8192, 20) if device.type == "cuda" else (4096, 1)
    ways: list[Callable[..., Tensor]] = [functional.linear]
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        ways.append(_onednn_product)
    best = 0.0
    for rows, inner, outer in [*shapes, (side, side, side)]:
        left = torch.randn(rows, inner, device=device, dtype=dtype)
        weight = torch.randn(outer, inner, device=device, dtype=dtype)
        for way in ways:
            work = partial(_repeat, way, left, weight, calls)
            fastest = min(seconds(work, device) for _ in range(REPEATS)) / calls
            best = max(best, 2 * rows * inner * outer / fastest / 1e9)
    return best


def _onednn_product(inputs: Tensor, weight: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, None, "none", [], "")
    return product


def _repeat(way: Callable[..., Tensor], inputs: Tensor, weight: Tensor, calls: int) -> None:
    for _ in range(calls):
        way(inputs, weight)
