"""Disagreement of models with known scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from visreward.core.errors import UsageError
from visreward.demo.annotate.disagreement import disagreements
from visreward.demo.annotate.questions import read_questions
from visreward.demo.annotate.records import Kind
from visreward.models.base import RewardModel
from visreward.models.facts import ModelFacts
from visreward.models.loaded import LoadedSample
from visreward.models.output import RewardOutput
from visreward.scoring.engine import ScoringEngine

if TYPE_CHECKING:
    from tests.demo.annotate.conftest import GroupWriter


class LightModel(RewardModel):
    """Score = power-th power of the mean brightness, with a sign."""

    kind = "light"

    def __init__(self, sign: float, *, needs_source: bool = False) -> None:
        super().__init__(ModelFacts(name=f"light-{sign:g}", needs_source=needs_source))
        self.sign = torch.nn.Parameter(torch.tensor(sign, dtype=torch.float64))

    def preprocess(self, samples: Sequence[LoadedSample]) -> torch.Tensor:
        return torch.tensor([float(np.asarray(each.image).mean()) for each in samples])

    def forward(self, batch: torch.Tensor) -> RewardOutput:
        return RewardOutput(mu=self.sign * batch.double())

    def config(self) -> dict[str, Any]:  # JSON values
        return {}

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],  # JSON values
        facts: ModelFacts,
        folder: Path,
    ) -> LightModel:
        return cls(1.0)

    def save_processors(self, folder: Path) -> None:
        return None


def test_disagreements_match_the_formula(write_groups: GroupWriter) -> None:
    questions = read_questions(write_groups(num=3, num_candidates=3), kind=Kind.PAIR)
    likes, hates = (ScoringEngine(LightModel(sign)) for sign in (1.0, -5.0))
    found = disagreements(questions, [likes, hates])
    # Gaps of brightness are 20, 40, 20 in each group; a model's scale does not count.
    scale = math.sqrt((20**2 + 40**2 + 20**2) / 3)
    expected = [
        abs(1 / (1 + math.exp(-gap / scale)) - 1 / (1 + math.exp(gap / scale)))
        for gap in (20, 40, 20)
    ]
    assert found == pytest.approx(expected * 3)
    assert disagreements(questions, [likes, likes]) == pytest.approx([0.0] * 9)
    groups = read_questions(write_groups(num=3, num_candidates=3), kind=Kind.RANK)
    whole = disagreements(groups, [likes, hates, likes])
    assert whole == pytest.approx([sum(expected) / 3] * 3)


def test_disagreements_without_a_score_are_none(write_groups: GroupWriter) -> None:
    questions = read_questions(write_groups(num=3), kind=Kind.PAIR)
    questions[1].candidates[0].image.write_bytes(b"torn")
    engines = [ScoringEngine(LightModel(sign)) for sign in (1.0, -1.0)]
    found = disagreements(questions, engines)
    assert [value is None for value in found] == [False, True, False]
    with pytest.raises(UsageError, match="no score for any question"):
        disagreements(questions, [engines[0], ScoringEngine(LightModel(1.0, needs_source=True))])
