"""What the training stages on triplets share: losing, winning and refined image of a prompt.

Shape letters: B rows.
"""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from visreward.training.data.batches import Batch
from visreward.training.objectives.base import CLIPObjective, ShownScore, StepOutput


def triplet_indicators(scores: Tensor, prefix: str = "") -> dict[str, Tensor]:
    """Return whether each comparison of (B, 3) scores is right; ties count as wrong."""
    losing, winning, refined = scores.unbind(dim=1)
    return {
        f"{prefix}winning_over_losing": (winning > losing).float(),
        f"{prefix}refined_over_winning": (refined > winning).float(),
        f"{prefix}refined_over_losing": (refined > losing).float(),
    }


def average(indicators: dict[str, Tensor]) -> Tensor:
    """Return the (B,) mean of some indicators."""
    return torch.stack(list(indicators.values())).mean(dim=0)


def mean_margin(scores: Tensor) -> Tensor:
    """Return (B,) how much higher the better image of a pair scores, a mean over three pairs."""
    losing, _, refined = scores.unbind(dim=1)
    return (refined - losing) * (2 / 3)


def step_output(loss: Tensor, scores: Tensor) -> StepOutput:
    """Return what a step says: its loss, and accuracy and margin of (B, 3) scores."""
    return StepOutput(
        loss=loss,
        accuracy=average(triplet_indicators(scores)).mean(),
        margin=mean_margin(scores).mean(),
        num_pairs=3 * len(scores),
    )


class TripletObjective(CLIPObjective):
    """An objective that orders three images under the basic prompt."""

    primary = "average"

    @abc.abstractmethod
    def scores(self, batch: Batch) -> Tensor:
        """Return (B, 3) scores of the losing, winning and refined images."""

    @torch.no_grad()
    def shown_scores(self, batch: Batch) -> list[list[ShownScore]]:
        """Return the score of each image of each row, under the basic prompt."""
        return [
            [ShownScore(mu=value) for value in values]
            for values in self.scores(batch).float().tolist()
        ]
