"""Technical flaws grow with severity, on renders and on photographs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from visreward.core.errors import ShapeError, UnknownNameError, UsageError
from visreward.data.scenes.flaws import FLAWS, SEVERITIES, apply_flaw
from visreward.data.scenes.render import render
from visreward.data.scenes.sampling import enrich, sample_scene

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def renders() -> list[Pixels]:
    """Return rich and plain pictures, 64 pixels wide."""
    rng = np.random.default_rng(0)
    plain = [sample_scene(rng, split="train", num_named=1 + index % 2) for index in range(8)]
    return [render(scene, 64) for scene in plain + [enrich(scene, rng) for scene in plain]]


def change(image: Pixels, kind: str, severity: int, seed: int) -> float:
    flawed = apply_flaw(image, kind, severity, np.random.default_rng(seed))
    return float(np.abs(flawed.astype(float) - image.astype(float)).mean())


@pytest.mark.parametrize("kind", FLAWS)
def test_flaw_mean_change_grows_with_severity(kind: str, renders: list[Pixels]) -> None:
    means = [
        np.mean([change(image, kind, severity, seed) for seed, image in enumerate(renders)])
        for severity in SEVERITIES
    ]
    assert all(low * 1.1 < high for low, high in pairwise(means))


@pytest.mark.parametrize("kind", FLAWS)
def test_flaw_severity_one_is_slight_and_five_is_gross(kind: str, renders: list[Pixels]) -> None:
    first, last = (
        np.mean([change(image, kind, severity, seed) for seed, image in enumerate(renders)])
        for severity in (1, 5)
    )
    assert 0.1 < first < 16
    assert last > 2 * first
    assert last > 4


@pytest.mark.parametrize("kind", FLAWS)
def test_flaw_on_a_photograph_of_512_changes_about_as_much_as_on_one_of_64(
    kind: str, shared_dir: Path
) -> None:
    with Image.open(sorted((shared_dir / "images").glob("tiny_dragon*"))[0]) as photo:
        large = np.array(photo.convert("RGB").resize((512, 512), Image.Resampling.LANCZOS))
    small = np.array(Image.fromarray(large).resize((64, 64), Image.Resampling.BOX))
    for severity in (3, 5):
        ratio = np.mean([change(large, kind, severity, s) for s in range(3)]) / np.mean(
            [change(small, kind, severity, s) for s in range(3)]
        )
        assert 0.4 < ratio < 2.5


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(FLAWS)),
    st.sampled_from(SEVERITIES),
    st.integers(16, 90),
    st.integers(16, 90),
    st.integers(0, 2**31 - 1),
)
def test_flaw_any_shape_keeps_it_and_is_deterministic(
    kind: str, severity: int, height: int, width: int, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = image.copy()
    first = apply_flaw(image, kind, severity, np.random.default_rng(seed))
    second = apply_flaw(image, kind, severity, np.random.default_rng(seed))
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("kind", FLAWS)
def test_flaw_flat_black_or_white_image_is_accepted(kind: str, value: int) -> None:
    image = np.full((20, 30, 3), value, np.uint8)
    assert apply_flaw(image, kind, 5, np.random.default_rng(0)).shape == image.shape


def test_blur_lowers_the_contrast_of_neighbours_and_noise_raises_it(
    renders: list[Pixels],
) -> None:
    def contrast(images: list[Pixels]) -> float:
        return float(np.mean([np.abs(np.diff(i.astype(float), axis=1)).mean() for i in images]))

    rng = np.random.default_rng(0)
    blurred = [apply_flaw(image, "blur", 3, rng) for image in renders]
    grainy = [apply_flaw(image, "noise", 3, rng) for image in renders]
    assert contrast(blurred) < 0.75 * contrast(renders)
    assert contrast(grainy) > 1.3 * contrast(renders)


def test_colour_cast_on_grey_makes_it_coloured() -> None:
    grey = np.full((32, 32, 3), 128, np.uint8)
    tinted = apply_flaw(grey, "colour cast", 4, np.random.default_rng(1))
    assert np.ptp(tinted[0, 0].astype(int)) > 40


def test_banding_leaves_few_levels() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    image = np.repeat(ramp, 32, axis=0)
    banded = apply_flaw(image, "banding", 4, np.random.default_rng(1))
    assert len(np.unique(banded)) <= 6


def test_blown_highlights_clip_the_asked_share_to_white() -> None:
    image = np.random.default_rng(0).integers(0, 200, (64, 64, 3), dtype=np.uint8)
    blown = apply_flaw(image, "blown highlights", 5, np.random.default_rng(1))
    assert (blown.max(axis=2) == 255).mean() > 0.55


def test_bad_crop_moves_the_content_out_of_the_frame() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[28:36, 28:36] = 255
    for seed in range(6):
        cropped = apply_flaw(image, "bad crop", 3, np.random.default_rng(seed))
        spot = np.argwhere((cropped == 255).all(axis=2)).mean(axis=0)
        assert 8 < np.hypot(*(spot - 31.5)) < 14


def test_ghosting_shows_the_content_twice() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[30:34, 30:34] = 255
    ghosted = apply_flaw(image, "ghosting", 5, np.random.default_rng(3))
    assert sorted(np.unique(ghosted)) == [0, 128]
    assert (ghosted[..., 0] == 128).sum() == 32


def test_seams_draw_darker_joints() -> None:
    image = np.full((64, 64, 3), 200, np.uint8)
    seamed = apply_flaw(image, "seams", 5, np.random.default_rng(3)).astype(int)
    assert (seamed < 140).any(axis=2).mean() > 0.01
    assert (seamed < 140).any(axis=2).mean() < 0.15


def test_apply_flaw_unknown_kind_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Unknown flaw 'rust'"):
        apply_flaw(np.zeros((32, 32, 3), np.uint8), "rust", 1, np.random.default_rng(0))


@pytest.mark.parametrize("severity", [0, 6])
def test_apply_flaw_severity_out_of_range_is_refused(severity: int) -> None:
    with pytest.raises(UsageError, match=f"severity is {severity}"):
        apply_flaw(np.zeros((32, 32, 3), np.uint8), "blur", severity, np.random.default_rng(0))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((32, 32), np.uint8),
        np.zeros((32, 32, 4), np.uint8),
        np.zeros((32, 32, 3), np.float32),
        np.zeros((15, 32, 3), np.uint8),
    ],
)
def test_apply_flaw_wrong_array_is_refused(image: Pixels) -> None:
    with pytest.raises(ShapeError, match="The image has shape"):
        apply_flaw(image, "blur", 1, np.random.default_rng(0))
