"""Made-up models: the sound one fails nothing, and each fault is found by the probe for it.

They judge discs. A picture is a disc on a grey ground. The prompt names its colour; the farther
the disc's colour is from that, the worse the picture. What the sound model measures, the hue of
the strongest colour, survives saving, scaling, cropping, framing and another light.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visreward.core.errors import DataError, UsageError
from visreward.core.types import Sample
from visreward.evaluation.audit.examination import Examination
from visreward.evaluation.audit.items import AuditItem, AuditSet
from visreward.evaluation.audit.probes import find_probes
from visreward.evaluation.audit.records import AuditResult, ProbeResult
from visreward.evaluation.audit.runner import run_audit
from visreward.models.base import RewardModel
from visreward.models.facts import ModelFacts
from visreward.models.loaded import LoadedSample
from visreward.models.output import RewardOutput

HUES = {"red": 0, "yellow": 60, "green": 120, "cyan": 180, "blue": 240, "magenta": 300}
NUM_PROMPTS = 36
SIDE = 48


def disc(hue: float, rng: np.random.Generator) -> Image.Image:
    """Return a disc of a hue, in degrees, on grey of any brightness."""
    ground = int(rng.integers(60, 200))
    radius = rng.uniform(0.2, 0.3) * SIDE
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2 + 0.5
    colour = Image.new("HSV", (1, 1), (round(hue / 360 * 255) % 256, 220, 200)).convert("RGB")
    pixels = np.full((SIDE, SIDE, 3), ground, dtype=np.uint8)
    pixels[rows**2 + columns**2 < radius**2] = np.asarray(colour)[0, 0]
    return Image.fromarray(pixels)


def disc_set() -> AuditSet:
    """Return discs: for each prompt one of its colour, and three that are off by more and more."""
    rng = np.random.default_rng(7)
    items = []
    for group in range(NUM_PROMPTS):
        name = list(HUES)[group % len(HUES)]
        for number, off in enumerate((0, 15, 28, 40)):
            hue = HUES[name] + float(rng.choice((-1, 1))) * (off + rng.uniform(0, 8))
            sample = Sample(
                prompt=f"a {name} disc", image=disc(hue % 360, rng), id=f"{group}-{number}"
            )
            items.append(AuditItem(sample=sample, group=group, is_right=number == 0))
    return AuditSet(items=tuple(items), words="discs")


class Discs(RewardModel):
    """Score = -(distance in hue between the disc and the prompt's colour) / 60, at least -3."""

    kind = "discs"

    def __init__(self, **facts: Any) -> None:  # any field of ModelFacts
        super().__init__(replace(ModelFacts(name="discs"), **facts))
        self.scale = torch.nn.Parameter(torch.ones(()))

    def preprocess(self, samples: Sequence[LoadedSample]) -> torch.Tensor:
        return torch.tensor([self.judge(sample) for sample in samples], dtype=torch.float32)

    def judge(self, sample: LoadedSample) -> float:
        named = [HUES[word] for word in re.findall(r"\w+", sample.prompt) if word in HUES]
        hue = disc_hue(sample.image)
        if not named or hue is None:
            return -3.0 - self.noise(sample)
        away = abs(hue - named[0]) % 360
        return -min(away, 360 - away) / 60

    def noise(self, sample: LoadedSample) -> float:
        """Return a small number that differs between pictures, so that nothing is tied."""
        return float(np.asarray(sample.image, dtype=np.float64).std()) * 1e-4

    def forward(self, batch: torch.Tensor) -> RewardOutput:
        return RewardOutput(mu=self.scale * batch)

    def config(self) -> dict[str, Any]:  # JSON values
        return {}

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],  # JSON values
        facts: ModelFacts,
        folder: Path,
    ) -> Discs:
        return cls()

    def save_processors(self, folder: Path) -> None:
        return None


def disc_hue(picture: Image.Image) -> float | None:
    """Return the mean hue of what is colourful, or None where nothing is."""
    small = picture.resize((24, 24), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float64)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    # A hue is an angle: mean it as one, by how colourful each pixel is.
    across = (2 * red - green - blue).sum()
    up = np.sqrt(3) * (green - blue).sum()
    if np.hypot(across, up) < 20 * small.width * small.height * 0.25:
        return None
    return float(np.degrees(np.arctan2(up, across)) % 360)


class InBatches(Discs):
    """What else is in the batch shifts the score."""

    def forward(self, batch: torch.Tensor) -> RewardOutput:
        return RewardOutput(mu=self.scale * (batch + 0.3 * batch.mean()))


class InOrder(Discs):
    """The place in the batch shifts the score."""

    def forward(self, batch: torch.Tensor) -> RewardOutput:
        return RewardOutput(mu=self.scale * (batch + 0.02 * torch.arange(len(batch))))


class Blind(Discs):
    """Any colour of the list is as good as any other, whatever the prompt says."""

    def judge(self, sample: LoadedSample) -> float:
        return max(
            super(Blind, self).judge(replace(sample, prompt=f"a {name} disc")) for name in HUES
        )


class Saturated(Discs):
    """All that is nearly right has the best score there is."""

    def judge(self, sample: LoadedSample) -> float:
        return min(super().judge(sample), -0.5)


class NotANumber(Discs):
    """Discs of one colour have no score."""

    def judge(self, sample: LoadedSample) -> float:
        hue = disc_hue(sample.image)
        is_cyan = hue is not None and abs(hue - HUES["cyan"]) < 6
        return float("nan") if is_cyan else super().judge(sample)


class LovesLight(Discs):
    """Bright pictures score higher."""

    def judge(self, sample: LoadedSample) -> float:
        light = float(np.asarray(sample.image.convert("L"), dtype=np.float64).mean())
        return super().judge(sample) + 0.03 * light


class LovesWhatIsBlank(Discs):
    """A picture of nothing is perfect."""

    def judge(self, sample: LoadedSample) -> float:
        return 1.0 if disc_hue(sample.image) is None else super().judge(sample)


class Flimsy(Discs):
    """Colours between those of the disc and the ground lower the score."""

    def judge(self, sample: LoadedSample) -> float:
        num_colours = len(sample.image.getcolors(1 << 16) or ())
        return super().judge(sample) - (0.5 if num_colours > 60 else 0.0)


class Constant(Discs):
    """Every picture has one and the same score."""

    def judge(self, sample: LoadedSample) -> float:
        return 0.5


@pytest.fixture(scope="session")
def discs() -> AuditSet:
    return disc_set()


def audited(model: RewardModel, discs: AuditSet, *names: str) -> AuditResult:
    examination = Examination(model, discs, batch_size=8, reload=lambda _: model)
    return run_audit(examination, probes=find_probes(names))


def failed(result: AuditResult) -> set[str]:
    return {probe.probe for probe in result.probes if probe.verdict == "fail"}


def of(result: AuditResult, name: str) -> ProbeResult:
    return next(probe for probe in result.probes if probe.probe == name)


def test_audit_sound_model_passes_all_that_can_be_run(discs: AuditSet) -> None:
    result = audited(Discs(), discs)
    verdicts = {probe.probe: probe.verdict for probe in result.probes}
    assert failed(result) == set()
    # These pictures are not equally good, and an interval of so few may hold both.
    warned = {probe.family for probe in result.probes if probe.verdict == "warn"}
    assert warned <= {"bias"}
    assert result.is_complete
    assert result.count("pass") >= 15
    for name in ("swapped", "untouched", "dimensions", "richness", "adversarial"):
        assert verdicts[name] == "not run"
        assert of(result, name).note
        assert not of(result, name).is_error


@pytest.mark.parametrize(
    ("model", "probes"),
    [
        (InBatches, {"batch"}),
        (InOrder, {"batch", "order"}),
        (Blind, {"nonsense-prompt", "other-prompt"}),
        (Saturated, {"saturation", "spread"}),
        (LovesWhatIsBlank, {"black", "white", "noise"}),
        # The strip that is written on is white.
        (LovesLight, {"brightness", "white", "text-bias"}),
        # Saving and scaling make such colours, and nothing else does.
        (Flimsy, {"jpeg", "resize"}),
    ],
)
def test_audit_finds_a_fault_by_the_probe_for_it_alone(
    discs: AuditSet, model: type[Discs], probes: set[str]
) -> None:
    result = audited(model(), discs)
    assert failed(result) == probes
    assert result.is_complete
    for name in probes:
        finding = of(result, name).finding
        assert finding is not None
        assert finding.cases or name == "spread"


def test_audit_nan_scores_are_named_counted_and_no_other_fault(discs: AuditSet) -> None:
    result = audited(NotANumber(), discs)
    assert failed(result) == {"finite"}
    assert not result.is_complete
    finding = of(result, "finite").finding
    assert finding is not None
    num_missing = round(finding.effect.value * len(discs.items))
    names = {failure.name for failure in result.failures}
    # A changed picture of the same name may be the one that has no score.
    assert 0 < num_missing <= len(names)
    assert names <= {item.sample.id for item in discs.items}
    assert all("not finite" in failure.reason for failure in result.failures)
    jpeg = of(result, "jpeg").finding
    assert jpeg is not None
    assert jpeg.effect.num <= len(discs.items) - num_missing


def test_audit_constant_scores_fail_the_spread_and_compare_with_nothing(discs: AuditSet) -> None:
    result = audited(Constant(), discs, "spread", "jpeg")
    assert "spread" in failed(result)
    assert of(result, "jpeg").verdict == "not run"
    assert "same score" in of(result, "jpeg").note
    assert result.is_complete


def test_audit_without_any_score_is_refused(discs: AuditSet) -> None:
    class Never(Discs):
        def judge(self, sample: LoadedSample) -> float:
            return float("nan")

    with pytest.raises(DataError, match="None of 144 pictures has a score"):
        audited(Never(), discs)


def test_audit_probe_that_cannot_run_says_why(discs: AuditSet) -> None:
    def reload(_: str) -> RewardModel:
        raise UsageError("There is no memory. Buy some.")

    result = run_audit(
        Examination(Discs(), discs, reload=reload), probes=find_probes(["dtype", "batch"])
    )
    assert [probe.verdict for probe in result.probes] == ["pass", "not run"]
    assert result.probes[1].is_error
    assert "There is no memory" in result.probes[1].note
    assert not result.is_complete


def test_audit_is_deterministic(discs: AuditSet) -> None:
    few = replace(discs, items=discs.items[:40])
    names = ("jpeg", "noise", "order", "brightness-bias")
    assert audited(Discs(), few, *names) == audited(Discs(), few, *names)
