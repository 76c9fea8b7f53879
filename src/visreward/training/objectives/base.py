"""What a step computes: model and loss together, one class for each training stage.

Shape letters: B rows, N images per row, M images, D features.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_layers import GradientCheckpointingLayer

from visreward.models.base import RewardModel
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.vlm.reward import VLMReward
from visreward.training.data.batches import Batch


@dataclass(frozen=True, kw_only=True)
class StepOutput:
    """What a training step says.

    Attributes:
        loss: Scalar float32, differentiable.
        accuracy: Share of right comparisons among this batch, a number.
        margin: Mean difference of the scores of chosen and rejected images; None where the
            objective compares none.
        num_pairs: How many pairs of images the batch compares.
    """

    loss: Tensor
    accuracy: Tensor
    margin: Tensor | None = None
    num_pairs: int = 0

    @classmethod
    def mean(cls, parts: Sequence[StepOutput]) -> StepOutput:
        """Return the mean of the parts of a step, without gradients; pairs are added up."""
        margins = [part.margin for part in parts if part.margin is not None]
        return cls(
            loss=torch.stack([part.loss.detach() for part in parts]).mean(),
            accuracy=torch.stack([part.accuracy for part in parts]).mean(),
            margin=torch.stack(margins).mean() if margins else None,
            num_pairs=sum(part.num_pairs for part in parts),
        )

    def over_processes(self, accelerator: Accelerator) -> StepOutput:
        """Return the mean over all processes, all of which have to call this."""
        figures = [self.loss, self.accuracy, *([] if self.margin is None else [self.margin])]
        loss, accuracy, *margin = accelerator.reduce(torch.stack(figures), "mean").unbind()
        return replace(self, loss=loss, accuracy=accuracy, margin=margin[0] if margin else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownScore:
    """A score for people to look at; `sigma` None where the model has none."""

    mu: float
    sigma: float | None = None


class Objective(nn.Module, abc.ABC):
    """A model with its loss; `forward` is one step, so that DDP and FSDP can wrap it."""

    primary: str
    """The validation metric that chooses the best checkpoint; higher is better."""

    model: RewardModel

    @abc.abstractmethod
    def forward(self, batch: Batch) -> StepOutput:
        """Return loss and accuracy of one batch."""

    def counts(self, batch: Batch) -> dict[str, int]:  # noqa: ARG002
        """Return over how many things each term of the loss is a mean, by name.

        Of terms that are not named, all parts of a step count alike.
        """
        return {}

    @abc.abstractmethod
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return (B,) figures by metric name; the trainer averages those that are not NaN."""

    def shown_scores(self, batch: Batch) -> list[list[ShownScore]]:  # noqa: ARG002
        """Return the score of each image of each row, for pictures of validation; or nothing."""
        return []

    @abc.abstractmethod
    def pass_once(self) -> None:
        """Run every layer once in a forward pass, whatever the batch.

        Processes that share the weights of a layer have to run it equally often.
        """

    def after_step(self) -> None:
        """Keep parameters in their allowed range after an optimizer step."""

    def train(self, mode: bool = True) -> Self:
        """Switch training mode, except where all is frozen: batch statistics stay as they are.

        A frozen layer that gradients pass through is checkpointed like others, which its own mode
        decides; that of its parts stays as it is.
        """
        super().train(mode)
        for module in self.modules():
            trained = [parameter.requires_grad for parameter in module.parameters()]
            is_checkpointed = (
                isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing
            )
            module.training = mode and (any(trained) or not trained or is_checkpointed)
        return self


class VLMObjective(Objective):
    """An objective of a vision-language model."""

    model: VLMReward

    def __init__(self, model: VLMReward) -> None:
        super().__init__()
        self.model = model

    def pass_once(self) -> None:
        """Send all images of a batch, and all its tokens, through their towers together."""
        self.model.pass_once()


class CLIPObjective(Objective):
    """An objective of a model with an image and, mostly, a text tower."""

    model: CLIPRewardModel
    prompt_groups = 4
    """Into how many groups of like length the prompts of a batch are cut, at most."""

    def __init__(self, model: CLIPRewardModel) -> None:
        super().__init__()
        self.model = model

    def pass_once(self) -> None:
        """Send all prompts of a batch through the text tower together."""
        self.prompt_groups = 1

    def unit_images(self, pixels: Tensor) -> Tensor:
        """Return (B, N, D) float32 normalised image features of (B, N, 3, H, W) pixels."""
        features = self.model.encode_images(pixels.flatten(0, 1))
        units = functional.normalize(features, dim=-1)
        return units.view(*pixels.shape[:2], -1)

    def unit_prompts(self, prompts: list[str]) -> Tensor:
        """Return (len(prompts), D) float32 normalised text features; repeats are encoded once.

        Short and long prompts go through the tower apart, so that little padding is computed.
        """
        distinct = sorted(dict.fromkeys(prompts), key=len)
        size = -(-len(distinct) // self.prompt_groups)
        parts = [distinct[start : start + size] for start in range(0, len(distinct), size)]
        features = torch.cat([self.model.encode_prompts(part)[0] for part in parts])
        numbers = {prompt: number for number, prompt in enumerate(distinct)}
        index = torch.tensor([numbers[prompt] for prompt in prompts], device=features.device)
        return functional.normalize(features, dim=-1)[index]
