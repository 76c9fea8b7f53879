"""By which optimizer parameters are trained, at which rate."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final

from torch import nn
from torch.optim import AdamW, Optimizer

from visreward.core.errors import UsageError
from visreward.training.options.optim_config import OptimConfig

PARTS: Final = (
    ("reward_token", r"\.embed_tokens\.row$"),
    ("merger", r"\.visual\.(deepstack_)?merger"),
    ("vision", r"\.(visual|vision_model|visual_projection)\."),
    ("heads", r"(^|\.)heads?\."),
)
"""The parts of `LearningRates` and what their parameters are called; the first that fits."""


def _part(name: str) -> str:
    return next((part for part, pattern in PARTS if re.search(pattern, name)), "rest")


def make_optimizer(module: nn.Module, config: OptimConfig) -> Optimizer:
    """Return AdamW; biases, norms, single numbers and single rows take no weight decay.

    Each part with a learning rate of its own has its own groups, behind those of all other
    parameters. A group's `part` and `base_rate` say what it is.

    Raises:
        UsageError: if a rate is given for a part of which nothing is trained.
    """
    rates = config.learning_rates.model_dump(exclude_none=True)
    members: dict[tuple[str, bool], list[nn.Parameter]] = {
        (part, decays): [] for part in ("rest", *rates) for decays in (True, False)
    }
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            part = _part(name)
            members[part if part in rates else "rest", parameter.ndim >= 2].append(parameter)
    for part in rates:
        if not members[part, True] and not members[part, False]:
            raise UsageError(
                f"optim.learning_rates.{part} is {rates[part]:g}, but nothing of that part is "
                "trained. Leave it out, or unfreeze the part."
            )
    groups = [
        {
            "params": parameters,
            "weight_decay": config.weight_decay if decays else 0.0,
            "part": part,
            "base_rate": rates.get(part, config.learning_rate),
        }
        for (part, decays), parameters in members.items()
        if parameters
    ]
    return AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def rate_groups(optimizer: Optimizer) -> Iterator[str]:
    """Yield what each part of a model is trained with, such as `heads 0.52 M at 0.0001`."""
    counts: dict[tuple[str, float], int] = {}
    for group in optimizer.param_groups:
        key = (group["part"], group["base_rate"])
        counts[key] = counts.get(key, 0) + sum(each.numel() for each in group["params"])
    for (part, rate), count in counts.items():
        yield f"{part} {count / 1e6:.2f} M at {rate:g}"


def warmup_steps(config: OptimConfig) -> int:
    """Return over how many steps the rate rises; a share of all steps is rounded up."""
    return config.warmup_steps or math.ceil(config.warmup_ratio * config.steps)


def rate_factor(step: int, config: OptimConfig) -> float:
    """Return the share of the learning rate that step `step`, counted from 0, uses."""
    warmup = warmup_steps(config)
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    rest = max(config.steps - warmup, 1)
    done = min((step - warmup) / rest, 1.0)
    return 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2


def set_rate(optimizer: Optimizer, step: int, config: OptimConfig) -> float:
    """Give each group its learning rate of step `step`, counted from 0; return that of most.

    The rates depend on the step and the configuration alone, so a resumed run needs no state.
    """
    factor = rate_factor(step, config)
    for group in optimizer.param_groups:
        group["lr"] = group["base_rate"] * factor
    return config.learning_rate * factor


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Return how many numbers are trained and how many are frozen."""
    counts = {True: 0, False: 0}
    for parameter in module.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    return counts[True], counts[False]
