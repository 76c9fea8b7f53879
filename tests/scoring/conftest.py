"""A reward model with an answer that can be worked out by hand, and pictures for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from visreward.models.base import RewardModel
from visreward.models.facts import ModelFacts
from visreward.models.loaded import LoadedSample
from visreward.models.output import RewardOutput


@dataclass(frozen=True)
class ColourBatch:
    red: Tensor
    num_letters: Tensor


class ColourModel(RewardModel):
    """Score = redness in [0, 1] times the prompt's number of letters."""

    kind = "colour"

    def __init__(self, facts: ModelFacts) -> None:
        super().__init__(facts)
        self.weight = nn.Parameter(torch.ones(()))
        self.batches: list[list[LoadedSample]] = []

    @property
    def num_scored(self) -> int:
        return sum(len(batch) for batch in self.batches)

    def preprocess(self, samples: Sequence[LoadedSample]) -> ColourBatch:
        self.batches.append(list(samples))
        pixels = [sample.image.getpixel((0, 0)) for sample in samples]
        return ColourBatch(
            red=torch.tensor([float(pixel[0]) / 255 for pixel in pixels]),  # type: ignore[index]
            num_letters=torch.tensor([float(len(sample.prompt)) for sample in samples]),
        )

    def forward(self, batch: ColourBatch) -> RewardOutput:
        letters = batch.num_letters if self.facts.needs_prompt else torch.ones(())
        mu = self.weight * batch.red * letters
        parts = torch.stack([batch.red, batch.num_letters], dim=-1)
        notes = tuple(("long prompt",) if size > 20 else () for size in batch.num_letters.tolist())
        return RewardOutput(mu=mu, dimensions=parts, notes=notes)

    def config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any], facts: ModelFacts, folder: Path) -> ColourModel:
        return cls(facts)

    def save_processors(self, folder: Path) -> None:
        pass


@pytest.fixture
def facts() -> ModelFacts:
    return ModelFacts(
        name="colour", revision="r1", dimensions=("red", "letters"), fidelity="paper", note="a toy"
    )


@pytest.fixture
def model(facts: ModelFacts) -> ColourModel:
    return ColourModel(facts)


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a one-colour PNG and returns its path."""

    def make(name: str, red: int = 255, size: int = 4) -> str:
        path = tmp_path / name
        Image.new("RGB", (size, size), (red, 0, 0)).save(path)
        return str(path)

    return make
