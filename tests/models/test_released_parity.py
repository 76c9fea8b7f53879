"""The released code's numbers, through the import command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from visreward.cli.models import app
from visreward.core.images import AS_RELEASED, read_image
from visreward.models.base import RewardModel
from visreward.models.clip.hp import HP, ICTHP
from visreward.models.clip.ict import ICT
from visreward.models.loaded import LoadedSample
from visreward.models.weights import load_native

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def tiny(shared_dir: Path) -> Path:
    return shared_dir / "parity" / "clip_tiny"


@pytest.fixture(scope="module")
def expected(tiny: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((tiny / "scores.json").read_text(encoding="utf-8"))
    return values


@pytest.fixture(scope="module")
def arrays(tiny: Path) -> dict[str, NDArray[Any]]:
    with np.load(tiny / "scores.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def models(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RewardModel]:
    """Import the released files with the command, and load what it wrote."""
    root = tmp_path_factory.mktemp("imported")
    loaded = {}
    for layout in ("ict", "hp", "ict-hp"):
        given = ["--checkpoint", tiny, "--backbone", tiny, "--output", root / layout]
        result = CliRunner().invoke(app, ["import", layout, *map(str, given)])
        assert result.exit_code == 0, result.output
        loaded[layout] = load_native(root / layout)
    return loaded


@pytest.fixture(scope="module")
def pictures(tiny: Path, expected: dict[str, Any]) -> list[Image.Image]:
    return [read_image(tiny / "images" / name, rule=AS_RELEASED) for name in expected["images"]]


@pytest.fixture(scope="module")
def loaded_samples(expected: dict[str, Any], pictures: list[Image.Image]) -> list[LoadedSample]:
    """Return one decoded sample for each row; the empty prompt is only refused before decoding."""
    by_name = dict(zip(expected["images"], pictures, strict=True))
    return [
        LoadedSample(
            prompt=expected["prompts"][row["prompt_index"]],
            image=by_name[row["image"]],
            image_key=row["image"],
        )
        for row in expected["scores"]
    ]


def test_scores_of_every_row_match_the_release(
    models: dict[str, RewardModel],
    expected: dict[str, Any],
    loaded_samples: list[LoadedSample],
) -> None:
    rows = expected["scores"]
    assert len(rows) == 84
    ict = models["ict"].score_batch(loaded_samples)
    hp = models["hp"].score_batch(loaded_samples)
    both = models["ict-hp"].score_batch(loaded_samples)
    assert [score.value for score in ict] == pytest.approx(
        [row["ict_score"] for row in rows], abs=TOLERANCE
    )
    assert [score.value for score in hp] == pytest.approx(
        [row["hp_score"] for row in rows], abs=TOLERANCE
    )
    assert [score.value for score in both] == pytest.approx(
        [row["ict_hp_product"] for row in rows], abs=TOLERANCE
    )
    assert [score.dimensions["hp"].mu for score in both] == [score.value for score in hp]


def test_pixels_match_the_release(
    models: dict[str, RewardModel],
    arrays: dict[str, NDArray[Any]],
    pictures: list[Image.Image],
) -> None:
    model = models["ict"]
    assert isinstance(model, ICT)
    pixels = model.pixel_inputs.normalise(model.pixel_inputs.pixels(pictures))
    np.testing.assert_allclose(pixels.numpy(), arrays["pixel_values"], atol=TOLERANCE)


def test_token_ids_match_the_release_up_to_padding(
    models: dict[str, RewardModel],
    expected: dict[str, Any],
    arrays: dict[str, NDArray[Any]],
) -> None:
    model = models["ict"]
    assert isinstance(model, ICT)
    assert model.text_inputs is not None
    ids, counts = model.text_inputs.token_ids(expected["prompts"])
    for row, count in enumerate(counts):
        length = min(count, 77)
        assert ids[row, :length].tolist() == arrays["input_ids_open_clip"][row, :length].tolist()


@torch.inference_mode()
def test_features_match_the_release(
    models: dict[str, RewardModel],
    expected: dict[str, Any],
    arrays: dict[str, NDArray[Any]],
    pictures: list[Image.Image],
) -> None:
    both = models["ict-hp"]
    assert isinstance(both, ICTHP)
    pixels = both.ict.pixel_inputs.pixels(pictures)
    texts, _ = both.ict.encode_prompts(expected["prompts"])
    found = {
        "ict_text_features_open_clip_ids": texts,
        "ict_image_features": both.ict.encode_images(pixels),
        "hp_image_features": both.hp.encode_images(pixels),
        "hp_logits": both.hp.logits(pixels)[:, None],
    }
    for name, tensor in found.items():
        scale = max(1.0, float(np.abs(arrays[name]).max()))
        np.testing.assert_allclose(
            tensor.numpy(), arrays[name], atol=TOLERANCE * scale, rtol=0, err_msg=name
        )


def test_hp_alone_is_the_same_as_within_ict_hp(models: dict[str, RewardModel]) -> None:
    alone, both = models["hp"], models["ict-hp"]
    assert isinstance(alone, HP)
    assert isinstance(both, ICTHP)
    inside = both.hp.state_dict()
    assert all(torch.equal(inside[name], value) for name, value in alone.state_dict().items())
