"""The reader of plain pickles: what it reads is what Python wrote, and it can do nothing else."""

from __future__ import annotations

import copyreg
import os
import pickle
import pickletools
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visreward.core.errors import UnsafePickleError
from visreward.serving.plain_pickle import (
    MAX_DEPTH,
    MAX_INT_BYTES,
    MAX_VALUES,
    read_plain,
    write_plain,
)

INTS = st.integers(-(2 ** (8 * MAX_INT_BYTES - 1)), 2 ** (8 * MAX_INT_BYTES - 1) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
PLAIN = st.recursive(
    st.none() | st.booleans() | INTS | st.floats(allow_nan=False) | TEXT | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(TEXT, inner, max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN, st.sampled_from([3, 4, 5]))
def test_read_gives_what_python_wrote(value: Any, protocol: int) -> None:
    assert read_plain(pickle.dumps(value, protocol=protocol)) == value


@given(PLAIN)
def test_python_reads_what_was_written_and_so_does_the_reader(value: Any) -> None:
    written = write_plain(value)
    assert pickle.loads(written) == value
    assert read_plain(written) == value


def test_read_protocol_2_without_bytes() -> None:
    value = {"prompts": ["a"] * 300, "strict": True, "n": [1, -1, 300, 70_000, -(2**31), 2**40]}
    assert read_plain(pickle.dumps(value, protocol=2)) == value


def test_read_large_values_and_repeated_ones() -> None:
    meta = {"prompt": "x"}
    value = {"images": [bytes(70_000), b"a" * 300], "meta_datas": [meta] * 64, "text": "b" * 70_000}
    assert read_plain(pickle.dumps(value)) == value
    assert read_plain(write_plain({"a": [meta, meta]})) == {"a": [meta, meta]}


class Reduced:
    """Pickles into a call of whatever it is given."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts


class Slotted:
    """Pickles into a new object and its state."""

    def __init__(self) -> None:
        self.state = 1


def persistent(canary: Path) -> bytes:
    return b"\x80\x04" + b"\x8c" + bytes([len(str(canary))]) + str(canary).encode() + b"Q."


CRAFTED: dict[str, Callable[[Path], bytes]] = {
    "STACK_GLOBAL, REDUCE": lambda canary: pickle.dumps(Reduced(Path.touch, (canary,)), 4),
    "GLOBAL, REDUCE": lambda canary: pickle.dumps(Reduced(os.system, (f"touch {canary}",)), 2),
    "old GLOBAL": lambda canary: f"cos\nsystem\n(S'touch {canary}'\ntR.".encode(),
    "old GLOBAL after PROTO": lambda c: b"\x80\x04" + f"cos\nsystem\n(S'touch {c}'\ntR.".encode(),
    "INST": lambda canary: b"\x80\x02" + f"(S'touch {canary}'\nios\nsystem\n.".encode(),
    "OBJ": lambda canary: b"\x80\x02" + f"(cos\nsystem\nS'touch {canary}'\no.".encode(),
    "NEWOBJ": lambda _: pickle.dumps(Slotted(), 2),
    "NEWOBJ_EX": lambda _: b"\x80\x04\x8c\x02os\x8c\x06system\x93)}\x92.",
    "BUILD": lambda _: b"\x80\x04}}b.",
    "EXT1": lambda _: b"\x80\x02\x82\x01.",
    "EXT4": lambda _: b"\x80\x02\x84\x01\0\0\0.",
    "PERSID": lambda canary: b"\x80\x02" + f"P{canary}\n.".encode(),
    "BINPERSID": persistent,
    "hidden in data": lambda canary: pickle.dumps(
        {"images": [b"a"], "prompts": [Reduced(Path.touch, (canary,))]}
    ),
    "hidden as key": lambda canary: pickle.dumps({Reduced(Path.touch, (canary,)): 1}),
    "after the end": lambda canary: pickle.dumps(1) + pickle.dumps(Reduced(Path.touch, (canary,))),
    "set": lambda _: pickle.dumps({"a"}),
    "frozenset": lambda _: pickle.dumps(frozenset("a")),
    "bytearray": lambda _: pickle.dumps(bytearray(b"a"), 5),
    "buffer": lambda _: b"\x80\x05\x97.",
    "NumPy number": lambda _: pickle.dumps({"scores": [np.float32(1.0)]}),
    "NumPy array": lambda _: pickle.dumps(np.zeros(3)),
    "ordered dict": lambda _: pickle.dumps(OrderedDict(a=1)),
    "class": lambda _: pickle.dumps(Path),
    "bytes of protocol 2": lambda _: pickle.dumps(b"a", 2),
    "old text": lambda _: b"\x80\x02S'a'\n.",
    "eval": lambda canary: pickle.dumps(Reduced(eval, (f"open({str(canary)!r}, 'w')",))),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_read_crafted_pickle_is_refused_and_leaves_no_trace(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafePickleError, match="is no pickle of plain data"):
        read_plain(CRAFTED[name](tmp_path / "canary"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [name for name in CRAFTED if "REDUCE" in name or "hidden" in name])
def test_crafted_pickles_work_when_really_unpickled(name: str, tmp_path: Path) -> None:
    # The canaries above would prove nothing if the pickles could not leave them.
    canary = tmp_path / "canary"
    try:
        pickle.loads(CRAFTED[name](canary))
    except TypeError:
        assert name == "hidden as key"
    assert canary.exists()


def test_reader_knows_no_opcode_that_calls_or_names_anything(tmp_path: Path) -> None:
    copyreg.add_extension("os", "system", 0x77)
    try:
        active = {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ"}
        active |= {"NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER"}
        codes = {opcode.name: opcode.code.encode("latin-1") for opcode in pickletools.opcodes}
        for name in active:
            for rest in (b"\x77\0\0\0.", b"os\nsystem\n."):
                content = b"\x80\x04NN(" + codes[name] + rest
                with pytest.raises(UnsafePickleError, match="has the opcode 0x"):
                    read_plain(content)
    finally:
        copyreg.remove_extension("os", "system", 0x77)


def nested(depth: int) -> bytes:
    return b"\x80\x04" + b"(" * depth + b"N" + b"t" * depth + b"."


def doubled(times: int) -> bytes:
    """Return a list of two of the list before, which holds two of the one before it."""
    step = b"".join(
        b"](h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(times)
    )
    return b"\x80\x04(]q\0" + step + b"t."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (nested(MAX_DEPTH + 1), "nested more than"),
        (nested(2000), "nested more than"),
        (b"\x80\x04]q\0h\0a.", "nested more than"),
        (b"\x80\x04}q\0\x8c\1ah\0s.", "nested more than"),
        (doubled(15), "more than 20000 values"),
        (b"\x80\x04](" + b"N" * (MAX_VALUES + 1) + b"e.", "more than 20000 values"),
        (b"\x80\x04N" + b"q\0" * 100_000 + b".", "more than 80000 opcodes"),
        (b"\x80\x04\x8a\x21" + b"\x7f" * 33 + b".", "whole number of 33 bytes"),
        (b"\x80\x04}K\1K\1s.", "a key that is not text"),
        (b"\x80\x01N.", "protocol 2 to 5"),
        (b"\x80\x06N.", "protocol 2 to 5"),
        (b"N.", "protocol 2 to 5"),
        (b"", "is damaged"),
        (b"\x80", "is damaged"),
        (b"\x80\x04", "is damaged"),
        (b"\x80\x04.", "is damaged"),
        (b"\x80\x04NN.", "is damaged"),
        (b"\x80\x04(.", "is damaged"),
        (b"\x80\x04N.N", "is damaged"),
        (b"\x80\x04e.", "is damaged"),
        (b"\x80\x04(e.", "is damaged"),
        (b"\x80\x04N(Ne.", "is damaged"),
        (b"\x80\x04}(\x8c\1au.", "is damaged"),
        (b"\x80\x04(N\x86.", "is damaged"),
        (b"\x80\x04h\x07.", "is damaged"),
        (b"\x80\x04\x80\x04N.", "is damaged"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**63) + b"a.", "is damaged"),
        (b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"a.", "is damaged"),
        (b"\x80\x04\x8c\2\xff\xfe.", "is damaged"),
        (b"\x80\x04\x8c\3\xed\xa0\x80.", "is damaged"),
        (b"\x80\x04r\xff\xff\xff\xff.", "is damaged"),
    ],
)
def test_read_damaged_or_boundless_pickle_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(UnsafePickleError, match=message):
        read_plain(content)


def test_read_memo_place_far_away_costs_nothing() -> None:
    # Python's own reader makes a table of four billion places for it.
    assert read_plain(b"\x80\x04Nr\xff\xff\xff\x7fj\xff\xff\xff\x7f\x86.") == (None, None)


@given(st.binary(max_size=60))
def test_read_any_bytes_is_plain_or_refused(content: bytes) -> None:
    try:
        value = read_plain(b"\x80\x04" + content)
    except UnsafePickleError:
        return
    written = write_plain(value)
    assert write_plain(read_plain(written)) == written


@pytest.mark.parametrize(
    "value", [{"a": {1}}, [object()], Path("a"), 2 ** (8 * MAX_INT_BYTES), np.float32(1)]
)
def test_write_what_is_not_plain_is_refused(value: Any) -> None:
    with pytest.raises(UnsafePickleError, match=r"it (would hold|has)"):
        write_plain(value)
