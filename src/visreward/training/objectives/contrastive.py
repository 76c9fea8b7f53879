"""Training on families of near-identical images with a caption each."""

from __future__ import annotations

import torch
from torch import Tensor

from visreward.losses.contrastive import contrastive_loss
from visreward.losses.gather import gather_with_grad
from visreward.losses.similarity import similarity_matrix
from visreward.models.clip.family import CLIPRewardModel
from visreward.training.data.batches import Batch, prompt_ids
from visreward.training.objectives.base import CLIPObjective, StepOutput
from visreward.training.options.objective_config import ContrastiveConfig


class ContrastiveObjective(CLIPObjective):
    """Match every image with its caption against all others of the batch."""

    primary = "family_accuracy"

    def __init__(self, model: CLIPRewardModel, config: ContrastiveConfig) -> None:
        super().__init__(model)
        self.max_logit_scale = config.max_logit_scale

    def forward(self, batch: Batch) -> StepOutput:
        """Return the contrastive loss, and how often a prompt finds its image in the batch."""
        captions = [caption for row in batch.prompts for caption in row]
        images = gather_with_grad(self.unit_images(batch.stacked()).flatten(0, 1))
        texts = gather_with_grad(self.unit_prompts(captions))
        groups = gather_with_grad(prompt_ids(captions).to(images.device))
        loss = contrastive_loss(
            image_features=images,
            text_features=texts,
            logit_scale=self.model.backbone.clip.logit_scale.exp(),
            group_ids=groups,
        )
        with torch.no_grad():
            found = similarity_matrix(texts, images).argmax(dim=1)
            accuracy = (groups[found] == groups).float().mean()
        return StepOutput(loss=loss, accuracy=accuracy)

    def after_step(self) -> None:
        """Hold the logit scale at or below its limit."""
        with torch.no_grad():
            scale = self.model.backbone.clip.logit_scale
            scale.clamp_(max=torch.tensor(self.max_logit_scale).log().item())

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return how often a caption prefers its own image to each other one of its family."""
        images = self.unit_images(batch.stacked())
        num_images = images.shape[1]
        captions = [caption for row in batch.prompts for caption in row]
        texts = self.unit_prompts(captions).view_as(images)
        cosines = similarity_matrix(texts, images)
        own = cosines.diagonal(dim1=1, dim2=2).unsqueeze(2)
        wins = (own > cosines).float().sum(dim=(1, 2)) / (num_images * (num_images - 1))
        indicators = {"family_accuracy": wins}
        if num_images >= 2:
            indicators["plain_swap_accuracy"] = (cosines[:, 0, 0] > cosines[:, 0, 1]).float()
        if num_images >= 4:
            indicators["rich_swap_accuracy"] = (cosines[:, 2, 2] > cosines[:, 2, 3]).float()
        return indicators
