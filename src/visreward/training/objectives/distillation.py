"""Teach a vision tower what the image towers of other models see, patch by patch.

A vision tower of a vision-language model cuts a picture into patches with one linear map, and takes
very many pictures to learn to see from preferences alone. What a trained tower says about each
patch is a dense target: some thousand pictures do.

Shape letters: M images, V tokens of an image, L patches of a teacher, D features, C/H/W image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from visreward.models.clip.family import CLIPRewardModel
from visreward.models.image_tensors import resize
from visreward.models.vlm.reward import VLMReward
from visreward.training.data.batches import Batch
from visreward.training.data.frozen import hidden_states
from visreward.training.objectives.base import StepOutput, VLMObjective


class DistillationObjective(VLMObjective):
    """Predict the patch states of frozen teachers from the tokens of the vision tower.

    The target of a teacher is the state of each patch before its last layer, which reads the class
    token only, normalised to mean 0 and variance 1. The loss is the mean squared error. Only the
    vision tower is trained; the maps from its tokens to the targets are thrown away.

    Args:
        model: Whose vision tower is trained.
        teachers: Frozen models with an image tower of square patches, at least one.
    """

    primary = "explained"

    def __init__(
        self,
        model: VLMReward,
        *,
        teachers: Sequence[CLIPRewardModel],
    ) -> None:
        super().__init__(model)
        model.requires_grad_(requires_grad=False)
        self.model.backbone.model.visual.requires_grad_(requires_grad=True)
        # Kept out of the module tree: they are not trained, saved or wrapped.
        self._teachers = tuple(teachers)
        width = sum(each.backbone.clip.vision_model.config.hidden_size for each in teachers)
        backbone = self.model.backbone
        self.maps = nn.Linear(backbone.num_feature_sets * backbone.width, width)

    def forward(self, batch: Batch) -> StepOutput:
        """Return the mean squared error, and the share of the targets' variance explained."""
        predicted, wanted = self._both(batch)
        loss = functional.mse_loss(predicted, wanted)
        share = batch.share("cells")
        return StepOutput(loss=loss * share, accuracy=(1 - loss.detach()).clamp(min=0) * share)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Return how many cells of images the loss is a mean over."""
        assert batch.pixels is not None, "a vision tower is trained on pixels"
        grids = [
            self.model.inputs.placed(0, image.shape[1:]).grid
            for row in batch.pixels
            for image in row
        ]
        return {"cells": sum(height * width for height, width in grids)}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return the share of the targets' variance explained, the same for all rows."""
        predicted, wanted = self._both(batch)
        explained = (1 - functional.mse_loss(predicted, wanted)).clamp(min=0)
        return {"explained": explained.expand(len(batch.rows))}

    def _both(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return predicted and wanted states of all tokens of all images, float32."""
        assert batch.pixels is not None, "a vision tower is trained on pixels"
        images = [image for row in batch.pixels for image in row]
        features = self.model.image_features(images)
        seen = torch.cat([torch.cat([each.tokens, *each.deep], dim=-1) for each in features])
        return self.maps(seen).float(), torch.cat(self._wanted(images))

    def _wanted(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Return (V, width) what the teachers say of each image; those of one shape go together."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for number, image in enumerate(images):
            by_shape.setdefault(tuple(image.shape), []).append(number)
        found: dict[int, Tensor] = {}
        for shape, numbers in by_shape.items():
            grid = self.model.inputs.placed(0, shape[1:]).grid
            states = self._states(torch.stack([images[number] for number in numbers]), grid)
            found.update(zip(numbers, states, strict=True))
        return [found[number] for number in range(len(images))]

    @torch.no_grad()
    def _states(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return (M, V, width) what the teachers say of each cell of a grid over images."""
        found = []
        for teacher in self._teachers:
            size = teacher.pixel_inputs.size
            seen = resize(images.float() / 255, height=size, width=size)
            pixels = (seen * 255).round().byte()
            num_layers = len(teacher.backbone.clip.vision_model.encoder.layers) - 1
            states = hidden_states(
                teacher.backbone, teacher.pixel_inputs.normalise(pixels), num_layers=num_layers
            )[:, 1:].float()
            side = round(states.shape[1] ** 0.5)
            cells = states.transpose(1, 2).unflatten(2, (side, side))
            cells = functional.interpolate(cells, size=grid, mode="bilinear", antialias=True)
            flat = cells.flatten(2).transpose(1, 2)
            found.append(functional.layer_norm(flat, flat.shape[-1:]))
        return torch.cat(found, dim=-1)
