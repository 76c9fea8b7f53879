"""Which values of the forward pass the backward pass computes again, to save memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from visreward.training.config import Checkpointing

_aten: Any = torch.ops.aten  # torch finds its operators at run time
_KEPT: Final = frozenset(
    {
        _aten.mm.default,
        _aten.addmm.default,
        _aten.bmm.default,
        _aten._scaled_dot_product_flash_attention.default,
        _aten._scaled_dot_product_flash_attention_for_cpu.default,
        _aten._scaled_dot_product_efficient_attention.default,
        _aten._scaled_dot_product_cudnn_attention.default,
        _aten._flash_attention_forward.default,
        _aten._efficient_attention_forward.default,
    }
)
"""Nearly all of a layer's arithmetic, and half of what it keeps: norms, activations and products
of activations are computed again."""


def _policy(
    context: Any,  # noqa: ANN401, ARG001  the interface of torch
    operator: Any,  # noqa: ANN401  the interface of torch
    *args: Any,  # noqa: ANN401, ARG001  the interface of torch
    **options: Any,  # noqa: ANN401, ARG001  the interface of torch
) -> CheckpointPolicy:
    is_kept = operator in _KEPT
    return CheckpointPolicy.MUST_SAVE if is_kept else CheckpointPolicy.PREFER_RECOMPUTE


def set_checkpointing(model: nn.Module, kind: Checkpointing) -> None:
    """Choose what the backward pass computes again of each layer of a model's towers.

    Gradients are the same: random numbers, such as those of dropout, are drawn again alike.

    Args:
        model: Its towers have the layers of transformers.
        kind: `none`; `selective` keeps matrix products and attention of each layer and computes
            the rest again; `full` keeps the layer's input alone, and computes all of it again.
    """
    options: dict[str, Any] = {"use_reentrant": False}
    if kind == "selective":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            # As transformers' own gradient_checkpointing_enable, which knows no contexts.
            layer.gradient_checkpointing = kind != "none"
            vars(layer)["_gradient_checkpointing_func"] = partial(_checkpoint, **options)


def _checkpoint(function: Callable[..., Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401  torch's
    return checkpoint(partial(_without_kept_casts, function), *args, **options)


def _without_kept_casts(function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401  see above
    """Call a layer; under autocast it casts its weights anew.

    Autocast keeps what it cast until its region ends. A second pass through a layer (more images
    than go through a tower at once) would cast nothing, and casting in the backward pass, outside
    of the region, would be an operation that selective checkpointing has not seen.
    """
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        return function(*args)
    finally:
        torch.set_autocast_cache_enabled(before)
