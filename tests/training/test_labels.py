"""Labels from a model, against the formula by hand from public scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visreward.core.errors import UsageError
from visreward.core.types import Sample
from visreward.data.pick_high import PickHigh, Triplet
from visreward.models.clip.family import CLIPRewardModel
from visreward.training.data import labels as module
from visreward.training.data.labels import label_pick_high, triplet_cosines

MakeModel = Callable[..., CLIPRewardModel]
MakeData = Callable[..., Path]


@pytest.fixture
def model(tiny_model: MakeModel) -> CLIPRewardModel:
    """Return a model whose public score is the cosine itself."""
    return tiny_model("ict").eval()


def cosine(model: CLIPRewardModel, prompt: str, image: Path) -> float:
    return model.score([Sample(prompt=prompt, image=image)])[0].value


def prompt_cosine(model: CLIPRewardModel, triplet: Triplet) -> float:
    with torch.no_grad():
        basic, refined = model.encode_prompts([triplet.basic_prompt, triplet.refined_prompt])[0]
    return torch.cosine_similarity(basic, refined, dim=0).item()


def test_triplet_cosines_equal_public_scores_row_by_row(
    model: CLIPRewardModel, own_pick_high: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_CHUNK", 5)
    folder = own_pick_high()
    progress: list[tuple[int, int]] = []
    found = triplet_cosines(
        model, folder, "train", progress=lambda done, total: progress.append((done, total))
    )
    assert progress == [(5, 12), (10, 12), (12, 12)]
    for row, triplet in enumerate(PickHigh(folder).split("train")):
        losing = cosine(model, triplet.basic_prompt, triplet.losing_image)
        winning = cosine(model, triplet.basic_prompt, triplet.winning_image)
        assert found.losing[row] == pytest.approx(losing, abs=1e-5)
        assert found.winning[row] == pytest.approx(winning, abs=1e-5)
        assert found.prompts[row] == pytest.approx(prompt_cosine(model, triplet), abs=1e-5)


def test_labels_equal_the_formula_by_hand_and_are_read_back(
    model: CLIPRewardModel, own_pick_high: MakeData
) -> None:
    folder = own_pick_high(labelled=False)
    assert PickHigh(folder).split("val")[0].labels is None
    assert label_pick_high(folder, model, theta=0.25) == 0.25
    for split in ("train", "val"):
        for triplet in PickHigh(folder).split(split):
            winning = cosine(model, triplet.basic_prompt, triplet.winning_image)
            losing = cosine(model, triplet.basic_prompt, triplet.losing_image)
            e2 = min(max(winning / 0.25, 0.0), 1.0)
            e1 = min(max(losing / 0.25, 0.0), e2)
            alike = min(max(prompt_cosine(model, triplet), 0.0), 1.0)
            labels = triplet.labels
            assert labels is not None
            found = (labels.e1, labels.e2, labels.r1, labels.r2)
            assert found == pytest.approx((e1, e2, e1 * alike, e2 * alike), abs=5e-5)


def test_labels_without_theta_take_a_high_quantile_of_the_first_split(
    model: CLIPRewardModel, own_pick_high: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_pick_high(labelled=False)
    known = {"train": [0.1, 0.7, 0.2], "val": [0.9, 0.9, 0.9]}
    read = module.triplet_cosines
    seen: dict[str, np.ndarray] = {}

    def found(model: CLIPRewardModel, path: Path, split: str, **options: Any) -> module.Cosines:
        cosines = read(model, path, split, **options)
        count = len(cosines.winning)
        seen.setdefault(split, np.resize(known[split], count))
        return replace(cosines, winning=seen[split])

    monkeypatch.setattr(module, "triplet_cosines", found)
    theta = label_pick_high(folder, model)
    assert theta == pytest.approx(np.quantile(seen["train"], 0.95))
    assert 0.2 < theta < 0.9
    for split in ("train", "val"):
        source = PickHigh(folder).split(split).label_source
        assert source is not None
        assert source.model == "tiny-ict"
        assert source.theta == pytest.approx(theta)


def test_labels_of_a_model_in_training_mode_use_its_kept_statistics(
    model: CLIPRewardModel, own_pick_high: MakeData
) -> None:
    folder = own_pick_high()
    expected = triplet_cosines(model, folder, "train")
    found = triplet_cosines(model.train(), folder, "train")
    assert (found.losing == expected.losing).all()


def test_labels_of_unreadable_images_are_refused(
    model: CLIPRewardModel, own_pick_high: MakeData
) -> None:
    folder = own_pick_high(labelled=False)
    (folder / "pick_easy_img" / "val" / "2_0.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"1 image\(s\) of split 'val' cannot be read.*2_0\.png"):
        label_pick_high(folder, model, theta=0.3)


@pytest.mark.parametrize("theta", [0.0, -1.0])
def test_labels_with_a_theta_that_is_not_positive_are_refused_before_images_are_read(
    model: CLIPRewardModel, own_pick_high: MakeData, theta: float
) -> None:
    folder = own_pick_high(labelled=False)
    with pytest.raises(UsageError, match="theta is"):
        label_pick_high(folder, model, theta=theta)
    assert not (folder / ".cache").exists()
