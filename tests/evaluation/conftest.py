"""Models whose right answers are known, for the tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visreward.models.base import RewardModel
from visreward.models.facts import ModelFacts
from visreward.models.loaded import LoadedSample
from visreward.models.output import RewardOutput


class DetailModel(RewardModel):
    """Score = sign * mean absolute step between neighbouring pixels; the prompt counts nothing."""

    kind = "detail"

    def __init__(self, name: str, sign: float) -> None:
        super().__init__(ModelFacts(name=name, dimensions=("detail", "length")))
        self.sign = torch.nn.Parameter(torch.tensor(sign))

    def preprocess(self, samples: Sequence[LoadedSample]) -> torch.Tensor:
        steps = []
        for sample in samples:
            pixels = np.asarray(sample.image, dtype=np.float64)
            steps.append(
                [
                    np.abs(np.diff(pixels, axis=0)).mean() + np.abs(np.diff(pixels, axis=1)).mean(),
                    len(sample.prompt),
                ]
            )
        return torch.tensor(steps, dtype=torch.float64)

    def forward(self, batch: torch.Tensor) -> RewardOutput:
        return RewardOutput(mu=self.sign * batch[:, 0], dimensions=batch)

    def config(self) -> dict[str, Any]:  # JSON values
        return {}

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],  # JSON values
        facts: ModelFacts,
        folder: Path,
    ) -> DetailModel:
        return cls(facts.name, 1.0)

    def save_processors(self, folder: Path) -> None:
        return None


@pytest.fixture
def likes_detail() -> DetailModel:
    return DetailModel("likes", 1.0)


@pytest.fixture
def hates_detail() -> DetailModel:
    return DetailModel("hates", -1.0)


class DistanceModel(DetailModel):
    """Mean absolute difference to the source, and the length of the prompt."""

    def __init__(self) -> None:
        super().__init__("oracle", 1.0)
        self.facts = ModelFacts(
            name="oracle",
            needs_source=True,
            dimensions=("instruction_following", "visual_quality"),
        )

    def preprocess(self, samples: Sequence[LoadedSample]) -> torch.Tensor:
        rows = []
        for sample in samples:
            image, source = (
                np.asarray(each, dtype=np.float64)
                for each in (sample.image, sample.source_images[0])
            )
            distance = float(np.abs(image - source).mean())
            rows.append([distance, len(sample.prompt), distance])
        return torch.tensor(rows, dtype=torch.float64)

    def forward(self, batch: torch.Tensor) -> RewardOutput:
        return RewardOutput(mu=batch[:, 0], dimensions=batch[:, 1:])


@pytest.fixture
def edit_oracle() -> DistanceModel:
    return DistanceModel()
