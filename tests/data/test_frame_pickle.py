"""Frames are read from pickles of many pandas versions; nothing that a pickle names is run."""

from __future__ import annotations

import copyreg
import io
import pickle
import pickletools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from visreward.core.errors import DataError, UnsafePickleError
from visreward.data.frame_pickle import read_frame

FRAMES = sorted((Path(__file__).parent / "frames").glob("pandas-*.pkl"))


def save(folder: Path, content: object, *, protocol: int = 4) -> Path:
    file = folder / "table.pkl"
    is_raw = isinstance(content, bytes)
    file.write_bytes(content if is_raw else pickle.dumps(content, protocol=protocol))  # type: ignore[arg-type]
    return file


def test_read_frame_seven_pandas_versions_are_present() -> None:
    assert len(FRAMES) == 7


@pytest.mark.parametrize("file", FRAMES, ids=lambda file: file.stem)
def test_read_frame_written_by_each_pandas_gives_its_values(file: Path) -> None:
    frame = read_frame(file)
    assert frame.index.tolist() == [2, 0, 1, 3]
    assert frame["objects"].tolist() == ["naïve ☃", "a red ball", "", None]
    assert frame["strings"].tolist() == ["s2", "s0", None, "s3"]
    np.testing.assert_array_equal(frame["numbers"], [-1.5, 0.25, np.nan, 4.0])
    assert frame["counts"].tolist() == [9, 7, 8, 10]
    assert frame["flags"].tolist() == [True, True, False, False]
    assert frame["small"].dtype == np.int16
    assert frame["small"].tolist() == [3, 1, 2, 4]
    assert frame["scalars"].tolist() == ["x", 1.5, 2, 4.5]
    has_arrow = file.stem not in {"pandas-1.0.5", "pandas-1.2.5"}
    assert ("arrow" in frame) == has_arrow
    if has_arrow:
        assert frame["arrow"].tolist() == ["ä2", "a0", None, "a3"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [object, "str", "string"])
def test_read_frame_each_protocol_gives_equal_columns(
    tmp_path: Path, protocol: int, dtype: Any
) -> None:
    text = pd.Series(["a", None, "☃"], dtype=dtype)
    frame = pd.DataFrame(
        {"text": text, "number": [1.0, 2.0, 3.5], "count": [1, 2, 3], "other": [4.0, 5.0, 6.0]}
    )
    read = read_frame(save(tmp_path, frame, protocol=protocol))
    assert read["text"].tolist() == ["a", None, "☃"]
    pd.testing.assert_frame_equal(read.drop(columns="text"), frame.drop(columns="text"))


def test_read_frame_fortran_and_big_endian_blocks_keep_every_cell_in_place(tmp_path: Path) -> None:
    numbers = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    objects = np.asfortranarray(np.arange(100, 112).astype(object).reshape(4, 3))
    for values in (numbers, numbers.T.copy().T, objects, numbers.astype(">f8")):
        read = read_frame(save(tmp_path, pd.DataFrame(values)))
        np.testing.assert_array_equal(read.to_numpy(), values)


def test_read_frame_empty_frames_keep_their_shape(tmp_path: Path) -> None:
    assert read_frame(save(tmp_path, pd.DataFrame())).shape == (0, 0)
    assert read_frame(save(tmp_path, pd.DataFrame({"a": [], "b": []}))).shape == (0, 2)
    assert read_frame(save(tmp_path, pd.DataFrame(index=[1, 2, 3]))).shape == (3, 0)


def test_read_frame_two_columns_of_one_name_keeps_both(tmp_path: Path) -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert read_frame(save(tmp_path, frame)).to_numpy().tolist() == [[1, 2]]


# Pickles that do harm. `{marker}` is the file that each would make.


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def text_call(module: str, name: str, *arguments: str) -> bytes:
    """Return a pickle that calls module.name with text, spelled in protocol 4 opcodes."""

    def short(text: str) -> bytes:
        return b"\x8c" + struct.pack("<B", len(text.encode())) + text.encode()

    names = short(module) + short(name) + b"\x93"
    pushed = b"".join(b"X" + struct.pack("<I", len(a.encode())) + a.encode() for a in arguments)
    return b"\x80\x04" + names + b"(" + pushed + b"tR."


def global_call(module: str, name: str, argument: str) -> bytes:
    """Return the same in protocol 2, where GLOBAL names the function."""
    text = argument.encode()
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"X" + struct.pack("<I", len(text)) + (
        text + b"\x85R."
    )


def in_cell(evil: object) -> bytes:
    return pickle.dumps(pd.DataFrame({"a": pd.Series([1, evil], dtype=object)}))


def in_attrs(evil: object) -> bytes:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["note"] = evil
    return pickle.dumps(frame)


def in_names(evil: object) -> bytes:
    names = pd.Index([evil], dtype=object)
    return pickle.dumps(pd.DataFrame([[1]], columns=names))


WRITE = "open({marker!r}, 'w').close()"
LIVE: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "system by GLOBAL": ("os.system", lambda m: global_call("os", "system", f"touch {m}")),
    "system by STACK_GLOBAL": ("os.system", lambda m: text_call("os", "system", f"touch {m}")),
    "system by INST": (
        "os.system",
        lambda m: b"(S'" + f"touch {m}".encode() + b"'\nios\nsystem\n.",
    ),
    "system by OBJ": (
        "os.system",
        lambda m: b"(cos\nsystem\nS'" + f"touch {m}".encode() + b"'\no.",
    ),
    "dotted name through a package": (
        "pandas.io.common.os.system",
        lambda m: text_call("pandas", "io.common.os.system", f"touch {m}"),
    ),
    "method by dotted name": (
        "pathlib.Path.touch",
        lambda m: pickle.dumps(Call(Path.touch, Path(m))).replace(b"PosixPath", b"PosixPath"),
    ),
    "eval": ("builtins.eval", lambda m: text_call("builtins", "eval", WRITE.format(marker=m))),
    "exec": ("builtins.exec", lambda m: text_call("builtins", "exec", WRITE.format(marker=m))),
    "eval under the Python 2 name": (
        "__builtin__.eval",
        lambda m: global_call("__builtin__", "eval", WRITE.format(marker=m)),
    ),
    "open": ("io.open", lambda m: text_call("io", "open", m, "w")),
    "check_output": (
        "subprocess.getoutput",
        lambda m: text_call("subprocess", "getoutput", f"touch {m}"),
    ),
    "numpy memmap": ("numpy.memmap", lambda m: pickle.dumps(Call(np.memmap, m, "u1", "w+", 0, 4))),
    "numpy test helper": (
        "numpy.testing._private.utils.runstring",
        lambda m: pickle.dumps(Call(np.testing.runstring, WRITE.format(marker=m), {})),
    ),
    "pandas to_csv": (
        "pandas.DataFrame.to_csv",
        lambda m: pickle.dumps(Call(pd.DataFrame.to_csv, pd.DataFrame(), m)),
    ),
    "pandas eval": (
        "pandas.core.computation.eval.eval",
        lambda m: text_call(
            "pandas.core.computation.eval", "eval", "__import__('os').system('touch {}')".format(m)
        ),
    ),
    "pyarrow file": (
        "pyarrow.lib.OSFile",
        lambda m: text_call("pyarrow.lib", "OSFile", m, "w"),
    ),
    "nested pickle": (
        "_pickle.loads",
        lambda m: pickle.dumps(
            Call(pickle.loads, text_call("os", "system", f"touch {m}"))
        ),
    ),
    "system in a cell": ("os.system", lambda m: in_cell(Call(__import__("os").system, f"touch {m}"))),
    "system in the attributes": (
        "os.system",
        lambda m: in_attrs(Call(__import__("os").system, f"touch {m}")),
    ),
    "system in a column name": (
        "os.system",
        lambda m: in_names(Call(__import__("os").system, f"touch {m}")),
    ),
}
