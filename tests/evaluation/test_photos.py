"""Clean against damaged photographs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from visreward.core.errors import UsageError
from visreward.data.scenes.flaws import FLAWS
from visreward.evaluation.photos import (
    SEVERITIES,
    damage_cases,
    damage_row,
    fit_photo,
    photo_table,
)
from visreward.models.base import RewardModel


def photograph() -> np.ndarray:
    """Return a picture with texture and light, as a photograph has."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 200, 96)[:, None, None] + np.zeros((96, 96, 3))
    noise = rng.normal(0, 12, size=(96, 96, 3))
    return np.clip(ramp + noise, 0, 255).astype(np.uint8)


def test_cases_cover_every_flaw_severity_and_draw() -> None:
    cases = damage_cases(2, repeats=3)
    assert len(cases) == len(set(cases)) == 2 * len(FLAWS) * len(SEVERITIES) * 3


def test_row_is_the_photograph_and_a_damaged_copy_and_repeats() -> None:
    photos = [photograph()]
    cases = damage_cases(1)
    for index in range(len(cases)):
        clean, damaged = damage_row(index, cases=cases, photos=photos).pictures
        np.testing.assert_array_equal(clean, photos[0])
        assert damaged.shape == clean.shape
        assert (damaged != clean).any()
        again = damage_row(index, cases=cases, photos=photos).pictures[1]
        np.testing.assert_array_equal(again, damaged)


def test_photo_table_of_a_detail_lover_likes_noise_and_not_blur(
    likes_detail: RewardModel,
) -> None:
    table = photo_table(likes_detail, [photograph()], repeats=2)
    assert table.by_flaw["noise"][5].value == 0
    assert table.by_flaw["blur"][5].value == 1
    by_hand = np.mean(
        [table.by_flaw[flaw][s].value for flaw in FLAWS for s in SEVERITIES if s >= 2]
    )
    assert table.severe.value == pytest.approx(by_hand)
    first = np.mean([table.by_flaw[flaw][1].value for flaw in FLAWS])
    assert table.by_severity[1].value == pytest.approx(first)


def test_photo_table_without_photographs_is_refused(likes_detail: RewardModel) -> None:
    with pytest.raises(UsageError, match="at least one row"):
        photo_table(likes_detail, [])


def test_fit_photo_keeps_the_shape_of_the_picture() -> None:
    fitted = fit_photo(Image.new("RGBA", (400, 200)), 128)
    assert fitted.shape == (64, 128, 3)
