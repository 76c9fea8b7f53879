"""Probes that need known right answers, on the synthetic world, with models of known taste."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from visreward import load_model
from visreward.core.errors import DataError, UnknownNameError, UsageError
from visreward.evaluation.audit.adversarial import EPSILON, climb, shaken
from visreward.evaluation.audit.bias import PROPERTIES, write_on
from visreward.evaluation.audit.examination import Examination
from visreward.evaluation.audit.items import own_set, scene_set
from visreward.evaluation.audit.probes import PROBES, find_probes
from visreward.evaluation.audit.records import AuditResult, ProbeResult
from visreward.evaluation.audit.runner import run_audit
from visreward.evaluation.scenes import Drawing
from visreward.models.base import RewardModel
from visreward.models.facts import ModelFacts
from visreward.models.loaded import LoadedSample
from visreward.models.output import RewardOutput

DRAWING = Drawing(num=16, seed=3, size=64)


def audited(model: RewardModel, *names: str) -> dict[str, ProbeResult]:
    examination = Examination(model, scene_set(model.facts, DRAWING))
    result = run_audit(examination, probes=find_probes(names))
    return {probe.probe: probe for probe in result.probes}


def effect(probe: ProbeResult) -> float:
    assert probe.finding is not None
    return probe.finding.effect.value


class Loves(RewardModel):
    """Score = weight * a property of the picture; the prompt counts nothing."""

    kind = "loves"

    def __init__(self, name: str, weight: float = 1.0) -> None:
        super().__init__(ModelFacts(name=name))
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def preprocess(self, samples: Sequence[LoadedSample]) -> torch.Tensor:
        measure = PROPERTIES[self.facts.name]
        return torch.tensor([measure(sample.image) for sample in samples])

    def forward(self, batch: torch.Tensor) -> RewardOutput:
        return RewardOutput(mu=self.weight * batch)

    def config(self) -> dict[str, Any]:  # JSON values
        return {}

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],  # JSON values
        facts: ModelFacts,
        folder: Path,
    ) -> Loves:
        return cls(facts.name)

    def save_processors(self, folder: Path) -> None:
        return None


def test_richness_model_that_hates_detail_fails_and_one_that_likes_it_passes() -> None:
    hated, liked = (audited(Loves("detail", weight), "richness") for weight in (-1.0, 1.0))
    assert hated["richness"].verdict == "fail"
    assert hated["richness"].finding is not None
    assert len(hated["richness"].finding.cases) == 3
    assert liked["richness"].verdict == "pass"
    assert effect(liked["richness"]) == pytest.approx(1 - effect(hated["richness"]))


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("weight", [1.0, -1.0])
def test_bias_model_that_scores_a_property_follows_it_wholly(name: str, weight: float) -> None:
    found = audited(Loves(name, weight), f"{name}-bias")[f"{name}-bias"]
    assert found.verdict == "fail"
    assert effect(found) == pytest.approx(weight)
    assert found.finding is not None
    # The triplets have one size, so that a love of size has no SD to show cases in.
    assert found.finding.cases or name == "size"


def test_edits_model_of_distance_reads_untouched_and_not_direction(
    edit_oracle: RewardModel,
) -> None:
    found = audited(edit_oracle, "untouched", "swapped", "richness", "dimensions")
    # Its instruction following is the length of the prompt: the same for every picture.
    assert found["untouched"].verdict == "fail"
    assert effect(found["untouched"]) == 0.0
    assert found["swapped"].verdict == "fail"
    assert found["richness"].verdict == "not run"
    assert "edits" in found["richness"].note


def test_find_probes_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'jpeg'"):
        find_probes(["jpg"])
    assert [probe.name for probe in find_probes(["jpeg", "finite"])] == ["finite", "jpeg"]
    assert find_probes([]) == PROBES
    assert len({probe.name for probe in PROBES}) == len(PROBES)


@pytest.mark.parametrize("name", PROPERTIES)
def test_property_is_higher_for_more_of_it(name: str) -> None:
    rng = np.random.default_rng(0)
    even = np.full((32, 32, 3), 90, dtype=np.uint8)
    more = {
        "size": np.full((64, 64, 3), 90, dtype=np.uint8),
        "brightness": even + 40,
        "saturation": np.where(np.arange(3) == 0, 150, even).astype(np.uint8),
        "contrast": np.where(np.arange(32)[:, None, None] < 16, 30, even + 60).astype(np.uint8),
        "detail": rng.integers(256, size=even.shape, dtype=np.uint8),
    }[name]
    measure = PROPERTIES[name]
    assert measure(Image.fromarray(more)) > measure(Image.fromarray(even))


def test_detail_of_a_picture_hardly_depends_on_its_size() -> None:
    small = Image.fromarray(np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype="uint8"))
    large = small.resize((256, 256), Image.Resampling.BICUBIC)
    sizes = [PROPERTIES["detail"](each) for each in (small, large)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.25)


def test_write_on_keeps_the_rest_of_the_picture() -> None:
    picture = Image.new("RGB", (128, 128), "green")
    written = write_on(picture, "a red ball left of two large blue cubes")
    changed = ImageChops.difference(picture, written).getbbox()
    assert changed is not None
    left, top, right, bottom = changed
    assert (left, right, bottom) == (0, 128, 128)
    assert top > 128 / 2


def test_climb_stays_within_epsilon_and_beats_noise() -> None:
    model = load_model("clip-mini")
    item = scene_set(model.facts, Drawing(num=1, size=64)).items[0]
    assert isinstance(item.sample.image, Image.Image)
    picture = item.sample.image
    climbed = climb(model, item.sample, picture, None)
    for changed in (climbed, shaken(picture, np.random.default_rng(0))):
        gap = np.abs(np.asarray(changed, dtype=int) - np.asarray(picture, dtype=int))
        assert gap.max() == EPSILON
    scores = model.score(
        [
            type(item.sample)(prompt=item.sample.prompt, image=image)
            for image in (climbed, shaken(picture, np.random.default_rng(0)), picture)
        ]
    )
    assert scores[0].value > max(scores[1].value, scores[2].value)


def test_own_set_groups_prompts_and_names_bad_rows(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    rows = [{"prompt": f"p{n % 3}", "image": "a.png", "id": f"r{n}"} for n in range(9)]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join([*lines, "{"]))
    facts = ModelFacts(name="any")
    found = own_set(tmp_path / "rows.jsonl", facts, num=5, seed=0)
    assert [item.group for item in found.items] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [item.sample.id for item in found.items[:3]] == ["r0", "r3", "r6"]
    assert [failure.name for failure in found.failures] == ["rows.jsonl line 10"]
    assert found.drawing is None
    fewer = own_set(tmp_path / "rows.jsonl", facts, num=2, seed=0)
    assert len(fewer.items) == 6
    assert "3 more left out" in fewer.words


def test_own_set_folder_is_for_models_without_prompts(tmp_path: Path) -> None:
    for name in ("a.png", "b.JPG"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / name, "PNG")
    (tmp_path / "notes.txt").write_text("no picture")
    found = own_set(tmp_path, ModelFacts(name="any", needs_prompt=False), num=5, seed=0)
    assert [item.sample.id for item in found.items] == ["a.png", "b.JPG"]
    with pytest.raises(UsageError, match="needs prompts"):
        own_set(tmp_path, ModelFacts(name="any"), num=5, seed=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        own_set(tmp_path / "empty", ModelFacts(name="any", needs_prompt=False), num=5, seed=0)


def test_own_pictures_have_no_verdict_where_right_answers_are_unknown(
    tmp_path: Path, likes_detail: RewardModel
) -> None:
    rng = np.random.default_rng(0)
    lines = []
    for number in range(24):
        noise = rng.integers(1 + 10 * number, size=(32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
        lines.append(json.dumps({"prompt": f"p{number % 6}", "image": f"{number}.png"}))
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    owned = own_set(tmp_path / "rows.jsonl", likes_detail.facts, num=48, seed=0)
    result: AuditResult = run_audit(
        Examination(likes_detail, owned), probes=find_probes(["richness", "detail-bias"])
    )
    bias, richness = result.probes
    assert richness.verdict == "not run"
    assert "without --images" in richness.note
    # The score follows detail perfectly, and may be right to.
    assert effect(bias) == pytest.approx(1.0)
    assert bias.verdict == "warn"
