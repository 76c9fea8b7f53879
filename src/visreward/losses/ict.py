"""The loss of the ICT model: how far does an image contain the text?

Shapes: B triplets, D features. In distributed training pass the rows of all processes
(`visreward.losses.gather`): the negatives of a prompt are the images of all other triplets.

Paper: "Enhancing Reward Models for High-quality Image Generation: Beyond Text-Image Alignment"
(ICCV 2025, arXiv 2507.19002), the part on the ICT model.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from visreward.core.types import Fidelity
from visreward.losses.checks import require_fidelity, require_shape
from visreward.losses.similarity import similarity_matrix, triplet_cosines

DEFAULT_ALPHA: Final = 20.0  # ICTHP release, compute_weights_smooth, sharpness
DEFAULT_BETA: Final[dict[Fidelity, float]] = {
    "released": 6.0,  # ICTHP release, compute_weights_smooth, threshold: above any cosine
    "paper": 0.6,  # ours; the paper's value is not published, a cosine needs one below 1
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletFeatures:
    """Features of B triplets, L2-normalised.

    Attributes:
        basic_text: (B, D) float, the basic prompt.
        refined_text: (B, D) float, the refined prompt.
        losing_image: (B, D) float, I1 of the paper.
        winning_image: (B, D) float, I2.
        refined_image: (B, D) float, I3, made from the refined prompt.
    """

    basic_text: Tensor
    refined_text: Tensor
    losing_image: Tensor
    winning_image: Tensor
    refined_image: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainmentTargets:
    """How far the images of B triplets contain their prompts; the refined image counts as 1.

    Attributes:
        e1: (B,) float in [0, 1], losing image and basic prompt.
        e2: (B,) float in [0, 1], winning image and basic prompt.
        r1: (B,) float in [0, 1], losing image and refined prompt.
        r2: (B,) float in [0, 1], winning image and refined prompt.
    """

    e1: Tensor
    e2: Tensor
    r1: Tensor
    r2: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ICTLoss:
    """The ICT loss and its four parts, scalar float32 tensors.

    Attributes:
        loss: basic + refined + negative_weight * (negative_basic + negative_refined).
        basic: Squared error of the basic prompts against (E1, E2, 1).
        refined: Squared error of the refined prompts against (R1, R2, 1).
        negative_basic: Weighted squared cosine of the basic prompts with other images.
        negative_refined: The same for the refined prompts.
    """

    loss: Tensor
    basic: Tensor
    refined: Tensor
    negative_basic: Tensor
    negative_refined: Tensor


def released_targets(targets: ContainmentTargets) -> ContainmentTargets:
    """Return the targets that the released training code saw: E2 takes the value of R1.

    The released dataset class reads the E2 label from the R1 column; the released loss itself
    uses the E2 that it is handed. A trainer applies this under fidelity `released`, before
    `ict_loss`; under `paper` it does not.

    Args:
        targets: The labels as the dataset has them.

    Returns:
        The same targets with `e2` replaced by `r1`; no copy is made.
    """
    return dataclasses.replace(targets, e2=targets.r1)


def negative_weights(cosines: Tensor, *, alpha: float, beta: float) -> Tensor:
    """Return how much each unmatched pair counts: less, the likelier it is a false negative.

    w(y) = 1 / (1 + exp(alpha (|y| - beta))), the weight of the paper's L_neg.

    Args:
        cosines: Any shape, float, in [-1, 1].
        alpha: How steeply the weight falls, per unit of cosine; 0 gives 1/2 everywhere.
        beta: The |cosine| at which the weight is 1/2. At 6, the released value, the weight of
            every cosine is 1 and nothing is weighted.

    Returns:
        The shape and dtype of `cosines`, in [0, 1]. A constant for the gradient: if it were not,
        the loss of a pair above `beta` would fall as its cosine rises, and training would pull
        unmatched pairs together. In the released code the gradient through it is zero anyway.
    """
    return torch.sigmoid(-alpha * (cosines.detach().abs() - beta))


def ict_loss(
    features: TripletFeatures,
    *,
    targets: ContainmentTargets,
    fidelity: Fidelity,
    negative_weight: float = 0.5,
    alpha: float = DEFAULT_ALPHA,
    beta: float | None = None,
    cast_dtype: torch.dtype | None = None,
) -> ICTLoss:
    """Return the ICT loss of a batch of triplets.

    y = cosine(prompt, image), no logit scale, over the columns losing, winning, refined:
    basic = mean((y_basic - (E1, E2, 1))^2),  refined = mean((y_refined - (R1, R2, 1))^2),
    negative = mean over the images of other triplets of w(y) y^2, target 0,
    loss = basic + refined + negative_weight * (negative_basic + negative_refined).

    Paper: L_ICT = sum (E_i - y_ie)^2 + sum (R_i - y_ir)^2 and L_total = L_ICT + lambda L_neg.
    We take means for the sums, as the release does, so that a learning rate holds for any
    batch size. Released code: its weight w does nothing (beta 6), it rounds cosines and
    targets to bfloat16 (`cast_dtype=torch.bfloat16`), its E2 is R1 (`released_targets`), and
    a batch of one gives NaN; here a batch of one has no negatives and they count 0.

    Two rows with the same prompt are negatives of each other, in the release and here; under
    `paper` the weight takes such pairs down.

    Args:
        features: (B, D) each, L2-normalised, float of any precision.
        targets: (B,) each, in [0, 1], same order as `features`.
        fidelity: `released` or `paper`; chooses the default of `beta` (6 or 0.6).
        negative_weight: Weight of the two negative parts, lambda of the paper; 0 drops them.
        alpha: Steepness of the weight of negatives, see `negative_weights`.
        beta: |cosine| at which a negative counts half; None takes the fidelity's own.
        cast_dtype: Precision to which cosines and targets are rounded and in which the parts
            are computed; None keeps float32.

    Returns:
        Loss and parts in float32, differentiable. NaN in an input gives NaN: the caller stops.

    Raises:
        ShapeError: if features or targets differ in shape.
        UnknownNameError: if the fidelity is unknown.
    """
    require_fidelity(fidelity)
    _require_shapes(features, targets)
    dtype = torch.float32 if cast_dtype is None else cast_dtype
    turning_point = DEFAULT_BETA[fidelity] if beta is None else beta
    basic = _matched_error(features.basic_text, features, wanted=(targets.e1, targets.e2), to=dtype)
    refined = _matched_error(
        features.refined_text, features, wanted=(targets.r1, targets.r2), to=dtype
    )
    unmatched = [
        _unmatched_cosines(text, features).to(dtype)
        for text in (features.basic_text, features.refined_text)
    ]
    negative_basic, negative_refined = (
        _negative_error(cosines, alpha=alpha, beta=turning_point) for cosines in unmatched
    )
    loss = basic + refined + negative_weight * (negative_basic + negative_refined)
    return ICTLoss(
        loss=loss.float(),
        basic=basic.float(),
        refined=refined.float(),
        negative_basic=negative_basic.float(),
        negative_refined=negative_refined.float(),
    )


def _require_shapes(features: TripletFeatures, targets: ContainmentTargets) -> None:
    """Stop unless all features are (B, D) and all targets (B,)."""
    require_shape(
        ("B", "D"),
        basic_text=features.basic_text,
        refined_text=features.refined_text,
        losing_image=features.losing_image,
        winning_image=features.winning_image,
        refined_image=features.refined_image,
    )
    num_rows = features.basic_text.shape[0]
    require_shape((num_rows,), e1=targets.e1, e2=targets.e2, r1=targets.r1, r2=targets.r2)


def _matched_error(
    text: Tensor, features: TripletFeatures, *, wanted: tuple[Tensor, Tensor], to: torch.dtype
) -> Tensor:
    """Return the mean squared error of the cosines within triplets against (wanted, 1)."""
    cosines = triplet_cosines(
        text,
        losing_image=features.losing_image,
        winning_image=features.winning_image,
        refined_image=features.refined_image,
    )
    labels = torch.stack([*wanted, torch.ones_like(wanted[0])], dim=1)
    return (cosines.to(to) - labels.to(to)).square().mean()


def _unmatched_cosines(text: Tensor, features: TripletFeatures) -> Tensor:
    """Return (3, B (B - 1)) float32 cosines of each prompt with the images of other triplets."""
    images = torch.stack([features.losing_image, features.winning_image, features.refined_image])
    is_own = torch.eye(text.shape[0], dtype=torch.bool, device=text.device)
    return similarity_matrix(text, images)[:, ~is_own]


def _negative_error(cosines: Tensor, *, alpha: float, beta: float) -> Tensor:
    """Return the mean of w(y) y^2, or 0 where there are no negatives."""
    errors = negative_weights(cosines, alpha=alpha, beta=beta) * cosines.square()
    return errors.mean() if errors.numel() else errors.sum()
