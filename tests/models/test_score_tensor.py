"""Scores of image tensors: those of the same files, with gradients to the pixels."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from visreward import load_model
from visreward.core.errors import InputError, PromptError, ShapeError, UsageError
from visreward.core.types import Sample
from visreward.data.scenes.triplets import make_triplet
from visreward.models.base import RewardModel

TRIPLET = make_triplet(seed=5, split="test", index=1, size=160)
PROMPT = TRIPLET.basic_prompt
SIDES = {"clip-mini": 64, "hp-mini": 128}


@cache
def model(name: str) -> RewardModel:
    return load_model(name)


def picture(width: int, height: int) -> Image.Image:
    whole = Image.fromarray(TRIPLET.refined_image)
    return whole.resize((width, height), Image.Resampling.BICUBIC)


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("name", ["clip-mini", "ict-mini", "hp-mini", "ict-hp-mini"])
@pytest.mark.parametrize("size", [(128, 128), (160, 160), (200, 150), (90, 140)])
def test_score_is_that_of_the_file(name: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    [score] = model(name).score([Sample(prompt=PROMPT, image=image)])
    with torch.no_grad():
        found = model(name).score_tensor(tensor(image), [PROMPT])
    low, high = model(name).facts.score_range
    assert found.item() == pytest.approx(score.value, abs=1e-3 * (high - low))


@pytest.mark.parametrize("name", SIDES)
def test_gradient_is_the_slope_of_the_score(name: str) -> None:
    # At the model's own size nothing is rounded.
    images = tensor(picture(SIDES[name], SIDES[name])) * 0.8 + 0.1
    images.requires_grad_(True)
    [gradient] = torch.autograd.grad(model(name).score_tensor(images, [PROMPT]).sum(), images)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
    direction = gradient / gradient.abs().max()
    step = 1e-3
    with torch.no_grad():
        ends = [
            model(name).score_tensor(images + sign * step * direction, [PROMPT]).item()
            for sign in (1, -1)
        ]
    slope = (gradient * direction).sum().item()
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=0.02)


def test_climbing_the_gradient_raises_the_score() -> None:
    images = tensor(picture(128, 128))
    before = model("ict-hp-mini").score_tensor(images, [PROMPT]).item()
    for _ in range(5):
        images.requires_grad_(True)
        score = model("ict-hp-mini").score_tensor(images, [PROMPT])
        [gradient] = torch.autograd.grad(score.sum(), images)
        images = (images + 2 / 255 * gradient.sign()).clamp(0, 1).detach()
    assert model("ict-hp-mini").score_tensor(images, [PROMPT]).item() > before + 0.01


def test_each_image_has_its_own_prompt() -> None:
    images = torch.cat([tensor(picture(128, 128)), tensor(picture(128, 128)).flip(-1)])
    prompts = [PROMPT, "two blue cubes"]
    with torch.no_grad():
        together = model("ict-hp-mini").score_tensor(images, prompts)
        alone = [
            model("ict-hp-mini").score_tensor(images[i : i + 1], prompts[i : i + 1])
            for i in range(2)
        ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("images", "prompts", "error", "words"),
    [
        (torch.rand(3, 8, 8), ["a"], ShapeError, r"shape \(3, 8, 8\)"),
        (torch.rand(1, 4, 8, 8), ["a"], ShapeError, r"Give \(B, 3, H, W\) float"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), ["a"], ShapeError, "torch.uint8"),
        (torch.rand(0, 3, 8, 8), [], ShapeError, "at least one image"),
        (torch.rand(2, 3, 8, 8), ["a"], ShapeError, "2 images and 1 prompts"),
        (torch.rand(1, 3, 8, 8), "a", ShapeError, "one prompt for each"),
        (torch.rand(1, 3, 8, 8) * 255, ["a"], UsageError, r"Give values in \[0, 1\]"),
        (torch.full((1, 3, 8, 8), torch.nan), ["a"], UsageError, "ranges from nan"),
        (torch.rand(1, 3, 8, 8), [" "], PromptError, "prompt is empty"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    images: Tensor, prompts: list[str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        model("ict-hp-mini").score_tensor(images, prompts)


def test_source_for_a_model_of_single_images_is_refused() -> None:
    images = torch.rand(1, 3, 8, 8)
    with pytest.raises(InputError, match="scores single images"):
        model("ict-hp-mini").score_tensor(images, ["a"], images)
