from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from visreward.core.errors import DataError
from visreward.data import json_rows
from visreward.data.json_rows import iterate_json_list

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def written(folder: Path, text: str) -> Path:
    file = folder / "rows.json"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    return file


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
@given(
    rows=st.lists(VALUES, max_size=6),
    chunk=st.integers(1, 9),
    indent=st.sampled_from([None, 1]),
    is_ascii=st.booleans(),
)
def test_iterate_json_list_any_chunk_size_gives_what_json_loads_does(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: list[object],
    chunk: int,
    indent: int | None,
    is_ascii: bool,
) -> None:
    monkeypatch.setattr(json_rows, "CHUNK_CHARS", chunk)
    separators = (" ,\n", " : ") if indent is None else None
    text = json.dumps(rows, indent=indent, separators=separators, ensure_ascii=is_ascii)
    file = written(tmp_path, text)
    assert list(iterate_json_list(file)) == rows


def test_iterate_json_list_byte_order_mark_is_passed(tmp_path: Path) -> None:
    assert list(iterate_json_list(written(tmp_path, "\ufeff [1, 2]"))) == [1, 2]


def test_iterate_json_list_torn_file_yields_the_rows_before_it(tmp_path: Path) -> None:
    rows = iterate_json_list(written(tmp_path, '[{"a": 1}, {"a": 2}, {"a"'))
    assert [next(rows), next(rows)] == [{"a": 1}, {"a": 2}]
    with pytest.raises(DataError, match=r"rows\.json' cannot be read as JSON from row 2 on"):
        next(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with '', expected a list"),
        ('{"a": 1}', "begins with '{\"a\": 1}', expected a list"),
        ("[", "from row 0 on"),
        ("[1,]", "from row 1 on: Expecting value"),
        ("[1 2]", "from row 0 on: '2' follows it"),
        ("[1", "from row 0 on: '' follows it"),
        ("[1] 2", "'2' follows the list"),
        ("[" + "[" * 200_000, "from row 0 on: .*recursion"),
        ("[" + "9" * 5000 + "]", "from row 0 on: .*digits"),
    ],
)
def test_iterate_json_list_what_is_no_list_is_named(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        list(iterate_json_list(written(tmp_path, text)))


def test_iterate_json_list_endless_row_is_not_read_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "CHUNK_CHARS", 10)
    monkeypatch.setattr(json_rows, "MAX_VALUE_CHARS", 50)
    file = written(tmp_path, '[1, "' + "x" * 1000 + '"]')
    with pytest.raises(DataError, match="from row 1 on: Unterminated string"):
        list(iterate_json_list(file))


def test_iterate_json_list_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json' cannot be read"):
        list(iterate_json_list(tmp_path / "absent.json"))
    (tmp_path / "latin.json").write_bytes('["é"]'.encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.json' cannot be read as JSON: .*utf-8"):
        list(iterate_json_list(tmp_path / "latin.json"))
