"""The weights of a native folder from a model that is changed while it is trained."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from visreward.training.modeling.lora import merged_adapters
from visreward.training.modeling.reward_token import joined_rows


def native_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's weights as `load_model` reads them: adapters merged, rows joined.

    Args:
        model: What is trained.
        weights: Its state dict, in whole tensors.
    """
    return merged_adapters(model, joined_rows(model, weights))
