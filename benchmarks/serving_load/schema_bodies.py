"""Request bodies drawn from a server's own schema, and bodies that are nearly right."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
from hypothesis import strategies as st

JSON, MSGPACK = "application/json", "application/msgpack"

Values = st.SearchStrategy[Any]

anything: Values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["/etc/passwd", "http://127.0.0.1/", "file:///etc/passwd", "\0", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def from_schema(
    schema: Mapping[str, Any], whole: Mapping[str, Any], known: Mapping[str, Sequence[str]]
) -> Values:
    """Return values that fit a JSON schema.

    Args:
        schema: Of the value; `$ref`, `anyOf`, `enum`, `const`, objects, arrays and plain types.
        whole: The document that `$ref` points into.
        known: Texts for fields of these names, beside others; the server knows them.
    """

    def drawn(part: Mapping[str, Any], name: str) -> Values:
        if "$ref" in part:
            return st.deferred(lambda: drawn(_target(part["$ref"], whole), name))
        if "anyOf" in part:
            return st.one_of([drawn(option, name) for option in part["anyOf"]])
        if "enum" in part or "const" in part:
            return st.sampled_from(part.get("enum", [part.get("const")]))
        kind = part.get("type")
        if kind == "object":
            return _object(part, drawn)
        if kind == "array":
            return st.lists(drawn(part.get("items", {}), name), max_size=4)
        return _plain(part, known.get(name, ()))

    return drawn(schema, "")


def _target(reference: str, whole: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = whole
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    target: Mapping[str, Any] = found
    return target


def _object(part: Mapping[str, Any], drawn: Any) -> Values:  # noqa: ANN401  from_schema's own
    fields = part.get("properties", {})
    needed = set(part.get("required", ()))
    return st.fixed_dictionaries(
        {name: drawn(field, name) for name, field in fields.items() if name in needed},
        optional={name: drawn(field, name) for name, field in fields.items() if name not in needed},
    )


def _plain(part: Mapping[str, Any], known: Sequence[str]) -> Values:
    kind = part.get("type")
    low = part.get("exclusiveMinimum", part.get("minimum"))
    if kind == "string":
        strange = st.text(max_size=120)
        return st.one_of([st.sampled_from(known)] * 4 + [strange]) if known else strange
    if kind == "integer":
        return st.integers(low, 2**40)
    if kind == "number":
        return st.floats(low, allow_nan=False)
    return {"boolean": st.booleans(), "null": st.none()}.get(str(kind), anything)


@st.composite
def nearly(draw: st.DrawFn, values: Values) -> Any:  # noqa: ANN401  JSON values
    """Return a value that fits, with up to three places changed."""
    value = copy.deepcopy(draw(values))
    for _ in range(draw(st.integers(0, 3))):
        value = _changed(draw, value)
    return value


def _changed(draw: st.DrawFn, value: Any) -> Any:  # noqa: ANN401  JSON values
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        if draw(st.booleans()):
            return {key: each for key, each in value.items() if key != name}
        return {**value, name: _changed(draw, value[name])}
    if isinstance(value, dict) and draw(st.booleans()):
        return {**value, draw(st.text(max_size=8)): draw(anything)}
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _changed(draw, value[place]), *value[place + 1 :]]
    return draw(anything)


@st.composite
def raw_bodies(draw: st.DrawFn, values: Values) -> tuple[str, bytes]:
    """Return a content type and a body, at times with bytes changed, cut off or put in."""
    value = draw(nearly(values))
    kind = draw(st.sampled_from((JSON, MSGPACK)))
    if kind == JSON:
        body = json.dumps(value).encode("utf-8", "surrogatepass")
    else:
        try:
            body = msgpack.packb(value, unicode_errors="surrogatepass")
        except OverflowError:
            body = b"\xc1"
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(body)))
        body = body[:place] + draw(st.binary(max_size=6)) + body[place + draw(st.integers(0, 6)) :]
    if draw(st.integers(0, 19)) == 0:
        kind = draw(
            st.sampled_from((JSON, MSGPACK, "text/plain", "multipart/form-data; boundary=b"))
        )
    return kind, body
