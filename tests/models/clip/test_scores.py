"""What each CLIP reward model makes of its features, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from visreward.core.errors import InputError, PromptError, UsageError
from visreward.core.types import Sample
from visreward.models.clip.backbone import CLIPBackbone, CLIPBackboneConfig
from visreward.models.clip.hp import HP, ICTHP, LAIONAesthetic
from visreward.models.clip.ict import ICT
from visreward.models.clip.similarity import CLIPScore, CLIPSimilarity, HPSv2, PickScore
from visreward.models.facts import ModelFacts
from visreward.models.loaded import load_sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from visreward.models.clip.inputs import PixelInputs, TextInputs

FACTS = ModelFacts(name="small")
IMAGE_ONLY = ModelFacts(name="small", needs_prompt=False)

Inputs = tuple["PixelInputs", "TextInputs"]


@pytest.fixture
def inputs(make_inputs: Callable[[int], Inputs]) -> Inputs:
    return make_inputs(64)


@pytest.fixture
def samples() -> list[Sample]:
    noise = np.random.default_rng(3).integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
    prompts = ("a red cube", "two cats", "a red cube", "a chair")
    return [
        Sample(prompt=prompt, image=Image.fromarray(array))
        for prompt, array in zip(prompts, noise, strict=True)
    ]


def values(model: CLIPSimilarity | HP | ICTHP, samples: list[Sample]) -> Tensor:
    return torch.tensor([score.value for score in model.score(samples)])


@torch.no_grad()
def image_features(model: CLIPSimilarity | HP, samples: list[Sample]) -> Tensor:
    pictures = [sample.image for sample in samples if isinstance(sample.image, Image.Image)]
    return model.encode_images(model.pixel_inputs.pixels(pictures))


@torch.no_grad()
def cosines(model: CLIPSimilarity, samples: list[Sample]) -> Tensor:
    texts, _ = model.encode_prompts([sample.prompt for sample in samples])
    return functional.cosine_similarity(image_features(model, samples), texts)


def build(kind: type[CLIPSimilarity], backbone: CLIPBackbone, inputs: Inputs) -> CLIPSimilarity:
    return kind(FACTS, backbone, pixel_inputs=inputs[0], text_inputs=inputs[1]).eval()


def build_both(
    hp_side: int,
    random_backbone: Callable[..., CLIPBackbone],
    make_inputs: Callable[[int], Inputs],
) -> ICTHP:
    """Return ICT at 64 px and HP at another size, as one model."""
    pixels, texts = make_inputs(64)
    ict = ICT(FACTS, random_backbone(), pixel_inputs=pixels, text_inputs=texts).eval()
    backbone = random_backbone(image_only=True, image_size=hp_side)
    hp = HP(IMAGE_ONLY, backbone, pixel_inputs=make_inputs(hp_side)[0]).eval()
    return ICTHP(ModelFacts(name="both", dimensions=("ict", "hp")), ict, hp)


def test_clipscore_is_100_times_positive_part_of_cosine(
    random_backbone: Callable[..., CLIPBackbone], inputs: Inputs, samples: list[Sample]
) -> None:
    model = build(CLIPScore, random_backbone(), inputs)
    with torch.no_grad():
        # Moves the middle of the cosines to zero, so that both signs occur.
        texts, _ = model.encode_prompts([sample.prompt for sample in samples])
        direction = functional.normalize(texts.mean(dim=0), dim=0)
        weight = model.backbone.clip.visual_projection.weight
        weight -= torch.outer(direction, direction @ weight)
    known = cosines(model, samples)
    assert known.min() < 0 < known.max()
    torch.testing.assert_close(values(model, samples), 100 * known.clamp(min=0))


def test_pickscore_is_learnt_scale_times_cosine(
    random_backbone: Callable[..., CLIPBackbone], inputs: Inputs, samples: list[Sample]
) -> None:
    model = build(PickScore, random_backbone(), inputs)
    model.backbone.clip.logit_scale.data.fill_(4.5)
    torch.testing.assert_close(values(model, samples), np.exp(4.5) * cosines(model, samples))


def test_pickscore_gradient_reaches_its_scale(
    random_backbone: Callable[..., CLIPBackbone], inputs: Inputs, samples: list[Sample]
) -> None:
    model = build(PickScore, random_backbone(), inputs)
    mu = model(model.preprocess([load_sample(sample, FACTS) for sample in samples])).mu
    mu.sum().backward()
    # d(exp(s) * cosine) / ds is the score itself.
    torch.testing.assert_close(model.backbone.clip.logit_scale.grad, mu.detach().sum())


@pytest.mark.parametrize("kind", [ICT, HPSv2])
def test_ict_and_hpsv2_are_the_cosine_itself(
    kind: type[CLIPSimilarity],
    random_backbone: Callable[..., CLIPBackbone],
    inputs: Inputs,
    samples: list[Sample],
) -> None:
    model = build(kind, random_backbone(), inputs)
    torch.testing.assert_close(values(model, samples), cosines(model, samples))


def test_hp_is_sigmoid_of_head_on_unnormalised_feature(
    random_backbone: Callable[..., CLIPBackbone], inputs: Inputs, samples: list[Sample]
) -> None:
    model = HP(IMAGE_ONLY, random_backbone(image_only=True), pixel_inputs=inputs[0]).eval()
    with torch.no_grad():
        known = model.head(image_features(model, samples)).sigmoid()
    torch.testing.assert_close(values(model, samples), known)
    for parameter in model.backbone.clip.visual_projection.parameters():
        parameter.data.mul_(3)
    assert not torch.allclose(values(model, samples), known, atol=1e-4)


def test_laion_aesthetic_is_head_on_normalised_feature(
    random_backbone: Callable[..., CLIPBackbone], inputs: Inputs, samples: list[Sample]
) -> None:
    backbone = random_backbone(image_only=True)
    model = LAIONAesthetic(IMAGE_ONLY, backbone, pixel_inputs=inputs[0]).eval()
    with torch.no_grad():
        known = model.head(functional.normalize(image_features(model, samples), dim=-1))
    torch.testing.assert_close(values(model, samples), known)
    for parameter in model.backbone.clip.visual_projection.parameters():
        parameter.data.mul_(3)
    torch.testing.assert_close(values(model, samples), known)


@pytest.mark.parametrize("hp_side", [64, 48])
def test_ict_hp_is_product_of_both_parts_each_on_its_own_pixels(
    hp_side: int,
    random_backbone: Callable[..., CLIPBackbone],
    make_inputs: Callable[[int], Inputs],
    samples: list[Sample],
) -> None:
    model = build_both(hp_side, random_backbone, make_inputs)
    scores = model.score(samples)
    parts_alone = (model.ict.score(samples), model.hp.score(samples))
    for score, of_ict, of_hp in zip(scores, *parts_alone, strict=True):
        parts = {"ict": of_ict.value, "hp": of_hp.value}
        assert {name: part.mu for name, part in score.dimensions.items()} == pytest.approx(
            parts, abs=1e-6
        )
        assert score.value == pytest.approx(of_ict.value * of_hp.value, abs=1e-6)


@pytest.mark.parametrize(("hp_side", "prepared_side"), [(64, 64), (48, 150)])
def test_prepare_keeps_the_score_and_resizes_where_both_parts_agree(
    hp_side: int,
    prepared_side: int,
    random_backbone: Callable[..., CLIPBackbone],
    make_inputs: Callable[[int], Inputs],
) -> None:
    model = build_both(hp_side, random_backbone, make_inputs)
    noise = np.random.default_rng(4).integers(0, 256, (150, 200, 3)).astype(np.uint8)
    loaded = load_sample(Sample(prompt="two cats", image=Image.fromarray(noise)), FACTS)
    prepared = replace(loaded, image=model.prepare(loaded.image))
    assert prepared.image.height == prepared_side
    assert model.score_batch([prepared]) == model.score_batch([loaded])


def test_ict_hp_other_dimensions_are_refused(
    random_backbone: Callable[..., CLIPBackbone], inputs: Inputs
) -> None:
    ict = ICT(FACTS, random_backbone(), pixel_inputs=inputs[0], text_inputs=inputs[1])
    hp = HP(IMAGE_ONLY, random_backbone(image_only=True), pixel_inputs=inputs[0])
    with pytest.raises(UsageError, match=r"\('hp', 'ict'\)"):
        ICTHP(ModelFacts(name="both", dimensions=("hp", "ict")), ict, hp)


def test_ict_hp_from_config_is_refused() -> None:
    with pytest.raises(UsageError, match="Build it from ICT and HP"):
        ICTHP.from_config({}, FACTS, Path("folder"))


def test_score_empty_prompt_needed_is_refused_and_unneeded_is_not(
    random_backbone: Callable[..., CLIPBackbone], inputs: Inputs, samples: list[Sample]
) -> None:
    nameless = Sample(prompt=" ", image=samples[0].image)
    with pytest.raises(PromptError, match="scores how an image fits"):
        build(ICT, random_backbone(), inputs).score([nameless])
    hp = HP(IMAGE_ONLY, random_backbone(image_only=True), pixel_inputs=inputs[0]).eval()
    assert 0 < hp.score([nameless])[0].value < 1


def test_score_source_image_is_refused(
    random_backbone: Callable[..., CLIPBackbone], inputs: Inputs, samples: list[Sample]
) -> None:
    edited = Sample(prompt="x", image=samples[0].image, source_image=samples[1].image)
    with pytest.raises(InputError, match="scores single images"):
        build(ICT, random_backbone(), inputs).score([edited])


def test_forward_is_differentiable_to_both_towers(
    random_backbone: Callable[..., CLIPBackbone], inputs: Inputs, samples: list[Sample]
) -> None:
    model = build(ICT, random_backbone(), inputs)
    batch = model.preprocess([load_sample(sample, FACTS) for sample in samples])
    model(batch).mu.sum().backward()
    for tower in (model.backbone.clip.vision_model, model.backbone.clip.text_model):
        assert all(parameter.grad is not None for parameter in tower.encoder.parameters())


def test_backbone_stem_takes_the_place_of_the_patches(
    random_backbone: Callable[..., CLIPBackbone],
) -> None:
    config = random_backbone(image_only=True, patch_size=8).backbone_config
    values = {**config.to_dict(), "stem": [8, 16, 24]}
    backbone = CLIPBackbone(CLIPBackboneConfig.from_dict(values)).eval()
    assert backbone.image_features(torch.randn(2, 3, 64, 64)).shape == (2, 96)
    assert not backbone.has_text
    with pytest.raises(UsageError, match="2 layers, but the patch size is 8"):
        CLIPBackbone(CLIPBackboneConfig.from_dict({**values, "stem": [8, 16]}))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"towers": {}}, "backbone has the unknown key.* towers"),
        ({"vision": {"hidden": 3}}, "backbone.vision has the unknown key.* hidden"),
        ({"text": {"eos": 3}}, "backbone.text has the unknown key.* eos"),
    ],
)
def test_backbone_config_unknown_key_is_refused(values: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        CLIPBackboneConfig.from_dict(values)


def test_padded_tensor_is_the_padded_file() -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from visreward.models.clip.inputs import PixelInputs

    inputs = PixelInputs(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        fit="pad",
    )
    noise = np.random.default_rng(2).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((90, 60), Image.Resampling.BICUBIC)
    expected = inputs.pixels([image]).float()
    found = inputs.square_tensor(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1.01
