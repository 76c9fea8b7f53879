"""The training stage of ICT: containment of both prompts in the three images of a triplet."""

from __future__ import annotations

import torch
from torch import Tensor

from visreward.losses.gather import gather_with_grad
from visreward.losses.ict import (
    ContainmentTargets,
    TripletFeatures,
    ict_loss,
    released_targets,
)
from visreward.models.clip.family import CLIPRewardModel
from visreward.training.data.batches import Batch
from visreward.training.objectives.base import StepOutput
from visreward.training.objectives.triplets import (
    TripletObjective,
    average,
    mean_margin,
    step_output,
    triplet_indicators,
)
from visreward.training.options.objective_config import ICTConfig


class ICTObjective(TripletObjective):
    """The ICT loss on triplets."""

    def __init__(self, model: CLIPRewardModel, config: ICTConfig) -> None:
        super().__init__(model)
        self.config = config

    def forward(self, batch: Batch) -> StepOutput:
        """Return the ICT loss, and accuracy and margin under the basic prompt."""
        assert batch.targets is not None
        images = self.unit_images(batch.stacked())
        num_rows = images.shape[0]
        texts = self.unit_prompts([row[kind] for kind in (0, 1) for row in batch.prompts])
        targets = ContainmentTargets(
            e1=gather_with_grad(batch.targets.e1),
            e2=gather_with_grad(batch.targets.e2),
            r1=gather_with_grad(batch.targets.r1),
            r2=gather_with_grad(batch.targets.r2),
        )
        is_released = self.config.fidelity == "released"
        features = TripletFeatures(
            basic_text=gather_with_grad(texts[:num_rows]),
            refined_text=gather_with_grad(texts[num_rows:]),
            losing_image=gather_with_grad(images[:, 0]),
            winning_image=gather_with_grad(images[:, 1]),
            refined_image=gather_with_grad(images[:, 2]),
        )
        result = ict_loss(
            features,
            targets=released_targets(targets) if is_released else targets,
            fidelity=self.config.fidelity,
            negative_weight=self.config.negative_weight,
            alpha=self.config.alpha,
            beta=self.config.beta,
            cast_dtype=torch.bfloat16 if is_released else None,
        )
        with torch.no_grad():
            scores = (texts[:num_rows].unsqueeze(1) * images).sum(dim=-1)
        return step_output(result.loss, scores)

    def scores(self, batch: Batch) -> Tensor:
        """Return (B, 3) cosines of the images with the basic prompt."""
        return self._cosines(self.unit_images(batch.stacked()), batch, kind=0)

    def _cosines(self, images: Tensor, batch: Batch, *, kind: int) -> Tensor:
        texts = self.unit_prompts([row[kind] for row in batch.prompts])
        return (texts.unsqueeze(1) * images).sum(dim=-1)

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return the three accuracies under the basic prompt, their mean, and under the refined.

        And the mean difference of the scores under the basic prompt, `margin`.
        """
        images = self.unit_images(batch.stacked())
        scores = self._cosines(images, batch, kind=0)
        basic = triplet_indicators(scores)
        refined = triplet_indicators(self._cosines(images, batch, kind=1), "refined_prompt_")
        return {**basic, **refined, "average": average(basic), "margin": mean_margin(scores)}
