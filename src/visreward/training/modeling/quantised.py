"""Base weights of fewer bits, under adapters.

The code for 8 and 4 bits was written from the documentation of bitsandbytes; the tests of this
package run without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from visreward.core.errors import MissingExtraError


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
    if kind != "bfloat16" and find_spec("bitsandbytes") is None:
        raise MissingExtraError(
            f"lora.base_weights is {kind}, which needs the package 'bitsandbytes', and that is not "
            "installed. Install it with: pip install bitsandbytes, or take "
            "lora.base_weights=bfloat16."
        )
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
        made.weight = quantised_nn.Params4bit(
            layer.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4"
        )
    made.bias = layer.bias
    return made  # type: ignore[no-any-return]
