"""Check what a caller hands to a loss: shapes and the name of a fidelity."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from visreward.core.errors import ShapeError, UnknownNameError
from visreward.core.types import Fidelity

if TYPE_CHECKING:
    from torch import Tensor


def require_fidelity(fidelity: str) -> None:
    """Stop unless `fidelity` is a known name.

    Raises:
        UnknownNameError: if it is neither `released` nor `paper`.
    """
    known = get_args(Fidelity)
    if fidelity not in known:
        raise UnknownNameError(f"Unknown fidelity {fidelity!r}. Choose one of: {', '.join(known)}.")


def require_shape(expected: tuple[int | str, ...], **tensors: Tensor) -> None:
    """Stop unless every tensor has the expected shape.

    Args:
        expected: One entry per axis. A number is the exact length; a letter stands for one
            length of at least 1 that all tensors share, such as `("B", 3)`.
        **tensors: The tensors by the name that the message should use.

    Raises:
        ShapeError: if a tensor differs in its number of axes or in a length, or has no rows.
    """
    wanted = "(" + ", ".join(str(length) for length in expected)
    wanted += ",)" if len(expected) == 1 else ")"
    lengths: dict[str, tuple[int, str]] = {}
    for name, tensor in tensors.items():
        seen = tuple(tensor.shape)
        message = f"{name} has shape {seen}, expected {wanted}."
        if len(seen) != len(expected):
            raise ShapeError(f"{message} Reshape it to {len(expected)} axes.")
        for length, want in zip(seen, expected, strict=True):
            if isinstance(want, int):
                if length != want:
                    raise ShapeError(f"{message} Give the axis of {length} a length of {want}.")
                continue
            if length == 0:
                raise ShapeError(f"{message} Pass at least one row and one feature.")
            known_length, owner = lengths.setdefault(want, (length, name))
            if length != known_length:
                raise ShapeError(
                    f"{message} {want} is {known_length} in {owner} but {length} here: "
                    "pass tensors of one batch."
                )
