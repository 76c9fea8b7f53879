"""Read a pandas DataFrame from a pickle without running what the pickle says.

A pickle is a program: it names functions and has them called. Nothing that it names is called
here. Each name on the list below stands for an inert `Record` of the arguments it was given;
every other name is refused. The frame is then built from the records by `frame_records`, which
accepts what pandas 1.0 to 3.1 writes and nothing else. So a function on the list cannot be
abused either: neither pandas nor numpy nor pyarrow sees a byte that was not checked.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING

from visreward.core.errors import DataError, UnsafePickleError
from visreward.data.base import load_optional
from visreward.data.frame_records import Record, UnexpectedRecordError, frame_columns

if TYPE_CHECKING:
    import os

    import pandas as pd

_LFS_POINTER = b"version https://git-lfs"

# What each admitted global of a pickle stands for; several versions spell one thing differently.
_ADMITTED: dict[tuple[str, str], str] = {
    ("__builtin__", "bytearray"): "bytearray",
    ("__builtin__", "bytes"): "bytes",
    ("__builtin__", "slice"): "slice",
    ("_codecs", "encode"): "encode",
    ("builtins", "bytearray"): "bytearray",
    ("builtins", "slice"): "slice",
    ("functools", "partial"): "partial",  # pandas 1.3 writes blocks as partial(new_block)
    ("numpy", "dtype"): "dtype",
    ("numpy", "ndarray"): "ndarray",
    ("numpy._core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy._core.multiarray", "scalar"): "scalar",
    ("numpy._core.numeric", "_frombuffer"): "frombuffer",
    ("numpy.core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy.core.numeric", "_frombuffer"): "frombuffer",
    ("pandas", "DataFrame"): "DataFrame",
    ("pandas", "Index"): "Index",
    ("pandas", "NA"): "NA",
    ("pandas", "RangeIndex"): "RangeIndex",
    ("pandas", "StringDtype"): "StringDtype",
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): "backed_array",
    ("pandas._libs.internals", "_unpickle_block"): "block",
    ("pandas._libs.missing", "NA"): "NA",
    ("pandas.arrays", "ArrowStringArray"): "ArrowStringArray",
    ("pandas.arrays", "StringArray"): "StringArray",
    ("pandas.core.arrays.string_", "StringArray"): "StringArray",
    ("pandas.core.arrays.string_", "StringDtype"): "StringDtype",
    ("pandas.core.arrays.string_arrow", "ArrowStringArray"): "ArrowStringArray",
    ("pandas.core.frame", "DataFrame"): "DataFrame",
    ("pandas.core.indexes.base", "Index"): "Index",
    ("pandas.core.indexes.base", "_new_Index"): "new_index",
    ("pandas.core.indexes.numeric", "Float64Index"): "Index",
    ("pandas.core.indexes.numeric", "Int64Index"): "Index",
    ("pandas.core.indexes.numeric", "UInt64Index"): "Index",
    ("pandas.core.indexes.range", "RangeIndex"): "RangeIndex",
    ("pandas.core.internals.blocks", "new_block"): "block",
    ("pandas.core.internals.managers", "BlockManager"): "BlockManager",
    ("pyarrow.lib", "_restore_array"): "restore_array",
    ("pyarrow.lib", "chunked_array"): "chunked_array",
    ("pyarrow.lib", "py_buffer"): "py_buffer",
    ("pyarrow.lib", "type_for_alias"): "type_for_alias",
}

# What the standard unpickler raises when bytes are damaged or end early.
_DAMAGED = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
    MemoryError,
    RecursionError,
)
# What is raised where records are treated as something that they are not.
_MISFIT = (TypeError, AttributeError)


class _FrameUnpickler(pickle.Unpickler):
    """Unpickler whose every global is a record, or refused."""

    def find_class(self, module: str, name: str, /) -> type[Record]:
        """Return the record type that stands for an admitted global.

        Raises:
            UnexpectedRecordError: if the global is not on the list.
        """
        kind = _ADMITTED.get((module, name))
        if kind is None:
            raise UnexpectedRecordError(f"it names {module}.{name}")
        return Record.of(kind)


def read_frame(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the DataFrame in a pickle, running no code that the pickle names.

    Columns of numbers and truth values keep their dtype; every column of text, whatever pandas
    kept it in, comes back as objects: str, or None where a value is missing. Frames of
    pandas 1.0 to 3.1 with such columns are read, pickle protocols 2 to 5, not compressed.
    Deterministic.

    Args:
        path: A file that `DataFrame.to_pickle` or `pickle.dump` wrote.

    Raises:
        DataError: if the file is missing, damaged, or a Git LFS pointer.
        UnsafePickleError: if the pickle names anything that a DataFrame does not need, or puts
            what it names together in another way than pandas does.
        MissingExtraError: if pandas is not installed.
    """
    pandas = load_optional("pandas", extra="train")
    file = Path(path)
    tree = _records(file)
    try:
        names, columns, index = frame_columns(tree)
    except UnexpectedRecordError as error:
        raise _unsafe(file, str(error)) from error
    except (*_MISFIT, *_DAMAGED) as error:
        raise _unsafe(file, f"its parts do not fit together ({error})") from error
    series = {i: pandas.Series(column, dtype=column.dtype) for i, column in enumerate(columns)}
    frame: pd.DataFrame = pandas.DataFrame(series, index=pandas.RangeIndex(len(index)))
    frame.columns = pandas.Index(names)
    frame.index = pandas.Index(index)
    return frame


def _records(file: Path) -> object:
    """Return the tree of records in a pickle."""
    try:
        with file.open("rb") as stream:
            if stream.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise DataError(
                    f"'{file}' is a Git LFS pointer, not the table itself. "
                    "Fetch the data with: git lfs pull"
                )
            stream.seek(0)
            return _FrameUnpickler(stream).load()
    except UnexpectedRecordError as error:
        raise _unsafe(file, str(error)) from error
    except OSError as error:
        raise DataError(
            f"The table '{file}' cannot be opened: {error.strerror}. Check the path."
        ) from error
    except _MISFIT as error:
        raise _unsafe(file, f"its parts do not fit together ({error})") from error
    except _DAMAGED as error:
        raise DataError(
            f"'{file}' is not a whole pickle of a DataFrame ({type(error).__name__}: {error}). "
            "Download it again, or write it again with DataFrame.to_pickle."
        ) from error


def _unsafe(file: Path, what: str) -> UnsafePickleError:
    return UnsafePickleError(
        f"The pickle '{file}' is refused: {what}, which no plain DataFrame holds. "
        "Nothing in it was run. If you trust its author, open it yourself and save the frame "
        "as Parquet."
    )
