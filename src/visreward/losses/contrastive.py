"""The contrastive loss that trains a two-tower model from prompts and images.

Shapes: B pairs, D features. In distributed training pass the rows of all processes
(`visreward.losses.gather`): every other row of the batch is a negative.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from visreward.losses.checks import require_shape
from visreward.losses.similarity import similarity_matrix


def contrastive_loss(
    *,
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor | float,
    group_ids: Tensor | None = None,
) -> Tensor:
    """Return the symmetric InfoNCE loss of matched images and prompts.

    logits = logit_scale * image_features text_features^T,
    loss = (cross_entropy(logits, own row) + cross_entropy(logits^T, own row)) / 2.
    Paper: "Learning Transferable Visual Models From Natural Language Supervision"
    (arXiv 2103.00020), the pseudo-code of Figure 3. It has no groups: there two images of one
    prompt are negatives of each other. Here rows of one group leave each other's denominators.

    Computed in float32, also under autocast; half precision cannot tell cosines near 1 apart.

    Args:
        image_features: (B, D) float of any precision, L2-normalised.
        text_features: (B, D) float of any precision, L2-normalised, same order.
        logit_scale: The multiplier of the cosines itself, above 0: the exponential of the
            parameter that CLIP stores. A scalar tensor receives a gradient.
        group_ids: (B,) integers; rows with equal ids share a prompt and are not negatives of
            each other. None: all rows differ.

    Returns:
        Scalar float32 tensor of at least 0, differentiable; 0 for a batch of one. NaN in an
        input gives NaN: the caller stops.

    Raises:
        ShapeError: if the features differ in shape, the ids are not (B,), or the logit scale is
            not one number.
    """
    require_shape(("B", "D"), image_features=image_features, text_features=text_features)
    num_rows, device = image_features.shape[0], image_features.device
    scale = torch.as_tensor(logit_scale, dtype=torch.float32, device=device)
    require_shape((), logit_scale=scale)
    logits = scale * similarity_matrix(image_features, text_features)
    rows = torch.arange(num_rows, device=device)
    if group_ids is not None:
        require_shape((num_rows,), group_ids=group_ids)
        is_same_group = group_ids.unsqueeze(0) == group_ids.unsqueeze(1)
        is_own = rows.unsqueeze(0) == rows.unsqueeze(1)
        logits = logits.masked_fill(is_same_group & ~is_own, float("-inf"))
    return (cross_entropy(logits, rows) + cross_entropy(logits.T, rows)) / 2
