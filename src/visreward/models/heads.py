"""Small modules trained on a backbone's features, and fusion of what they say.

Shape letters: B samples, M images, K dimensions, D features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from visreward.core.errors import UsageError
from visreward.core.types import Fidelity


class LinearStack(nn.Module):
    """Five linear layers to one number, as in HP and in LAION's aesthetic predictor.

    There is no activation between the layers, in both releases, so the head is one linear map at
    inference; dropout makes the difference in training only.
    Source: ICT & HP release, trainer/models/icthp_model.py; sizes D-1024-128-64-16-1.
    """

    def __init__(self, input_dim: int, hidden_dim: int = 1024) -> None:
        super().__init__()
        # The released keys are layers.{0,2,4,6,7}: dropouts take the places in between.
        self.layers = nn.Sequential(
            nn.Linear(input_dim, hidden_dim),
            nn.Dropout(0.2),
            nn.Linear(hidden_dim, 128),
            nn.Dropout(0.2),
            nn.Linear(128, 64),
            nn.Dropout(0.1),
            nn.Linear(64, 16),
            nn.Linear(16, 1),
        )

    def reset(self) -> None:
        """Draw new weights: N(0, 1 / (D + 1)) and zero biases, as the release does."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=1 / (first.in_features + 1))
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return (M,) logits from (M, D) features."""
        return self.layers(features).squeeze(-1)  # type: ignore[no-any-return]


HeadKind = Literal["linear", "mlp"]
Fusion = Literal["mean", "min", "sum", "none"]
Pooling = Literal["last", "mean", "special"]


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Which heads a vision-language reward model has.

    Attributes:
        kind: One linear map, or linear maps with ReLU between them.
        num_heads: One head for each dimension, or one for all.
        num_outputs: 1 for mu alone, 2 for mu and log sigma.
        num_layers: Linear maps of an MLP; None for the released default, D-1024-16-outputs.
        hidden_size: Width between the layers; needed where `num_layers` is given.
        dropout: After each hidden layer; while training only.
        bias: Whether the last layer of an MLP with `num_layers` has a bias.
    """

    kind: HeadKind = "mlp"
    num_heads: int = 1
    num_outputs: int = 2
    num_layers: int | None = None
    hidden_size: int | None = None
    dropout: float = 0.05
    bias: bool = True

    def __post_init__(self) -> None:
        if self.num_outputs not in (1, 2):
            raise UsageError(
                f"The head has {self.num_outputs} outputs. Give 1 (mu) or 2 (mu, log sigma)."
            )
        if self.num_heads < 1:
            raise UsageError(f"num_heads is {self.num_heads}. Give 1 or more.")
        if self.num_layers is not None and (self.num_layers < 2 or not self.hidden_size):
            raise UsageError(
                f"The head has num_layers = {self.num_layers} and hidden_size = "
                f"{self.hidden_size}. Give 2 layers or more, and a hidden size."
            )

    def build(self, width: int) -> nn.Module:
        """Return one head with new weights: (B, D) -> (B, outputs)."""
        if self.kind == "linear":
            return nn.Linear(width, self.num_outputs, bias=False)
        if self.num_layers is None:
            return nn.Sequential(
                nn.Linear(width, 1024),
                nn.ReLU(),
                nn.Dropout(self.dropout),
                nn.Linear(1024, 16),
                nn.ReLU(),
                nn.Linear(16, self.num_outputs),
            )
        hidden = self.hidden_size
        assert hidden is not None
        layers: list[nn.Module] = []
        for number in range(self.num_layers - 1):
            before = width if number == 0 else hidden
            layers += [nn.Linear(before, hidden), nn.ReLU(), nn.Dropout(self.dropout)]
        return nn.Sequential(*layers, nn.Linear(hidden, self.num_outputs, bias=self.bias))


def fuse(logits: Tensor, fusion: Fusion, fidelity: Fidelity) -> Tensor:
    """Return one Gaussian of those of several dimensions, which are taken as independent.

    `mean` averages the dimensions, `min` takes the one with the least mu, `sum` adds them, `none`
    keeps the first. Sigma is the deviation of just that.

    Where the released code differs (`fidelity="released"`; EditReward, pooling_strategy): `mean`
    averages log sigma, so that one certain dimension makes the whole certain, and `min` takes the
    least mu and the least log sigma, be they of two dimensions.

    Args:
        logits: (B, K, outputs) float: mu, and log sigma where there are two.
        fusion: How.
        fidelity: Which sigma.

    Returns:
        (B, outputs), differentiable.
    """
    if fusion == "none":
        return logits[:, 0]
    if fusion == "mean" and fidelity == "released":
        return logits.mean(dim=1)
    if fusion == "min" and fidelity == "released":
        return logits.amin(dim=1)
    if fusion == "min":
        least = logits[..., :1].argmin(dim=1, keepdim=True)
        return torch.take_along_dim(logits, least, dim=1)[:, 0]
    mu = logits[..., :1].sum(dim=1)
    log_sigma = torch.logsumexp(2 * logits[..., 1:], dim=1) / 2
    if fusion == "sum":
        return torch.cat([mu, log_sigma], dim=-1)
    num_dimensions = logits.shape[1]
    return torch.cat([mu / num_dimensions, log_sigma - math.log(num_dimensions)], dim=-1)
