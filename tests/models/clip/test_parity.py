"""The numbers of the released code on tiny models (shared/parity/clip_tiny)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional

from visreward.core.images import AS_RELEASED, read_image
from visreward.core.types import Sample
from visreward.models.clip.hp import HP, ICTHP
from visreward.models.clip.ict import ICT
from visreward.models.clip.inputs import load_text_inputs

if TYPE_CHECKING:
    from tests.models.clip.conftest import Parity

EMPTY = 4
"""Place of the empty prompt, which is encoded here but refused by `score`."""


@pytest.fixture
def pixels(parity: Parity, hp: HP) -> torch.Tensor:
    return hp.pixel_inputs.pixels([read_image(path, rule=AS_RELEASED) for path in parity.images])


def test_token_ids_open_clip_cleaning_equals_open_clip(parity: Parity, ict: ICT) -> None:
    assert ict.text_inputs is not None
    ids, counts = ict.text_inputs.token_ids(parity.prompts)
    for row, known, count in zip(
        ids.numpy(), parity.arrays["input_ids_open_clip"], counts, strict=True
    ):
        used = min(count, 77)
        assert row[:used].tolist() == known[:used].tolist()
        assert not known[used:].any()


def test_token_ids_no_cleaning_equals_transformers(parity: Parity) -> None:
    inputs = load_text_inputs(parity.folder, context=77, cleaning="none")
    ids, _ = inputs.token_ids(parity.prompts)
    np.testing.assert_array_equal(ids.numpy(), parity.arrays["input_ids_hf"])


def test_pixels_every_image_normalised_equal_to_processor(
    parity: Parity, hp: HP, pixels: torch.Tensor
) -> None:
    assert pixels.dtype == torch.uint8
    values = hp.pixel_inputs.normalise(pixels)
    np.testing.assert_allclose(values, parity.arrays["pixel_values"], rtol=0, atol=1e-6)


def test_pixels_every_image_equal_to_processor_before_normalising(
    parity: Parity, hp: HP, pixels: torch.Tensor
) -> None:
    for path, ours in zip(parity.images, pixels, strict=True):
        image = read_image(path, rule=AS_RELEASED)
        known = hp.pixel_inputs.processor(image, do_rescale=False, do_normalize=False)
        np.testing.assert_array_equal(ours, known["pixel_values"][0])


@torch.inference_mode()
def test_text_features_both_cleanings_equal_release(parity: Parity, ict: ICT) -> None:
    features, _ = ict.encode_prompts(parity.prompts)
    known = parity.arrays["ict_text_features_open_clip_ids"]
    np.testing.assert_allclose(features, known, rtol=0, atol=1e-5)
    ict.text_inputs = load_text_inputs(parity.folder, context=77, cleaning="none")
    plain = ict.backbone.text_features(ict.text_inputs.token_ids(parity.prompts)[0])
    known = parity.arrays["ict_text_features_hf_ids"]
    np.testing.assert_allclose(plain, known, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_image_features_both_towers_equal_release(
    parity: Parity, ict: ICT, hp: HP, pixels: torch.Tensor
) -> None:
    for model, name in ((ict, "ict_image_features"), (hp, "hp_image_features")):
        features = model.encode_images(pixels)
        np.testing.assert_allclose(features, parity.arrays[name], rtol=0, atol=1e-5)


@torch.inference_mode()
def test_hp_logits_every_image_equal_release(parity: Parity, hp: HP, pixels: torch.Tensor) -> None:
    known = parity.arrays["hp_logits"][:, 0]
    np.testing.assert_allclose(hp.logits(pixels), known, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_ict_cosines_with_empty_prompt_equal_release(
    parity: Parity, ict: ICT, pixels: torch.Tensor
) -> None:
    images = functional.normalize(ict.encode_images(pixels), dim=-1)
    texts = functional.normalize(ict.encode_prompts(parity.prompts)[0], dim=-1)
    np.testing.assert_allclose(images @ texts.T, parity.ict_scores, rtol=0, atol=1e-5)


def test_ict_hp_score_every_pair_equals_release(parity: Parity, ict_hp: ICTHP) -> None:
    kept = [place for place in range(len(parity.prompts)) if place != EMPTY]
    samples = [
        Sample(prompt=parity.prompts[place], image=path) for path in parity.images for place in kept
    ]
    scores = ict_hp.score(samples, batch_size=5)
    shape = (len(parity.images), len(kept))
    ict = np.array([score.dimensions["ict"].mu for score in scores]).reshape(shape)
    hp = np.array([score.dimensions["hp"].mu for score in scores]).reshape(shape)
    product = np.array([score.value for score in scores]).reshape(shape)
    np.testing.assert_allclose(ict, parity.ict_scores[:, kept], rtol=0, atol=1e-5)
    np.testing.assert_allclose(hp, np.tile(parity.hp_scores[:, None], len(kept)), rtol=0, atol=1e-5)
    np.testing.assert_allclose(product, ict * hp, rtol=0, atol=1e-6)


def test_ict_score_without_cleaning_equals_release_with_transformers_ids(
    parity: Parity, ict: ICT
) -> None:
    ict.text_inputs = load_text_inputs(parity.folder, context=77, cleaning="none")
    kept = [place for place in range(len(parity.prompts)) if place != EMPTY]
    samples = [
        Sample(prompt=parity.prompts[place], image=path) for path in parity.images for place in kept
    ]
    values = np.array([score.value for score in ict.score(samples)]).reshape(-1, len(kept))
    known = parity.arrays["ict_scores_hf_ids"][:, kept]
    np.testing.assert_allclose(values, known, rtol=0, atol=1e-5)
    assert np.abs(values - parity.ict_scores[:, kept]).max() > 1e-3


def test_hp_score_without_prompt_equals_release(parity: Parity, hp: HP) -> None:
    scores = hp.score([Sample(prompt="", image=path) for path in parity.images])
    values = [score.value for score in scores]
    np.testing.assert_allclose(values, parity.hp_scores, rtol=0, atol=1e-5)


def test_score_cut_prompt_is_noted(parity: Parity, ict_hp: ICTHP) -> None:
    scores = ict_hp.score(
        [Sample(prompt=prompt, image=parity.images[0]) for prompt in parity.prompts[5:]]
    )
    assert scores[0].notes == ()
    assert scores[1].notes == ("prompt has 434 tokens, cut to 77",)
