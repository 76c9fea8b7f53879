"""The part of the pickle format that holds plain data, read and written without `pickle`.

flow_grpo's reward servers speak pickle, and unpickling what a stranger sends runs what the stranger
wants. Here nothing can be run: this reader knows the opcodes that build dict, list, tuple, bytes,
str, int, float, bool and None, has no opcode that names a function or a class, and refuses a
pickle at the first other one. It allocates no more than the pickle's own size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias, TypeVar

from visreward.core.errors import UnsafePickleError

C = TypeVar("C", list[Any], dict[str, Any])  # items are plain

Plain: TypeAlias = (
    bool | int | float | str | bytes | list[Any] | tuple[Any, ...] | dict[str, Any] | None
)
"""What a plain pickle holds; the items of containers are plain again."""

MAX_DEPTH: Final = 16
MAX_VALUES: Final = 20_000
MAX_OPCODES: Final = 4 * MAX_VALUES
MAX_INT_BYTES: Final = 32

_PROTOCOLS: Final = range(2, 6)
_WRITTEN_PROTOCOL: Final = 4
_CODES: Final = {
    "PROTO": b"\x80",
    "FRAME": b"\x95",
    "STOP": b".",
    "NONE": b"N",
    "NEWTRUE": b"\x88",
    "NEWFALSE": b"\x89",
    "EMPTY_LIST": b"]",
    "EMPTY_DICT": b"}",
    "EMPTY_TUPLE": b")",
    "MARK": b"(",
    "BININT": b"J",
    "BININT1": b"K",
    "BININT2": b"M",
    "BINFLOAT": b"G",
    "SHORT_BINUNICODE": b"\x8c",
    "BINUNICODE": b"X",
    "BINUNICODE8": b"\x8d",
    "SHORT_BINBYTES": b"C",
    "BINBYTES": b"B",
    "BINBYTES8": b"\x8e",
    "LONG1": b"\x8a",
    "TUPLE": b"t",
    "TUPLE1": b"\x85",
    "TUPLE2": b"\x86",
    "TUPLE3": b"\x87",
    "APPEND": b"a",
    "APPENDS": b"e",
    "SETITEM": b"s",
    "SETITEMS": b"u",
    "MEMOIZE": b"\x94",
    "BINPUT": b"q",
    "LONG_BINPUT": b"r",
    "BINGET": b"h",
    "LONG_BINGET": b"j",
}
"""All opcodes that are known here; Python's pickletools describes each."""

_NAMES: Final = {code[0]: name for name, code in _CODES.items()}


class _Mark:
    """Where a container's items begin on the stack."""


_MARK: Final = _Mark()

_CONSTANTS: Final[dict[str, Callable[[], Plain | _Mark]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
_NUMBERS: Final = {"BININT": "<i", "BININT1": "<B", "BININT2": "<H", "BINFLOAT": ">d"}
_SIZED: Final = {  # what gives the length, and what the bytes then are
    "SHORT_BINUNICODE": ("<B", "str"),
    "BINUNICODE": ("<I", "str"),
    "BINUNICODE8": ("<Q", "str"),
    "SHORT_BINBYTES": ("<B", "bytes"),
    "BINBYTES": ("<I", "bytes"),
    "BINBYTES8": ("<Q", "bytes"),
    "LONG1": ("<B", "int"),
}
_PUTS: Final = {"BINPUT": "<B", "LONG_BINPUT": "<I"}
_GETS: Final = {"BINGET": "<B", "LONG_BINGET": "<I"}
_TUPLES: Final = {"TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_plain(content: bytes) -> Plain:
    """Return what a plain pickle of protocol 2 to 5 holds.

    Raises:
        UnsafePickleError: if it holds anything else, is damaged, or is nested or repeated beyond
            what data is.
    """
    reader = _Reader(content)
    try:
        value = reader.run()
    except (IndexError, KeyError, TypeError, ValueError, struct.error):
        raise _refused("it is damaged") from None
    _check_size(value)
    return value


def write_plain(value: Plain) -> bytes:
    """Return plain data as a pickle that any Python can read.

    Raises:
        UnsafePickleError: if a value is of another type, or nested too deep.
    """
    _check_size(value)
    body = b"".join(_written(value))
    return _CODES["PROTO"] + bytes([_WRITTEN_PROTOCOL]) + body + _CODES["STOP"]


class _Reader:
    """A stack, a memo, and a place in the bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        self._stack: list[Any] = []  # plain values and marks
        self._memo: dict[int, Any] = {}  # likewise

    def run(self) -> Plain:
        """Follow the opcodes to the end; the first must name the protocol."""
        if self._name() != "PROTO" or self._number("<B") not in _PROTOCOLS:
            raise _refused("it is not of protocol 2 to 5")
        num_left = MAX_OPCODES
        while (name := self._name()) != "STOP":
            num_left -= 1
            if not num_left:
                raise _refused(f"it has more than {MAX_OPCODES} opcodes")
            if name == "FRAME":
                self._number("<Q")
            else:
                self._step(name)
        (value,) = self._stack
        if value is _MARK or self._at != len(self._content):
            raise ValueError("no value at the end, or more than one")
        return value  # type: ignore[no-any-return]  # plain: only plain values are pushed

    def _step(self, name: str) -> None:
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _NUMBERS:
            self._stack.append(self._number(_NUMBERS[name]))
        elif name in _SIZED:
            self._stack.append(self._sized(*_SIZED[name]))
        elif name in _TUPLES:
            self._stack.append(tuple(self._items(count=_TUPLES[name])))
        elif name in ("APPEND", "APPENDS"):
            items = self._items(count=1 if name == "APPEND" else None)
            self._container(list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._items(count=2 if name == "SETITEM" else None)
            if not all(isinstance(key, str) for key in items[::2]):
                # Numbers can be chosen so that all have one hash, which takes hours.
                raise _refused("a dict has a key that is not text")
            self._container(dict).update(zip(items[::2], items[1::2], strict=True))
        else:
            self._remember(name)

    def _remember(self, name: str) -> None:
        """Do what concerns the memo."""
        if name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif name in _PUTS:
            self._memo[self._number(_PUTS[name])] = self._stack[-1]
        elif name in _GETS:
            self._stack.append(self._memo[self._number(_GETS[name])])
        else:
            raise ValueError(name)

    def _name(self) -> str:
        code = self._content[self._at]
        self._at += 1
        if code not in _NAMES:
            raise _refused(f"it has the opcode {code:#04x}")
        return _NAMES[code]

    def _taken(self, num_bytes: int) -> bytes:
        end = self._at + num_bytes
        if end > len(self._content):
            raise ValueError("the pickle ends early")
        taken = self._content[self._at : end]
        self._at = end
        return taken

    def _number(self, form: str) -> Any:  # noqa: ANN401  int or float, as the form says
        return struct.unpack(form, self._taken(struct.calcsize(form)))[0]

    def _sized(self, form: str, kind: str) -> Plain:
        taken = self._taken(self._number(form))
        if kind == "bytes":
            return taken
        if kind == "str":
            return taken.decode("utf-8")
        if len(taken) > MAX_INT_BYTES:
            raise _refused(f"it has a whole number of {len(taken)} bytes")
        return int.from_bytes(taken, "little", signed=True)

    def _items(self, count: int | None = None) -> list[Any]:  # plain values
        """Take the last values off the stack, or all of them back to the last mark."""
        if count is None:
            start = len(self._stack)
            while start and self._stack[start - 1] is not _MARK:
                start -= 1
            if not start:
                raise ValueError("there is no mark")
            items = self._stack[start:]
            del self._stack[start - 1 :]
            return items
        if count > len(self._stack) or any(value is _MARK for value in self._stack[-count:]):
            raise ValueError("too few values")
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def _container(self, kind: type[C]) -> C:
        container = self._stack[-1]
        if not isinstance(container, kind):
            raise TypeError("items for something that takes none")
        return container


def _check_size(value: object) -> None:
    """Refuse what is nested too deep, in itself, or grows beyond measure when walked through."""
    num_values = 1
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _refused(f"it is nested more than {MAX_DEPTH} deep")
        parts: Iterable[object] = ()
        if isinstance(each, dict):
            num_values += 2 * len(each)
            parts = (part for pair in each.items() for part in pair)
        elif isinstance(each, list | tuple):
            num_values += len(each)
            parts = each
        if num_values > MAX_VALUES:
            raise _refused(f"it has more than {MAX_VALUES} values")
        waiting += [(part, depth + 1) for part in parts]


def _written(value: object) -> Iterator[bytes]:
    """Yield the opcodes of one value."""
    if value is None or isinstance(value, bool):
        yield _CODES["NONE" if value is None else "NEWTRUE" if value else "NEWFALSE"]
    elif isinstance(value, int):
        size = (value if value >= 0 else ~value).bit_length() // 8 + 1
        if size > MAX_INT_BYTES:
            raise _refused(f"it has a whole number of {size} bytes")
        yield _CODES["LONG1"] + bytes([size]) + value.to_bytes(size, "little", signed=True)
    elif isinstance(value, float):
        yield _CODES["BINFLOAT"] + struct.pack(">d", value)
    elif isinstance(value, str | bytes):
        raw = value.encode() if isinstance(value, str) else value
        name = "BINUNICODE8" if isinstance(value, str) else "BINBYTES8"
        yield _CODES[name] + struct.pack("<Q", len(raw))
        yield raw
    elif isinstance(value, list | tuple):
        start, end = ("EMPTY_LIST", "APPENDS") if isinstance(value, list) else ("", "TUPLE")
        yield _CODES.get(start, b"") + _CODES["MARK"]
        for item in value:
            yield from _written(item)
        yield _CODES[end]
    elif isinstance(value, dict):
        yield _CODES["EMPTY_DICT"] + _CODES["MARK"]
        for pair in value.items():
            for part in pair:
                yield from _written(part)
        yield _CODES["SETITEMS"]
    else:
        raise _refused(f"it would hold a {type(value).__name__}")


def _refused(reason: str) -> UnsafePickleError:
    return UnsafePickleError(
        f"This is no pickle of plain data: {reason}. Take dict, list, tuple, bytes, str, int, "
        "float, bool and None only, in protocol 2 to 5."
    )
