"""Images as tensors: checked, and resized with gradients as Pillow resizes files.

Shape letters: B samples, H/W image.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from visreward.core.errors import ShapeError, UsageError


def check_image_tensor(images: Tensor, *, what: str = "images") -> None:
    """Refuse what is no batch of images.

    Args:
        images: Should be (B, 3, H, W) float in [0, 1].
        what: What the message calls it.

    Raises:
        ShapeError: if shape or dtype are wrong.
        UsageError: if a value is outside [0, 1], or not a number.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ShapeError(
            f"{what} has shape {tuple(images.shape)} and dtype {images.dtype}. "
            "Give (B, 3, H, W) float."
        )
    if images.numel() == 0:
        raise ShapeError(f"{what} has shape {tuple(images.shape)}. Give at least one image.")
    low, high = (float(value) for value in images.detach().aminmax())
    if not (low >= 0 and high <= 1):
        raise UsageError(
            f"{what} ranges from {low:g} to {high:g}. Give values in [0, 1]; clamp them first."
        )


def check_prompts(prompts: Sequence[str], images: Tensor) -> None:
    """Refuse prompts that are not one for each image.

    Raises:
        ShapeError: if their numbers differ.
    """
    if isinstance(prompts, str) or len(prompts) != len(images):
        raise ShapeError(
            f"There are {len(images)} images and {len(prompts)} prompts. Give one prompt for each "
            "image."
        )


def resize(images: Tensor, *, height: int, width: int) -> Tensor:
    """Return (B, 3, height, width) in [0, 1] as Pillow resizes files; differentiable.

    Bicubic with antialiasing, across and then down, each result rounded to 8 bits as Pillow does.
    The gradient passes the rounding unchanged, so that it is that of the smooth resizing. An image
    of the wanted size is not touched.

    Args:
        images: (B, 3, H, W) float in [0, 1].
        height: Of the result, in pixels.
        width: Of the result, in pixels.
    """
    for size in ((images.shape[-2], width), (height, width)):
        if tuple(images.shape[-2:]) != size:
            images = _rounded(
                functional.interpolate(
                    images.float(), size=size, mode="bicubic", antialias=True, align_corners=False
                )
            )
    return images


def _rounded(images: Tensor) -> Tensor:
    smooth = images.clamp(0, 1)
    return smooth + ((smooth.detach() * 255).round() / 255 - smooth.detach())
