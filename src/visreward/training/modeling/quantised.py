"""Base weights of fewer bits, under adapters: bfloat16, or 8 and 4 bits by bitsandbytes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final

import torch
from torch import Tensor, nn

from visreward.core.errors import MissingExtraError

BYTES: Final = {"8-bit": 1.0, "4-bit": 0.516}
"""Bytes of a number; with 4 bits, its share of the scales takes 0.127 bits more."""


def require_bitsandbytes(kind: str) -> None:
    """Stop where a kind of base weights needs bitsandbytes, and it is not installed.

    Raises:
        MissingExtraError: if so.
    """
    if kind in BYTES and find_spec("bitsandbytes") is None:
        raise MissingExtraError(
            f"lora.base_weights is {kind}, which needs the package 'bitsandbytes', and that is not "
            "installed. Install it with: pip install 'visreward[quantised]', or take "
            "lora.base_weights=bfloat16."
        )


def quantise(root: nn.Module, names: Sequence[str], kind: str) -> None:
    """Keep the weights of some linear maps in fewer bits; biases stay as they are.

    bitsandbytes rounds when the weights go to their device.

    Args:
        root: The model.
        names: Names of its linear maps.
        kind: `float32` changes nothing; `bfloat16`; `8-bit` (LLM.int8(), arXiv 2208.07339);
            `4-bit` (NF4 with double quantisation, arXiv 2305.14314).

    Raises:
        MissingExtraError: if bitsandbytes is needed and not installed.
    """
    if kind == "float32":
        return
    require_bitsandbytes(kind)
    for name in names:
        layer = root.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        if kind == "bfloat16":
            layer.weight.data = layer.weight.data.bfloat16()
        else:
            root.set_submodule(name, _bitsandbytes_layer(layer, kind))
    if kind != "bfloat16":
        # How peft knows that it has to take its layers for bitsandbytes.
        vars(root)[f"is_loaded_in_{kind.replace('-', '')}"] = True


def _bitsandbytes_layer(layer: nn.Linear, kind: str) -> nn.Module:
    from bitsandbytes import nn as quantised_nn

    sizes = (layer.in_features, layer.out_features, layer.bias is not None)
    made: Any  # the package has no types
    if kind == "8-bit":
        made = quantised_nn.Linear8bitLt(*sizes, has_fp16_weights=False)
        made.weight = quantised_nn.Int8Params(
            layer.weight.data, requires_grad=False, has_fp16_weights=False
        )
    else:
        made = quantised_nn.Linear4bit(
            *sizes, compute_dtype=torch.bfloat16, compress_statistics=True, quant_type="nf4"
        )
        # On a CPU it would pack them for scoring at the first validation, after which no gradient
        # passes through (bitsandbytes 0.50, Linear4bit.forward).
        made.support_avx512bf16_for_cpu = False
        made.weight = quantised_nn.Params4bit(
            layer.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4"
        )
    made.bias = layer.bias
    return made  # type: ignore[no-any-return]


def unrounded(layer: nn.Module) -> Tensor:
    """Return what a layer of bitsandbytes computes with, in floating point; it stays as it is.

    peft's `dequantize_module_weight` puts another weight in its place on a CPU, without the scales
    that an 8-bit layer needs in its next pass (peft 0.21).
    """
    from peft.utils.integrations import dequantize_bnb_weight

    weight: Any = layer.weight  # a class of bitsandbytes
    found: Tensor = dequantize_bnb_weight(weight, state=getattr(layer, "state", None))
    return found.detach()
