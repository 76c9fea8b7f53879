"""Whether a model's weights have changed since something was computed with them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def weight_marks(weights: Sequence[Tensor]) -> list[object] | None:
    """Return values of which one changes when a weight changes; None if that cannot be told.

    torch counts the changes of a tensor, except those made through `.data`; for them the first
    number of each tensor is compared too. Tensors made in inference mode have no such count, and
    of weights that processes share out the numbers are elsewhere.
    """
    if any(weight.is_inference() or not _is_whole(weight) for weight in weights):
        return None
    firsts = torch.cat([weight.as_strided((1,), (1,)) for weight in weights]).tolist()
    return [
        (weight.data_ptr(), weight._version, weight.dtype, first)
        for weight, first in zip(weights, firsts, strict=True)
    ]


def _is_whole(weight: Tensor) -> bool:
    """Return whether all of a weight is in this process: FSDP has a class for parts, ZeRO none."""
    return type(weight) in (Tensor, nn.Parameter) and weight.numel() > 0
