"""Cosine similarities of text and image features, always in float32.

Shapes: B batch, D features. Features are L2-normalised by the caller, so that a dot product
is a cosine in [-1, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

from visreward.losses.checks import require_shape


def similarity_matrix(left: Tensor, right: Tensor) -> Tensor:
    """Return the dot product of every left row with every right row.

    Mixed precision is switched off inside: autocast would round the product to bfloat16, whose
    steps near a cosine of 1 are 0.004 wide.

    Args:
        left: (..., B, D) float of any precision, L2-normalised.
        right: (..., M, D) float of any precision, L2-normalised; leading axes broadcast.

    Returns:
        (..., B, M) float32, differentiable, deterministic on one device.
    """
    with torch.autocast(left.device.type, enabled=False):
        return left.float() @ right.float().transpose(-1, -2)


def triplet_cosines(
    text: Tensor, *, losing_image: Tensor, winning_image: Tensor, refined_image: Tensor
) -> Tensor:
    """Return the cosine of each prompt with the three images of its own triplet.

    These are ICT scores when the features come from an ICT model.

    Args:
        text: (B, D) float, L2-normalised.
        losing_image: (B, D) float, L2-normalised.
        winning_image: (B, D) float, L2-normalised.
        refined_image: (B, D) float, L2-normalised.

    Returns:
        (B, 3) float32 in [-1, 1], columns losing, winning, refined; differentiable.

    Raises:
        ShapeError: if the four shapes differ.
    """
    require_shape(
        ("B", "D"),
        text=text,
        losing_image=losing_image,
        winning_image=winning_image,
        refined_image=refined_image,
    )
    images = torch.stack([losing_image, winning_image, refined_image], dim=1)
    return (text.float().unsqueeze(1) * images.float()).sum(dim=-1)
