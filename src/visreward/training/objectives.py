"""What a step computes: model and loss together, one class for each training stage.

Shape letters: B rows, N images per row, M images, D features.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from visreward.core.errors import DataError, UsageError
from visreward.losses.contrastive import contrastive_loss
from visreward.losses.gather import gather_with_grad
from visreward.losses.ict import (
    ContainmentTargets,
    TripletFeatures,
    ict_loss,
    released_targets,
)
from visreward.losses.margin import hp_loss, ict_hp_loss, ict_hp_scores
from visreward.models.clip.family import CLIPRewardModel, places
from visreward.models.clip.hp import HP
from visreward.training.config import ContrastiveConfig, HPConfig, ICTConfig
from visreward.training.feeds import Batch, prompt_ids
from visreward.training.frozen import HIDDEN, ICT_SCORES, features_from_hidden


@dataclass(frozen=True, kw_only=True)
class StepOutput:
    """What a training step says.

    Attributes:
        loss: Scalar float32, differentiable.
        accuracy: Share of right comparisons among this batch, a number.
    """

    loss: Tensor
    accuracy: Tensor


class Objective(nn.Module, abc.ABC):
    """A model with its loss; `forward` is one step, so that DDP and FSDP can wrap it."""

    primary: str
    """The validation metric that chooses the best checkpoint; higher is better."""

    def __init__(self, model: CLIPRewardModel) -> None:
        super().__init__()
        self.model = model

    @abc.abstractmethod
    def forward(self, batch: Batch) -> StepOutput:
        """Return loss and accuracy of one batch."""

    @abc.abstractmethod
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return (B,) indicators in [0, 1] by metric name; the trainer averages them."""

    def after_step(self) -> None:
        """Keep parameters in their allowed range after an optimizer step."""

    def unit_images(self, pixels: Tensor) -> Tensor:
        """Return (B, N, D) float32 normalised image features of (B, N, 3, H, W) pixels."""
        features = self.model.encode_images(pixels.flatten(0, 1))
        units = functional.normalize(features, dim=-1)
        return units.view(*pixels.shape[:2], -1)

    def unit_prompts(self, prompts: list[str]) -> Tensor:
        """Return (len(prompts), D) float32 normalised text features; repeats are encoded once."""
        _, index = places(prompts)
        features, _ = self.model.encode_prompts(list(dict.fromkeys(prompts)))
        return functional.normalize(features, dim=-1)[index.to(features.device)]


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


def pixels_of(batch: Batch) -> Tensor:
    """Return the batch's pixels, which this objective needs."""
    assert batch.pixels is not None
    return batch.pixels


class ContrastiveObjective(Objective):
    """Match every image with its caption against all others of the batch."""

    primary = "family_accuracy"

    def __init__(self, model: CLIPRewardModel, config: ContrastiveConfig) -> None:
        super().__init__(model)
        self.max_logit_scale = config.max_logit_scale

    def forward(self, batch: Batch) -> StepOutput:
        """Return the contrastive loss, and how often a prompt finds its image in the batch."""
        captions = [caption for row in batch.prompts for caption in row]
        images = gather_with_grad(self.unit_images(pixels_of(batch)).flatten(0, 1))
        texts = gather_with_grad(self.unit_prompts(captions))
        groups = gather_with_grad(prompt_ids(captions).to(images.device))
        loss = contrastive_loss(
            image_features=images,
            text_features=texts,
            logit_scale=self.model.backbone.clip.logit_scale.exp(),
            group_ids=groups,
        )
        with torch.no_grad():
            found = (texts @ images.T).argmax(dim=1)
            accuracy = (groups[found] == groups).float().mean()
        return StepOutput(loss=loss, accuracy=accuracy)

    def after_step(self) -> None:
        """Hold the logit scale at or below its limit."""
        with torch.no_grad():
            scale = self.model.backbone.clip.logit_scale
            scale.clamp_(max=torch.tensor(self.max_logit_scale).log().item())

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return how often a caption prefers its own image to each other one of its family."""
        images = self.unit_images(pixels_of(batch))
        num_images = images.shape[1]
        captions = [caption for row in batch.prompts for caption in row]
        texts = self.unit_prompts(captions).view_as(images)
        cosines = texts @ images.transpose(1, 2)
        own = cosines.diagonal(dim1=1, dim2=2).unsqueeze(2)
        wins = (own > cosines).float().sum(dim=(1, 2)) / (num_images * (num_images - 1))
        indicators = {"family_accuracy": wins}
        if num_images >= 2:
            indicators["plain_swap_accuracy"] = (cosines[:, 0, 0] > cosines[:, 0, 1]).float()
        if num_images >= 4:
            indicators["rich_swap_accuracy"] = (cosines[:, 2, 2] > cosines[:, 2, 3]).float()
        return indicators


class ICTObjective(Objective):
    """The ICT loss on triplets."""

    primary = "average"

    def __init__(self, model: CLIPRewardModel, config: ICTConfig) -> None:
        super().__init__(model)
        self.config = config

    def forward(self, batch: Batch) -> StepOutput:
        """Return the ICT loss, and the mean of the three accuracies under the basic prompt."""
        if batch.targets is None:
            raise DataError(
                "The triplets have no labels E1, E2, R1, R2. Make them with: "
                "visreward data label pick-high PATH --model NAME"
            )
        images = self.unit_images(pixels_of(batch))
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
            accuracy = average(triplet_indicators(scores)).mean()
        return StepOutput(loss=result.loss, accuracy=accuracy)

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return the three accuracies under the basic prompt, under the refined, their mean."""
        images = self.unit_images(pixels_of(batch))
        found: dict[str, Tensor] = {}
        for kind, prefix in ((0, ""), (1, "refined_prompt_")):
            texts = self.unit_prompts([row[kind] for row in batch.prompts])
            scores = (texts.unsqueeze(1) * images).sum(dim=-1)
            found.update(triplet_indicators(scores, prefix))
        basic = {name: value for name, value in found.items() if not name.startswith("refined_p")}
        return {**found, "average": average(basic)}


class HPObjective(Objective):
    """Margin ranking on HP alone, and on ICT x HP with the frozen ICT model."""

    primary = "average"

    def __init__(
        self,
        model: HP,
        config: HPConfig,
        *,
        ict: CLIPRewardModel | None = None,
        frozen_layers: int = 0,
    ) -> None:
        super().__init__(model)
        self.hp = model
        self.config = config
        self.frozen_layers = frozen_layers
        # Kept out of the module tree: it is not trained, saved or wrapped.
        self._ict = (ict,)

    def ict_scores(self, batch: Batch) -> Tensor | None:
        """Return (B, 3) ICT scores under the basic prompt, or None where ICT takes no part."""
        if ICT_SCORES in batch.extra:
            return batch.extra[ICT_SCORES]
        ict = self._ict[0]
        if ict is None:
            return None
        if ict.pixel_inputs.size != self.model.pixel_inputs.size:
            raise UsageError(
                f"ICT sees {ict.pixel_inputs.size} px and HP {self.model.pixel_inputs.size} px. "
                "Set objective.cache_frozen=true, which computes each at its own size."
            )
        with torch.no_grad():
            pixels = pixels_of(batch)
            images = functional.normalize(ict.encode_images(pixels.flatten(0, 1)), dim=-1)
            features, _ = ict.encode_prompts([row[0] for row in batch.prompts])
            texts = functional.normalize(features, dim=-1)
            return (images.view(*pixels.shape[:2], -1) * texts.unsqueeze(1)).sum(dim=-1)

    def hp_logits(self, batch: Batch) -> Tensor:
        """Return (B, 3) float32 logits of the three images."""
        if HIDDEN in batch.extra:
            hidden = batch.extra[HIDDEN]
            features = features_from_hidden(
                self.hp.backbone, hidden.flatten(0, 1), num_layers=self.frozen_layers
            )
            logits: Tensor = self.hp.head(features).float()
            return logits.view(hidden.shape[:2])
        pixels = pixels_of(batch)
        return self.hp.logits(pixels.flatten(0, 1)).view(pixels.shape[:2])

    def forward(self, batch: Batch) -> StepOutput:
        """Return the weighted loss, and the mean of the three accuracies of HP alone."""
        logits = self.hp_logits(batch)
        gathered = gather_with_grad(logits)
        loss = self.config.hp_weight * hp_loss(gathered, margin=self.config.margin)
        ict_scores = self.ict_scores(batch)
        if ict_scores is not None and self.config.ict_hp_weight > 0:
            is_released = self.config.fidelity == "released"
            rounded = ict_scores.bfloat16() if is_released else ict_scores
            loss = loss + self.config.ict_hp_weight * ict_hp_loss(
                ict_scores=gather_with_grad(rounded),
                hp_logits=gathered,
                fidelity=self.config.fidelity,
                margin=self.config.margin,
            )
        accuracy = average(triplet_indicators(logits.detach())).mean()
        return StepOutput(loss=loss, accuracy=accuracy)

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return the three accuracies of HP, of ICT x sigmoid(HP), and their means."""
        logits = self.hp_logits(batch)
        hp = triplet_indicators(logits, "hp_")
        ict_scores = self.ict_scores(batch)
        if ict_scores is None:
            return {**hp, "average": average(hp)}
        product = triplet_indicators(
            ict_hp_scores(ict_scores=ict_scores, hp_logits=logits, fidelity="paper")
        )
        return {**hp, **product, "hp_average": average(hp), "average": average(product)}
