"""The matrix products of a tower through oneDNN: inference on x86 CPUs with AVX-512.

torch hands float32 products to MKL, which runs about half as fast on AMD processors with AVX-512
as oneDNN, the other library inside torch. GFLOP/s of one AMD EPYC core at CLIP's shapes:

    rows x in x out       MKL   oneDNN
    800 x 768 x 3072       96      212
    257 x 1280 x 1280      94      185
    2056 x 1280 x 5120     85      179

One image through ViT-B/32, 16 at a time, takes 95 ms of that core by MKL and 48 ms here; ViT-H/14
gains the same factor of two. Without AVX-512 oneDNN is the slower one (two EPYC cores with AVX2,
4112 x 1280 x 5120: MKL 164 and oneDNN 138 GFLOP/s, with GELU 149 and 99), so that float32 stays
with torch there. bfloat16 goes through oneDNN in torch anyway; here it saves a copy of the bias and
the pass of GELU, 5 to 10 % together. Weights stay as they are: repacking them for oneDNN gains 3 to
12 % more, for a second copy of every weight that has to be made again whenever the first changes.

Everything else (training, autocast, GPUs, other processors, float16) takes torch's own way.

Shape letters: M images, D features, C/H/W image.
"""

from __future__ import annotations

import functools
import platform
from typing import Literal

import torch
from torch import Tensor, nn
from transformers.models.clip.modeling_clip import CLIPMLP

from visreward.models.devices import is_native


class OneDNNLinear(nn.Linear):
    """A linear layer that can apply GELU to its output at no cost."""

    def forward(self, input: Tensor, *, activation: Literal["none", "gelu"] = "none") -> Tensor:  # noqa: A002  nn.Linear's name
        """Return (..., out_features) of (..., in_features)."""
        if _applies(input, self.weight):
            return _linear(input, self.weight, self.bias, activation)
        output = super().forward(input)
        return output if activation == "none" else nn.functional.gelu(output)


class OneDNNMLP(CLIPMLP):
    """The two linear layers of a transformer block, with GELU inside the first one."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return (M, L, D) of (M, L, D)."""
        # Adapters put another layer in the place of fc1; they get the ordinary order of things.
        if type(self.fc1) is not OneDNNLinear or torch.is_grad_enabled():
            return super().forward(hidden_states)
        return self.fc2(self.fc1(hidden_states, activation="gelu"))  # type: ignore[no-any-return]


class OneDNNPatchEmbedding(nn.Conv2d):
    """A convolution whose patches do not overlap, as one matrix product."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  nn.Conv2d's name
        """Return (M, D, H / patch, W / patch) of (M, C, H, W)."""
        high, wide = self.kernel_size
        height, width = input.shape[-2:]
        if not _applies(input, self.weight) or height % high or width % wide:
            return super().forward(input)
        rows, columns = height // high, width // wide
        patches = (
            input.reshape(-1, self.in_channels, rows, high, columns, wide)
            .permute(0, 2, 4, 1, 3, 5)
            .reshape(-1, rows * columns, self.in_channels * high * wide)
        )
        features = _linear(patches, self.weight.flatten(1), self.bias, "none")
        return features.transpose(1, 2).reshape(-1, self.out_channels, rows, columns)


def use_onednn(tower: nn.Module) -> None:
    """Let a CLIP tower's matrix products go through oneDNN wherever that works and is faster.

    The layers keep their parameters and their names; only their classes change.

    Args:
        tower: A module of transformers' CLIP, changed in place.
    """
    for module in tower.modules():
        if type(module) is nn.Linear:
            module.__class__ = OneDNNLinear
        elif type(module) is CLIPMLP and module.config.hidden_act == "gelu":
            module.__class__ = OneDNNMLP
        elif type(module) is nn.Conv2d and _cuts_patches(module):
            module.__class__ = OneDNNPatchEmbedding


def _cuts_patches(convolution: nn.Conv2d) -> bool:
    return (
        convolution.kernel_size == convolution.stride != (1, 1)
        and convolution.padding == (0, 0)
        and convolution.dilation == (1, 1)
        and convolution.groups == 1
    )


@functools.cache
def _is_supported(dtype: torch.dtype) -> bool:
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return False
    return dtype in (torch.float32, torch.bfloat16) and is_native(dtype, torch.device("cpu"))


@functools.cache
def _pays(dtype: torch.dtype) -> bool:
    return dtype != torch.float32 or "AVX512" in torch.backends.cpu.get_cpu_capability()


def _applies(inputs: Tensor, weight: Tensor) -> bool:
    return (
        not torch.is_grad_enabled()
        and inputs.device.type == weight.device.type == "cpu"
        and inputs.dtype == weight.dtype
        and inputs.dim() > 1
        and inputs.numel() > 0
        and _is_supported(inputs.dtype)
        and _pays(inputs.dtype)
        and not torch.is_autocast_enabled("cpu")
        and bool(torch.backends.mkldnn.enabled)
    )


def _linear(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, activation: Literal["none", "gelu"]
) -> Tensor:
    # The last argument picks GELU's exact form, with erf.
    return torch.ops.mkldnn._linear_pointwise(  # type: ignore[no-any-return]
        inputs, weight, bias, activation, [], "none"
    )
