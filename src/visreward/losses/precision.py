"""The precision in which losses are computed."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Return the values in float32, or as they are in float64; differentiable.

    A difference of two scores in bfloat16 has two or three digits, so scores are widened before
    anything else is done with them.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))
