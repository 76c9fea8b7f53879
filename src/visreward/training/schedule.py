"""From shares of an epoch to steps."""

from __future__ import annotations

from visreward.training.config import TrainConfig


def with_steps(config: TrainConfig, steps_per_epoch: int) -> TrainConfig:
    """Return the configuration with every length in steps, each rounded and at least 1.

    Args:
        config: The run.
        steps_per_epoch: How many steps go through the training rows once.
    """

    def steps(epochs: float | None, known: int) -> int:
        return known if epochs is None else max(1, round(epochs * steps_per_epoch))

    optim = config.optim.model_copy(
        update={"steps": steps(config.optim.epochs, config.optim.steps)}
    )
    return config.model_copy(
        update={
            "optim": optim,
            "validate_every": steps(config.validate_every_epochs, config.validate_every),
            "save_every": steps(config.save_every_epochs, config.save_every),
        }
    )
