"""Frames are read from pickles of many pandas versions; nothing that a pickle names is run."""

from __future__ import annotations

import contextlib
import copyreg
import io
import os
import pickle
import pickletools
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
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


# Pickles that do harm: each makes the file `marker` if the standard unpickler reads it.


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def short(text: str) -> bytes:
    return b"\x8c" + struct.pack("<B", len(text.encode())) + text.encode()


def long(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def stack_call(module: str, name: str, *arguments: str) -> bytes:
    """Return a pickle that calls module.name with text; the name may have dots."""
    named = short(module) + short(name) + b"\x93"
    return b"\x80\x04" + named + b"(" + b"".join(map(long, arguments)) + b"tR."


def global_call(module: str, name: str, argument: str) -> bytes:
    """Return the same in protocol 2, where the opcode GLOBAL names the function."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + long(argument) + b"\x85R."


def in_cell(evil: object) -> bytes:
    return pickle.dumps(pd.DataFrame({"a": pd.Series([1, evil], dtype=object)}))


def in_attributes(evil: object) -> bytes:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["note"] = evil
    return pickle.dumps(frame)


def in_name(evil: object) -> bytes:
    return pickle.dumps(pd.DataFrame([[1]], columns=pd.Index([evil], dtype=object)))


def touch(marker: str) -> str:
    return f"touch {marker}"


def opening(marker: str) -> str:
    return f"open({marker!r}, 'w').close()"


HARMFUL: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "GLOBAL": ("os.system", lambda m: global_call("os", "system", touch(m))),
    "STACK_GLOBAL": ("os.system", lambda m: stack_call("os", "system", touch(m))),
    "INST": ("os.system", lambda m: f"(S'{touch(m)}'\nios\nsystem\n.".encode()),
    "OBJ": ("posix.system", lambda m: f"(cposix\nsystem\nS'{touch(m)}'\no.".encode()),
    "dotted name in pandas": (
        "pandas.io.common.os.system",
        lambda m: stack_call("pandas", "io.common.os.system", touch(m)),
    ),
    "dotted name in numpy": (
        "numpy.testing._private.utils.os.system",
        lambda m: stack_call("numpy", "testing._private.utils.os.system", touch(m)),
    ),
    "method by dotted name": (
        "pathlib.Path.touch",
        lambda m: pickle.dumps(Call(Path.touch, Path(m)), protocol=4),
    ),
    "method by getattr": (
        "__builtin__.getattr",
        lambda m: pickle.dumps(Call(Path.touch, Path(m)), protocol=2),
    ),
    "eval": ("builtins.eval", lambda m: stack_call("builtins", "eval", opening(m))),
    "exec": ("builtins.exec", lambda m: stack_call("builtins", "exec", opening(m))),
    "eval of Python 2": (
        "__builtin__.eval",
        lambda m: global_call("__builtin__", "eval", opening(m)),
    ),
    "open": ("io.open", lambda m: stack_call("io", "open", m, "w")),
    "shell": ("subprocess.getoutput", lambda m: stack_call("subprocess", "getoutput", touch(m))),
    "partial": ("posix.system", lambda m: pickle.dumps(Call(partial(os.system, touch(m))))),
    "nested pickle": (
        "_pickle.loads",
        lambda m: pickle.dumps(Call(pickle.loads, stack_call("os", "system", touch(m)))),
    ),
    "numpy memmap": (
        "numpy.memmap",
        lambda m: pickle.dumps(Call(np.memmap, m, "u1", "w+", 0, 4)),
    ),
    "numpy runstring": (
        "numpy.testing._private.utils.runstring",
        lambda m: pickle.dumps(Call(np.testing.runstring, opening(m), {})),
    ),
    "numpy load": (
        "numpy.load",
        lambda m: (
            b"\x80\x04"
            + short("numpy")
            + short("load")
            + b"\x93"
            + long(evil_file(m))
            + b"N\x88\x87R."
        ),
    ),
    "pandas read_pickle": (
        "pandas.read_pickle",
        lambda m: stack_call("pandas", "read_pickle", evil_file(m)),
    ),
    "pandas to_csv": (
        "pandas.core.generic.NDFrame.to_csv",
        lambda m: pickle.dumps(Call(pd.DataFrame.to_csv, pd.DataFrame(), m)),
    ),
    "pyarrow file": ("pyarrow.lib.OSFile", lambda m: stack_call("pyarrow.lib", "OSFile", m, "w")),
    "cell": ("posix.system", lambda m: in_cell(Call(os.system, touch(m)))),
    "attributes": ("posix.system", lambda m: in_attributes(Call(os.system, touch(m)))),
    "column name": ("posix.system", lambda m: in_name(Call(os.system, touch(m)))),
}


def evil_file(marker: str) -> str:
    """Write a harmful pickle beside the marker and return its path."""
    file = Path(marker).with_name("evil.pkl")
    file.write_bytes(stack_call("os", "system", touch(marker)))
    return str(file)


@pytest.mark.parametrize("case", HARMFUL)
def test_read_frame_harmful_pickle_is_refused_and_leaves_no_trace(
    tmp_path: Path, case: str
) -> None:
    name, make = HARMFUL[case]
    marker = tmp_path / "marker"
    content = make(str(marker))
    with pytest.raises(UnsafePickleError) as caught:
        read_frame(save(tmp_path, content))
    assert name in str(caught.value)
    assert "table.pkl" in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("case", HARMFUL)
def test_harmful_pickle_standard_unpickler_leaves_a_trace(tmp_path: Path, case: str) -> None:
    """Show that the pickles above would do harm, so that refusing them means something."""
    marker = tmp_path / "marker"
    content = HARMFUL[case][1](str(marker))
    with contextlib.suppress(Exception):
        pickle.loads(content).close()
    assert marker.exists()


def test_read_frame_registered_extension_is_refused(tmp_path: Path) -> None:
    copyreg.add_extension("posix", "system", 0xC8)
    try:
        with pytest.raises(UnsafePickleError, match=r"posix\.system"):
            read_frame(save(tmp_path, b"\x80\x02\x82\xc8" + long("true") + b"\x85R."))
    finally:
        copyreg.remove_extension("posix", "system", 0xC8)


# Names that a frame needs, put together as no frame does.

FRAME = b"\x80\x04" + short("pandas.core.frame") + short("DataFrame") + b"\x93"
DTYPE = short("numpy") + short("dtype") + b"\x93"
ARRAY = short("numpy") + short("ndarray") + b"\x93"
RECONSTRUCT = short("numpy.core.multiarray") + short("_reconstruct") + b"\x93"
EMPTY_ARRAY = RECONSTRUCT + ARRAY + b"K\x00\x85C\x01b\x87R"
MANAGER = short("pandas.core.internals.managers") + short("BlockManager") + b"\x93"
BLOCK = short("pandas._libs.internals") + short("_unpickle_block") + b"\x93"
SLICE = short("builtins") + short("slice") + b"\x93"
NEW_INDEX = short("pandas.core.indexes.base") + short("_new_Index") + b"\x93"
RANGE = short("pandas.core.indexes.range") + short("RangeIndex") + b"\x93"


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def range_index(stop: bytes) -> bytes:
    """Return the opcodes of a RangeIndex from 0 to stop."""
    parts = short("start") + number(0) + short("stop") + stop + short("step") + number(1)
    return NEW_INDEX + RANGE + b"}(" + parts + b"u\x86R"


def frame_of(values: bytes, *, placement: bytes, names: bytes, rows: bytes) -> bytes:
    """Return a pickle of a frame of one block, from the opcodes of its parts."""
    block = BLOCK + values + placement + number(2) + b"\x87R"
    manager = MANAGER + block + b"\x85" + b"](" + names + rows + b"e" + b"\x86R"
    return FRAME + b")\x81}" + short("_mgr") + manager + b"sb."


def array_of(dtype: bytes, *, length: int, data: bytes) -> bytes:
    """Return the opcodes of an array of one row."""
    shape = number(1) + number(length) + b"\x86"
    return EMPTY_ARRAY + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"


def dtype_of(code: str, state: bytes = b"") -> bytes:
    return DTYPE + short(code) + b"\x89\x88\x87R" + (state + b"b" if state else b"")


FIRST = SLICE + number(0) + number(1) + number(1) + b"\x87R"
ONE, TWO = range_index(number(1)), range_index(number(2))
DOUBLES = array_of(dtype_of("f8"), length=2, data=b"C\x10" + bytes(16))
HUGE = b"\x8a\x09" + (2**63 + 5).to_bytes(9, "little")

# A structured dtype that says of an object field that it is plain bytes: numpy would take the
# bytes for addresses of objects.
FORGED = dtype_of(
    "V8",
    b"(K\x03"
    + short("|")
    + b"N"
    + short("f")
    + b"\x85}"
    + short("f")
    + dtype_of("O8")
    + b"K\x00\x86sK\x08K\x01K\x00t",
)

ABUSES: dict[str, bytes] = {
    "class instead of an instance": FRAME + b".",
    "attributes put into a class": FRAME + b"}" + short("_mgr") + b"NsbN.",
    "attributes put into a call": b"\x80\x04" + BLOCK + b"}" + short("a") + b"Nsb.",
    "frame without content": FRAME + b")\x81.",
    "frame with a list": FRAME + b")\x81}" + short("_mgr") + b"]sb.",
    "result called": FRAME + b")R)R.",
    "partial of another function": b"\x80\x04"
    + short("functools")
    + short("partial")
    + b"\x93"
    + RECONSTRUCT
    + b"\x85R)R.",
    "bare partial": b"\x80\x04"
    + short("functools")
    + short("partial")
    + b"\x93"
    + BLOCK
    + b"\x85R.",
    "codec that decompresses": frame_of(
        array_of(
            dtype_of("f8"),
            length=2,
            data=short("_codecs") + short("encode") + b"\x93" + long("x") + short("zip") + b"\x86R",
        ),
        placement=FIRST,
        names=ONE,
        rows=TWO,
    ),
    "forged structured dtype": frame_of(
        array_of(FORGED, length=2, data=b"C\x10" + b"A" * 16), placement=FIRST, names=ONE, rows=TWO
    ),
    "objects given as bytes": frame_of(
        array_of(dtype_of("O8"), length=2, data=b"C\x10" + b"A" * 16),
        placement=FIRST,
        names=ONE,
        rows=TWO,
    ),
    "numbers given as objects": frame_of(
        array_of(dtype_of("f8"), length=2, data=b"](K\x01K\x02e"),
        placement=FIRST,
        names=ONE,
        rows=TWO,
    ),
    "fewer bytes than the shape needs": frame_of(
        array_of(dtype_of("f8"), length=2, data=b"C\x08" + bytes(8)),
        placement=FIRST,
        names=ONE,
        rows=TWO,
    ),
    "fewer objects than the shape needs": frame_of(
        array_of(dtype_of("O8"), length=2, data=b"]K\x01a"), placement=FIRST, names=ONE, rows=TWO
    ),
    "negative length": frame_of(
        array_of(dtype_of("f8"), length=-2, data=b"C\x10" + bytes(16)),
        placement=FIRST,
        names=ONE,
        rows=TWO,
    ),
    "place out of the frame": frame_of(
        DOUBLES, placement=SLICE + number(7) + number(8) + number(1) + b"\x87R", names=ONE, rows=TWO
    ),
    "slice of a list": frame_of(
        DOUBLES, placement=SLICE + b"]" + number(1) + number(1) + b"\x87R", names=ONE, rows=TWO
    ),
    "name without a column": frame_of(DOUBLES, placement=FIRST, names=TWO, rows=TWO),
    "names without end": frame_of(DOUBLES, placement=FIRST, names=range_index(HUGE), rows=TWO),
    "rows without end": frame_of(DOUBLES, placement=FIRST, names=ONE, rows=range_index(HUGE)),
    "fewer rows than cells": frame_of(DOUBLES, placement=FIRST, names=ONE, rows=ONE),
    "index of another class": frame_of(
        DOUBLES, placement=FIRST, names=ONE, rows=NEW_INDEX + MANAGER + b"}\x86R"
    ),
    "class in a cell": frame_of(
        array_of(dtype_of("O8"), length=2, data=b"](" + MANAGER + b"Ne"),
        placement=FIRST,
        names=ONE,
        rows=TWO,
    ),
    "list in a cell": frame_of(
        array_of(dtype_of("O8"), length=2, data=b"](]Ne"), placement=FIRST, names=ONE, rows=TWO
    ),
}


@pytest.mark.parametrize("case", ABUSES)
def test_read_frame_admitted_names_put_together_otherwise_are_refused(
    tmp_path: Path, case: str
) -> None:
    with pytest.raises(UnsafePickleError, match=r"table\.pkl"):
        read_frame(save(tmp_path, ABUSES[case]))


def test_frame_of_whole_parts_is_read(tmp_path: Path) -> None:
    """Show that what the abuses above change is all that is wrong with them."""
    content = frame_of(DOUBLES, placement=FIRST, names=ONE, rows=TWO)
    assert read_frame(save(tmp_path, content)).to_numpy().tolist() == [[0.0], [0.0]]


def arrow_pickle(*, length: int, offset: int, ends: list[int], content: bytes) -> bytes:
    """Return the pickle of a frame whose text is in hand made Arrow buffers."""
    frame = pd.DataFrame({"a": pd.Series(["xx", "yy"], dtype="string[pyarrow]")})
    packed = pickle.dumps(frame, protocol=4)
    offsets = struct.pack("<3q", 0, 2, 4)
    assert packed.count(offsets) == 1
    assert packed.count(b"K\x02K\x00K\x00") == 1
    packed = packed.replace(offsets, struct.pack("<3q", *ends))
    packed = packed.replace(b"xxyy", content)
    numbers = bytes([75, length, 75, 0, 75, offset])  # opcode BININT1 is 75
    return packed.replace(b"K\x02K\x00K\x00", numbers)


@pytest.mark.parametrize(
    ("length", "offset", "ends", "content"),
    [
        (9, 0, [0, 2, 4], b"xxyy"),
        (2, 1, [0, 2, 4], b"xxyy"),
        (2, 0, [0, 2, 4000], b"xxyy"),
        (2, 0, [0, 5, 4], b"xxyy"),
        (2, 0, [-2, 2, 4], b"xxyy"),
        (2, 0, [0, 2, 4], b"\xff\xffyy"),
    ],
)
def test_read_frame_arrow_buffers_that_lie_are_refused(
    tmp_path: Path, length: int, offset: int, ends: list[int], content: bytes
) -> None:
    whole = arrow_pickle(length=2, offset=0, ends=[0, 2, 4], content=b"xxyy")
    assert read_frame(save(tmp_path, whole))["a"].tolist() == ["xx", "yy"]
    forged = arrow_pickle(length=length, offset=offset, ends=ends, content=content)
    with pytest.raises(UnsafePickleError):
        read_frame(save(tmp_path, forged))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80", b"<html>not found</html>", b"cos", b"Vpersistent\nQ.", pickle.dumps(1)[:-1]],
)
def test_read_frame_damaged_file_says_so(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"table\.pkl.*not a whole pickle"):
        read_frame(save(tmp_path, content))


def test_read_frame_git_lfs_pointer_says_how_to_fetch(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    with pytest.raises(DataError, match="git lfs pull"):
        read_frame(save(tmp_path, pointer))


@pytest.mark.parametrize("name", ["absent.pkl", "."])
def test_read_frame_no_such_file_says_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        read_frame(tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, "text", pd.Series([1.0])])
def test_read_frame_pickle_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(UnsafePickleError):
        read_frame(save(tmp_path, content))


def test_read_frame_unsupported_dtype_is_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"when": pd.to_datetime(["2020-01-01"])})
    with pytest.raises(UnsafePickleError, match="DatetimeArray"):
        read_frame(save(tmp_path, frame))


def hoards_memory(content: bytes) -> bool:
    """Return whether a pickle asks for a memo larger than itself: that costs memory only."""
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(content)):
            if "PUT" in opcode.name and int(str(argument)) > len(content):
                return True
    except (ValueError, UnicodeDecodeError, IndexError):
        pass
    return False


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    base=st.sampled_from(FRAMES),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_read_frame_any_damage_gives_a_frame_or_our_error(
    tmp_path: Path, base: Path, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(base.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    assume(not hoards_memory(bytes(content)))
    file = save(tmp_path, bytes(content))
    with contextlib.suppress(DataError, UnsafePickleError):
        assert isinstance(read_frame(file), pd.DataFrame)
