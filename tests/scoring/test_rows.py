"""Input files: what a line may hold, and what is said about one that holds nothing usable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from visreward.core.errors import DataError
from visreward.core.types import Sample
from visreward.scoring import rows as rows_module
from visreward.scoring.records import RowError
from visreward.scoring.rows import count_lines, read_rows

GOOD = b'{"prompt": "a cat", "image": "cat.png"}'


def read(folder: Path, *lines: bytes) -> list[Sample | RowError]:
    path = folder / "rows.jsonl"
    path.write_bytes(b"\n".join(lines))
    return list(read_rows(path))


def test_rows_all_keys_become_a_sample(tmp_path: Path) -> None:
    line = {"prompt": "é", "image": "a.png", "source_image": "in/b.png", "id": 7, "extra": []}
    assert read(tmp_path, json.dumps(line).encode()) == [
        Sample(
            prompt="é",
            image=str(tmp_path / "a.png"),
            source_image=str(tmp_path / "in/b.png"),
            id="7",
        )
    ]


def test_rows_several_source_images_are_a_tuple(tmp_path: Path) -> None:
    line = {"prompt": "p", "image": "a.png", "source_image": ["b.png", "/c.png"]}
    [sample] = read(tmp_path, json.dumps(line).encode())
    assert isinstance(sample, Sample)
    assert sample.source_image == (str(tmp_path / "b.png"), "/c.png")
    assert sample.sources == sample.source_image


def test_rows_absolute_paths_and_urls_stay_as_they_are(tmp_path: Path) -> None:
    for image in ("/data/a.png", "https://example.org/a.png", ""):
        line = json.dumps({"prompt": "p", "image": image}).encode()
        assert read(tmp_path, line) == [Sample(prompt="p", image=image)]


def test_rows_byte_order_mark_blank_lines_and_no_last_line_end_are_fine(tmp_path: Path) -> None:
    found = read(tmp_path, b"\xef\xbb\xbf" + GOOD, b"", b"  \r", GOOD)
    assert len(found) == 2
    assert all(isinstance(entry, Sample) for entry in found)


@pytest.mark.parametrize(
    ("line", "phrase"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "holds a list"),
        (b"null", "holds a NoneType"),
        (b'{"image": "a.png"}', "'prompt' is missing; the keys are: image"),
        (b'{"prompt": "p", "imgae": "a"}', "'image' is missing; the keys are: imgae, prompt"),
        (b'{"prompt": 3, "image": "a"}', "'prompt' holds a int"),
        (b'{"prompt": "p", "image": null}', "'image' holds a NoneType"),
        (b'{"prompt": "p", "image": "a", "source_image": 1}', "'source_image' holds a int"),
        (b'{"prompt": "p", "image": "a", "source_image": []}', "list of other things than paths"),
        (b'{"prompt": "p", "image": "a", "source_image": ["b", 2]}', "list of other things"),
        (b'{"prompt": "p", "image": "a", "id": true}', "'id' holds a bool"),
    ],
)
def test_rows_malformed_line_is_named_and_the_others_are_read(
    tmp_path: Path, line: bytes, phrase: str
) -> None:
    first, second, third = read(tmp_path, GOOD, line, GOOD)
    assert isinstance(first, Sample)
    assert isinstance(second, RowError)
    assert second.name == "rows.jsonl line 2"
    assert phrase in second.reason
    assert isinstance(third, Sample)


def test_rows_overlong_line_is_named_and_the_next_has_its_own_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "_MAX_LINE_BYTES", 64)
    long = json.dumps({"prompt": "x" * 500, "image": "a"}).encode()
    found = read(tmp_path, GOOD, long, b"{", GOOD)
    assert [entry.name for entry in found if isinstance(entry, RowError)] == [
        "rows.jsonl line 2",
        "rows.jsonl line 3",
    ]
    assert sum(isinstance(entry, Sample) for entry in found) == 2


@pytest.mark.parametrize("lines", [[], [b"", b" "], [b"{", b"[]"]])
def test_rows_file_without_a_sample_is_refused(tmp_path: Path, lines: list[bytes]) -> None:
    with pytest.raises(DataError, match=r"No line of .*rows\.jsonl"):
        read(tmp_path, *lines)


def test_rows_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl' cannot be read: No such file"):
        list(read_rows(tmp_path / "absent.jsonl"))


def test_count_lines_missing_file_counts_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD + b"\n" + GOOD)
    assert count_lines(path) == 2
    assert count_lines(tmp_path / "absent.jsonl") == 0
