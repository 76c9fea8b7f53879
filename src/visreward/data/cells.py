"""Bring the cells of a column from a foreign table to one type, and find those that do not fit."""

from __future__ import annotations

import math
import re
from typing import Final, Literal, TypeAlias

from visreward.data.base import Arrow, load_optional

CellKind: TypeAlias = Literal["text", "number", "whole number"]

_LONE_SURROGATE: Final = re.compile("[\\ud800-\\udfff]")  # text with one has no UTF-8 form
_PLAIN_TYPES: Final = {
    "text": frozenset({str, type(None)}),
    "number": frozenset({float, int, type(None)}),
    "whole number": frozenset({int, type(None)}),
}
_MAX_WHOLE: Final = 2**53  # larger ones have no exact double


def typed_cells(cells: Arrow, *, cell: CellKind) -> tuple[Arrow, dict[int, str]]:
    """Return cells in the type of their column, and what the cells of another type are.

    Args:
        cells: A pyarrow Array or ChunkedArray, or a list of any objects.
        cell: What each cell is meant to be. Numbers are never read out of text.

    Returns:
        The cells as large_string, double or int64, null where one is missing, NaN, or of
        another type; and those of another type in words, by row.
    """
    arrow = load_optional("pyarrow", extra="train")
    target = {
        "text": arrow.large_string(),
        "number": arrow.float64(),
        "whole number": arrow.int64(),
    }[cell]
    try:
        if isinstance(cells, list):
            if _PLAIN_TYPES[cell].issuperset(map(type, cells)):
                return arrow.array(cells, target, from_pandas=True), {}
        elif _is_convertible(cells.type, cell=cell):
            return _nan_as_null(cells).cast(target), {}
    except ValueError:  # text without a UTF-8 form, or numbers that the type cannot hold
        pass
    if not isinstance(cells, list):
        cells = cells.to_pylist()
    kept = [value if _is_cell(value, cell=cell) else None for value in cells]
    bad = {
        row: f"{type(value).__name__} {value!r:.40}"
        for row, value in enumerate(cells)
        if kept[row] is None and not _is_missing(value)
    }
    return arrow.array(kept, type=target, from_pandas=True), bad


def _nan_as_null(cells: Arrow) -> Arrow:
    compute = load_optional("pyarrow.compute", extra="train")
    types = load_optional("pyarrow.types", extra="train")
    if not types.is_floating(cells.type):
        return cells
    return compute.if_else(compute.is_nan(cells), None, cells)


def _is_convertible(found: Arrow, *, cell: CellKind) -> bool:
    """Return whether the cells of an Arrow type can be cast without changing their meaning."""
    types = load_optional("pyarrow.types", extra="train")
    if types.is_dictionary(found):
        found = found.value_type
    if types.is_null(found):
        return True
    if cell == "text":
        return bool(types.is_string(found) or types.is_large_string(found))
    return bool(types.is_floating(found) or types.is_integer(found))


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_cell(value: object, *, cell: CellKind) -> bool:
    if cell == "text":
        return isinstance(value, str) and _LONE_SURROGATE.search(value) is None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if cell == "number" and isinstance(value, float):
        return True
    return abs(value) <= _MAX_WHOLE and float(value).is_integer()
