"""A score depends on its own image and prompt, and on nothing that happens to be scored beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from visreward.core.types import Sample, Score
from visreward.models.clip.hp import HP, ICTHP
from visreward.models.clip.ict import ICT
from visreward.models.facts import ModelFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from visreward.models.clip.backbone import CLIPBackbone
    from visreward.models.clip.inputs import PixelInputs, TextInputs

PROMPTS = (
    "a red cube",
    "a blue ball on a table beside a tall green bottle",
    "two cats",
)
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture(params=[96, 1024])
def model(
    request: pytest.FixtureRequest,
    random_backbone: Callable[..., CLIPBackbone],
    make_inputs: Callable[[int], tuple[PixelInputs, TextInputs]],
) -> ICTHP:
    pixels, texts = make_inputs(64)
    towers = random_backbone(projection_dim=request.param)
    image_tower = random_backbone(projection_dim=request.param, image_only=True, hidden_size=160)
    return ICTHP(
        ModelFacts(name="ict-hp", dimensions=("ict", "hp")),
        ICT(ModelFacts(name="ict"), towers, pixel_inputs=pixels, text_inputs=texts),
        HP(ModelFacts(name="hp", needs_prompt=False), image_tower, pixel_inputs=pixels),
    ).eval()


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Nine images, each with one to three prompts."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 70, 66, 3)).astype(np.uint8)
    pictures = [Image.fromarray(array) for array in noise]
    return [
        Sample(prompt=prompt, image=picture)
        for place, picture in enumerate(pictures)
        for prompt in PROMPTS[: 1 + place % 3]
    ]


def numbers(scores: Sequence[Score]) -> np.ndarray:
    """(B, 3): the score and its two parts."""
    return np.array(
        [[score.value, *(part.mu for part in score.dimensions.values())] for score in scores]
    )


def in_other_company(model: ICTHP, samples: list[Sample]) -> list[np.ndarray]:
    """The scores of all samples, in their order, from six ways to batch and order them."""

    def fresh(part: Sequence[Sample], batch_size: int = 16) -> np.ndarray:
        model.ict._prompt_cache.clear()
        return numbers(model.score(part, batch_size=batch_size))

    order = np.random.default_rng(1).permutation(len(samples))
    return [
        *(fresh(samples, batch_size) for batch_size in (1, 3, 8)),
        fresh([samples[place] for place in order], 8)[np.argsort(order)],
        np.concatenate([fresh([sample]) for sample in samples]),
        np.concatenate([fresh(part) for part in (samples[:7], samples[7:])]),
    ]


def test_score_float32_any_batch_differs_by_rounding_only(
    model: ICTHP, samples: list[Sample]
) -> None:
    expected = numbers(model.score(samples, batch_size=9))
    assert np.ptp(expected, axis=0).min() > 1e-3
    for values in in_other_company(model, samples):
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_score_batch_invariant_any_batch_has_equal_bits(
    dtype: torch.dtype, model: ICTHP, samples: list[Sample]
) -> None:
    model.to(dtype)
    model.batch_invariant = True
    expected = numbers(model.score(samples, batch_size=9))
    for values in in_other_company(model, samples):
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_score_batch_invariant_equals_ordinary_up_to_rounding(
    dtype: torch.dtype, model: ICTHP, samples: list[Sample]
) -> None:
    exact = numbers(model.score(samples))
    model.to(dtype)
    ordinary = numbers(model.score(samples))
    model.batch_invariant = True
    tolerance = {torch.float32: 1e-6, torch.bfloat16: 0.02, torch.float16: 0.003}[dtype]
    np.testing.assert_allclose(numbers(model.score(samples)), exact, rtol=0, atol=tolerance)
    np.testing.assert_allclose(ordinary, exact, rtol=0, atol=tolerance)


def test_batch_invariant_of_product_is_that_of_both_parts(model: ICTHP) -> None:
    assert not model.batch_invariant
    model.batch_invariant = True
    assert model.ict.batch_invariant
    assert model.hp.batch_invariant
    model.ict.batch_invariant = False
    assert not model.batch_invariant


def test_encode_images_many_equal_one_at_a_time_and_with_gradient(model: ICTHP) -> None:
    pixels = torch.randint(0, 256, (35, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        together = model.hp.encode_images(pixels)
        alone = torch.cat([model.hp.encode_images(pixel) for pixel in pixels.split(1)])
    torch.testing.assert_close(together, alone, rtol=0, atol=5e-6)
    with_gradient = model.hp.encode_images(pixels)
    assert with_gradient.requires_grad
    torch.testing.assert_close(with_gradient.detach(), together, rtol=0, atol=5e-6)
