"""Bring the rows of all processes together, so that a loss sees the whole batch.

Every process then computes the loss of the whole batch. Backward sums what all processes say
about a row, and hands it to the process that owns the row. When parameter gradients are
averaged over the processes afterwards, as DistributedDataParallel does, the result is the
gradient of one process with the whole batch.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch import distributed as dist

from visreward.core.errors import ShapeError


class _Context(Protocol):
    """What forward leaves for backward."""

    num_rows: int


class _GatherRows(torch.autograd.Function):
    """All-gather along the first axis; backward is the sum over processes of the own rows.

    torch.distributed.nn offers the same, but warns that it will go away.
    """

    @staticmethod
    def forward(ctx: _Context, rows: Tensor) -> Tensor:
        ctx.num_rows = rows.shape[0]
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: _Context, *grad_outputs: Tensor) -> Tensor:
        total = grad_outputs[0].contiguous().clone()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.num_rows
        return total[start : start + ctx.num_rows]


def gather_with_grad(rows: Tensor) -> Tensor:
    """Return the rows of all processes in the order of their ranks; gradients flow back.

    Every process has to call this in the same order. Without `torch.distributed`, or before it
    is initialised, the input comes back unchanged.

    Args:
        rows: (B, ...) tensor of any dtype; B is the same on every process. A tensor that needs
            no gradient, such as labels, is gathered as well.

    Returns:
        (num_processes * B, ...), same dtype.

    Raises:
        ShapeError: on every process, if the shapes differ between processes or `rows` is a
            scalar.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    _require_equal_shapes(rows)
    # NCCL refuses strided tensors; gloo takes them.
    return _GatherRows.apply(rows.contiguous())  # type: ignore[no-any-return,no-untyped-call]


def _require_equal_shapes(rows: Tensor) -> None:
    """Stop on all processes alike: a collective on unequal shapes hangs or mixes rows."""
    shapes: list[tuple[int, ...] | None] = [None] * dist.get_world_size()
    dist.all_gather_object(shapes, tuple(rows.shape))
    if len(set(shapes)) > 1 or not shapes[0]:
        raise ShapeError(
            f"The processes hold rows of shapes {shapes}. Pass the same number of rows on every "
            "process: drop or fill the last batch."
        )
