"""Build the columns of a DataFrame from the inert records of its pickle.

A `Record` keeps what a pickle would have passed to a function of pandas, numpy or pyarrow. The
functions here take such records apart, check every part, and make numpy arrays of plain values.
Anything of another form raises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache
from typing import ClassVar, TypeAlias, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

Column: TypeAlias = NDArray[np.generic]
T = TypeVar("T")

_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
_NUMBER_CODE = re.compile(r"b1|[iu][1248]|f[248]|[US][0-9]{1,9}")
_OFFSET_TYPES = {"string": "<i4", "large_string": "<i8"}


class UnexpectedRecordError(Exception):
    """A pickle holds something that pandas does not write for a plain DataFrame."""


class Record:
    """What a pickle would have called, with which arguments and which state.

    Attributes:
        kind: What it stands for; one subclass per kind.
        args: Arguments of the call.
        state: What the pickle would have put into the result, or None.
    """

    __slots__ = ("args", "state")
    kind: ClassVar[str] = ""
    args: tuple[object, ...]
    state: object

    def __new__(cls, *args: object) -> Record:
        """Return a record of these arguments; nothing is called."""
        record = object.__new__(cls)
        record.args = args
        record.state = None
        return record

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __call__(self, *args: object) -> Record:
        """Return the record of a call of this record, which only a partial block may be."""
        if self.kind != "partial" or self.args != (Record.of("block"),):
            raise UnexpectedRecordError(f"it calls {_describe(self)}")
        return Record.of("block")(*args)

    @staticmethod
    @cache
    def of(kind: str) -> type[Record]:
        """Return the type of the records of one kind."""
        return type(f"{kind}Record", (Record,), {"__slots__": (), "kind": kind})


def frame_columns(tree: object) -> tuple[list[object], list[Column], Column | range]:
    """Return names, columns and row index of a frame.

    Args:
        tree: What the unpickler made of the whole pickle.

    Returns:
        The names in order, one (n,) array per name, and the n row names.

    Raises:
        UnexpectedRecordError: if the tree is not a plain DataFrame.
        LookupError, TypeError, ValueError: if its parts do not fit together.
    """
    state = _checked(_expect(tree, "DataFrame").state, dict)
    manager = _expect(state.get("_mgr", state.get("_data")), "BlockManager")
    if manager.state is None:
        blocks, axes = manager.args
        parts = [_expect(block, "block").args[:2] for block in _checked(blocks, tuple)]
    else:  # pandas 1.0 to 1.2
        layout = _checked(manager.state, tuple)[3]["0.14.1"]
        axes = layout["axes"]
        parts = [(block["values"], block["mgr_locs"]) for block in layout["blocks"]]
    name_axis, row_axis = (_index(axis) for axis in _checked(axes, list))
    columns: dict[int, Column] = {}
    for values, placement in parts:
        block = _array(values)
        rows = [block] if block.ndim == 1 else list(block)
        columns.update(zip(_positions(placement, len(name_axis)), rows, strict=True))
    if len(columns) != len(name_axis) or sorted(columns) != list(range(len(columns))):
        raise UnexpectedRecordError(f"it has {len(columns)} columns, {len(name_axis)} names")
    if any(column.shape != (len(row_axis),) for column in columns.values()):
        raise UnexpectedRecordError("its columns differ in length")
    names = list(name_axis) if isinstance(name_axis, range) else name_axis.tolist()
    return names, [columns[i] for i in range(len(names))], row_axis


def _describe(value: object) -> str:
    if isinstance(value, Record):
        return f"a record of {value.kind}"
    return f"a {value.kind}" if _is_record_type(value) else f"a {type(value).__name__}"


def _expect(value: object, kind: str) -> Record:
    if not isinstance(value, Record) or value.kind != kind:
        raise UnexpectedRecordError(f"it holds {_describe(value)} in place of {kind}")
    return value


def _checked(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise UnexpectedRecordError(f"it holds {_describe(value)} in place of a {kind.__name__}")
    return value


def _positions(placement: object, num_columns: int) -> Sequence[int]:
    """Return which columns of the frame the rows of a block are."""
    if isinstance(placement, Record) and placement.kind == "slice":
        start, stop, step = (_checked(part, int) for part in placement.args)
        return range(*slice(start, stop, step).indices(num_columns))
    positions: list[int] = _array(placement).tolist()
    return positions


def _index(value: object) -> Column | range:
    kind, state = _expect(value, "new_index").args
    state = _checked(state, dict)
    if kind is Record.of("RangeIndex"):
        return range(*(_checked(state[part], int) for part in ("start", "stop", "step")))
    if kind is not Record.of("Index"):
        raise UnexpectedRecordError(f"it holds an index made by {_describe(kind)}")
    return _array(state["data"])


def _array(value: object) -> Column:
    """Return the numpy array that a record of an array of numbers, objects or text holds."""
    record = _checked(value, Record)
    if record.kind == "frombuffer":
        data, dtype, shape, order = record.args
        return _filled(data, dtype=dtype, shape=shape, is_fortran=order == "F")
    if record.kind == "reconstruct":
        _, shape, dtype, is_fortran, data = _checked(record.state, tuple)
        return _filled(data, dtype=dtype, shape=shape, is_fortran=bool(is_fortran))
    if record.kind == "StringArray":  # pandas 1.0 to 1.2
        return _array(_checked(record.state, dict)["_ndarray"])
    if record.kind == "backed_array" and record.args[0] is Record.of("StringArray"):
        return _array(_checked(record.state, tuple)[1])
    if record.kind == "ArrowStringArray":
        state = _checked(record.state, dict)
        return _objects(_arrow_strings(state.get("_pa_array", state.get("_data"))))
    raise UnexpectedRecordError(f"it holds {_describe(record)} in place of an array")


def _filled(data: object, *, dtype: object, shape: object, is_fortran: bool) -> Column:
    """Return an array of this shape, filled from bytes or from a list of objects."""
    lengths = tuple(_checked(length, int) for length in _checked(shape, tuple))
    kind = _dtype(dtype)
    if kind.kind == "O":  # objects are listed in C order, whatever their order in memory was
        cells = _checked(data, list)
        return _objects(cells).reshape(lengths)
    content = _bytes(data)
    if min(lengths, default=0) < 0 or len(content) != math.prod(lengths) * kind.itemsize:
        raise UnexpectedRecordError(f"it holds {len(content)} bytes for an array of {lengths}")
    flat = np.frombuffer(content, kind).astype(kind.newbyteorder("="))
    return flat.reshape(lengths, order="F" if is_fortran else "C")


def _dtype(value: object) -> np.dtype[np.generic]:
    """Return a plain dtype; those with fields, shapes or metadata are refused."""
    record = _expect(value, "dtype")
    code = _checked(record.args[0], str)
    if code in {"O", "O4", "O8"}:
        return np.dtype(object)
    if not _NUMBER_CODE.fullmatch(code):
        raise UnexpectedRecordError(f"it holds an array of dtype {code[:20]!r}")
    order = "=" if record.state is None else _checked(record.state, tuple)[1]
    if order not in {"<", ">", "=", "|"}:
        raise UnexpectedRecordError("it holds a dtype of unknown byte order")
    return np.dtype(f"{order}{code}")


def _objects(cells: list[object]) -> Column:
    """Return an object array of plain values; missing ones are None."""
    if not _PLAIN.issuperset(map(type, cells)):
        cells = [_cell(cell) for cell in cells]
    return np.fromiter(cells, dtype=object, count=len(cells))


def _cell(value: object) -> object:
    if type(value) in _PLAIN:
        return value
    if value is Record.of("NA"):
        return None
    dtype, data = _expect(value, "scalar").args
    scalar = _filled(data, dtype=dtype, shape=(1,), is_fortran=False)
    return scalar[0].item()


def _bytes(value: object) -> bytes:
    """Return bytes, which older pickle protocols spell as text or as calls."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    record = _checked(value, Record)
    if record.kind in {"bytes", "bytearray"}:
        return _bytes(*record.args) if record.args else b""
    text, encoding = _expect(record, "encode").args
    if encoding != "latin1":
        raise UnexpectedRecordError(f"it holds bytes spelled in {str(encoding)[:20]!r}")
    return _checked(text, str).encode("latin1")


def _arrow_strings(value: object) -> list[object]:
    """Return the strings of an Arrow array, which is read here from its buffers."""
    record = _checked(value, Record)
    if record.kind == "chunked_array":
        chunks = _checked(record.args[0], list)
        return [text for chunk in chunks for text in _arrow_strings(chunk)]
    parts = _checked(_expect(record, "restore_array").args[0], tuple)
    kind, length, _, offset, buffers = parts[:5]
    offset_type = _OFFSET_TYPES[_checked(_expect(kind, "type_for_alias").args[0], str)]
    validity, offsets, content = (_buffer(buffer) for buffer in _checked(buffers, list))
    start, stop = _checked(offset, int), _checked(offset, int) + _checked(length, int)
    if stop == start:
        return []
    ends = np.frombuffer(offsets or b"", offset_type)[start : stop + 1].tolist()
    flags = [1] * (len(ends) - 1) if validity is None else _bits(validity)[start:stop].tolist()
    if start < 0 or len(ends) != stop - start + 1 or len(flags) != stop - start:
        raise UnexpectedRecordError("it holds an Arrow array that is shorter than it says")
    text = content or b""
    if ends != sorted(ends) or ends[0] < 0 or ends[-1] > len(text):
        raise UnexpectedRecordError("it holds an Arrow array whose offsets leave its data")
    return [
        text[ends[i] : ends[i + 1]].decode() if is_valid else None
        for i, is_valid in enumerate(flags)
    ]


def _buffer(value: object) -> bytes | None:
    return None if value is None else _bytes(*_expect(value, "py_buffer").args)


def _bits(validity: bytes) -> NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")


def _is_record_type(value: object) -> TypeGuard[type[Record]]:
    return isinstance(value, type) and issubclass(value, Record)
