"""The typed configuration of optimizer and schedule."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from visreward.core.strict import Strict


class LearningRates(Strict):
    """Learning rates of single parts; None takes `learning_rate`.

    Attributes:
        vision: Of the vision tower, mergers aside.
        merger: Of the maps from the vision tower to the language model.
        heads: Of what is trained on a backbone's features.
        reward_token: Of the reward token's embedding, where `freeze.embeddings` is reward-token.
    """

    vision: PositiveFloat | None = None
    merger: PositiveFloat | None = None
    heads: PositiveFloat | None = None
    reward_token: PositiveFloat | None = None


class OptimConfig(Strict):
    """Optimizer and schedule.

    Attributes:
        steps: How long to train; 0 where `epochs` says it.
        epochs: How many times to go through the training rows, instead of `steps`.
        batch_size: Rows per step over all processes and accumulation steps.
        learning_rates: Those of single parts.
        accumulation: Into how many parts a process splits its share of a batch. In-batch
            negatives see one part at a time.
        warmup_steps: Over how many steps the rate rises to its full value.
        warmup_ratio: The same as a share of all steps, rounded up, instead of `warmup_steps`.
        schedule: After a linear warm-up: constant, linear to zero, or half a cosine to zero.
        grad_clip: Largest gradient norm; None does not clip.
    """

    steps: int = Field(default=0, ge=0)
    epochs: PositiveFloat | None = None
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    learning_rates: LearningRates = LearningRates()
    accumulation: PositiveInt = 1
    warmup_steps: int = Field(default=0, ge=0)
    warmup_ratio: float = Field(default=0.0, ge=0, le=1)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    grad_clip: PositiveFloat | None = 1.0

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        """Stop where a length is given twice, or not at all."""
        if (self.steps > 0) == (self.epochs is not None):
            raise ValueError("steps or epochs say how long to train. Give one of them")
        if self.warmup_steps > 0 and self.warmup_ratio > 0:
            raise ValueError("warmup_steps and warmup_ratio are both given. Give one of them")
        return self
