from __future__ import annotations

import pytest
import torch

from visreward.core.errors import ShapeError, UnknownNameError
from visreward.losses.checks import require_fidelity, require_shape


@pytest.mark.parametrize(
    ("expected", "shape", "message"),
    [
        (("B", "D"), (3,), r"rows has shape \(3,\), expected \(B, D\)\. Reshape it to 2 axes"),
        (("B", 3), (4, 2), r"\(4, 2\), expected \(B, 3\)\. Give the axis of 2 a length of 3"),
        (("B",), (0,), r"\(0,\), expected \(B,\)\. Pass at least one row"),
        ((), (1,), r"\(1,\), expected \(\)\. Reshape it to 0 axes"),
    ],
)
def test_require_shape_wrong_shape_raises_with_what_to_do(
    expected: tuple[int | str, ...], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        require_shape(expected, rows=torch.zeros(shape))


def test_require_shape_lengths_differ_names_both_tensors() -> None:
    with pytest.raises(ShapeError, match=r"right has shape \(2,\).*B is 3 in left but 2 here"):
        require_shape(("B",), left=torch.zeros(3), right=torch.zeros(2))


def test_require_shape_matching_tensors_pass() -> None:
    require_shape(("B", 3), first=torch.zeros(5, 3), second=torch.zeros(5, 3))


def test_require_fidelity_unknown_name_raises_with_choices() -> None:
    require_fidelity("released")
    require_fidelity("paper")
    with pytest.raises(UnknownNameError, match=r"'Paper'\. Choose one of: released, paper"):
        require_fidelity("Paper")
