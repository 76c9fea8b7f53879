"""Weights files: strict checks, filling a model without a second copy, digests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from visreward.core.errors import UsageError, WeightsError

DIGEST_LENGTH: Final = 12

_MEMINFO: Final = Path("/proc/meminfo")


class _EmptyOnMeta(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., object],
        _types: object,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        given = dict(kwargs or {})
        if func is torch.empty and given.get("device") is None:
            given["device"] = "meta"
        return func(*args, **given)


@contextmanager
def without_weights() -> Iterator[None]:
    """Build modules whose large weights take no memory and no time until they are filled.

    Modules make their weights with `torch.empty`; only these go to the meta device. Buffers that
    are computed, such as position ids, keep their values.
    """
    with _EmptyOnMeta():
        yield


def fill(
    model: nn.Module,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], Tensor],
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    exact: tuple[str, ...] = (),
) -> None:
    """Put weights into a model, tensor by tensor, strictly.

    Args:
        model: Built under `without_weights`, or like any module.
        shapes: Shape of each tensor at hand, by the model's own names.
        read: Gives a tensor by name; called only when all names and shapes fit.
        source: What error messages call the weights.
        device: Where the model goes.
        dtype: What numbers with a fraction are cast to; None keeps them. Single numbers, such
            as a learnt temperature, stay float32: rounding one would scale every score.
        exact: Beginnings of names that become float32 where `dtype` is given.

    Raises:
        WeightsError: if tensors are missing, unexpected, misshapen, of the wrong kind of number,
            or hold NaN or infinity.
    """
    expected = model.state_dict()
    _check_fit({name: tuple(value.shape) for name, value in expected.items()}, shapes, source)
    state = {}
    for name in shapes:
        tensor = read(name)
        if tensor.is_floating_point() != expected[name].is_floating_point():
            raise WeightsError(
                f"{source}: tensor '{name}' holds {tensor.dtype}, expected {expected[name].dtype}. "
                "Use the file that belongs to this model."
            )
        wanted = dtype if tensor.is_floating_point() else None
        if wanted is not None and name.startswith(exact):
            wanted = torch.float32
        if tensor.is_floating_point() and tensor.ndim == 0:
            wanted = torch.float32
        state[name] = tensor.to(device, wanted, copy=dtype is not None)
        _check_finite(name, state[name], source)
    model.load_state_dict(state, strict=True, assign=True)
    model.to(device)


def _check_fit(
    expected: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    source: str,
) -> None:
    faults = [
        *(f"missing: {name} {shape}" for name, shape in expected.items() if name not in found),
        *(f"unexpected: {name} {shape}" for name, shape in found.items() if name not in expected),
        *(
            f"misshapen: {name} {found[name]}, expected {shape}"
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ),
    ]
    if faults:
        listed = "\n  ".join(faults)
        raise WeightsError(
            f"{source} does not fit the model, {len(faults)} tensor(s):\n  {listed}\n"
            "Use the weights and the configuration of one and the same model."
        )


def _check_finite(name: str, tensor: Tensor, source: str) -> None:
    if tensor.numel() == 0 or not tensor.is_floating_point():
        return
    low, high = tensor.aminmax()
    if not (low.isfinite() and high.isfinite()):
        raise WeightsError(
            f"{source}: tensor '{name}' holds NaN or infinity in {tensor.dtype}. "
            "Get the file again; if it is sound, load it with dtype float32."
        )


def fill_from_file(
    model: nn.Module,
    path: Path,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    exact: tuple[str, ...] = (),
) -> None:
    """Fill a model from a safetensors file; the file can be replaced afterwards.

    The arguments are those of `fill`.

    Raises:
        WeightsError: if the file is missing or damaged, or does not fit.
        UsageError: if there is clearly not enough memory for the weights.
    """
    _check_memory(model, torch.device(device), dtype)
    with opened(path) as file:
        fill(
            model,
            shapes={name: tuple(file.get_slice(name).get_shape()) for name in file.keys()},  # noqa: SIM118
            read=file.get_tensor,
            source=str(path),
            device=device,
            dtype=dtype,
            exact=exact,
        )


def _check_memory(model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    needed = sum(value.numel() for value in model.parameters()) * dtype.itemsize
    free = free_memory(device)
    if free is not None and needed > free:
        raise UsageError(
            f"The weights need {needed / 1e9:.1f} GB in {str(dtype).removeprefix('torch.')}, but "
            f"{free / 1e9:.1f} GB are free on {device}. Use dtype bfloat16, or free memory."
        )


def free_memory(device: torch.device) -> int | None:
    """Return how many bytes are free on a device, or None where that is not known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu" or not _MEMINFO.is_file():
        return None
    lines = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="ascii").splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


@contextmanager
def opened(path: Path) -> Iterator[Any]:  # safetensors has no type for it
    """Open a safetensors file for reading tensor by tensor.

    Raises:
        WeightsError: if the file is missing or damaged.
    """
    if not path.is_file():
        raise WeightsError(f"The weights file {path} is missing. Save or import the model again.")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is damaged: {error}. Copy or download the file again."
        ) from error


def write_weights(weights: Mapping[str, Tensor], path: Path, *, dtype: torch.dtype | None) -> None:
    """Write a model's weights in one step; the same weights give the same bytes.

    Args:
        weights: What to write, by name.
        path: A safetensors file, replaced if it is there.
        dtype: What numbers with a fraction are stored as, single numbers excepted; None keeps
            their own.
    """
    tensors = {}
    for name, value in weights.items():
        stored = value.detach().to("cpu").contiguous()
        if dtype is not None and stored.is_floating_point() and stored.ndim > 0:
            stored = stored.to(dtype)
        tensors[name] = stored
    building = path.with_name(f".{path.name}.building")
    building.touch()
    # safetensors makes files that only their owner can read.
    mode = building.stat().st_mode
    save_file(tensors, building, metadata={"format": "pt"})
    building.chmod(mode)
    building.replace(path)


def weights_digest(path: Path) -> str:
    """Return the first 12 hexadecimal digits of a file's SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:DIGEST_LENGTH]
