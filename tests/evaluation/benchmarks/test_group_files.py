"""Groups as JSON lines: read, written, and what is said of bad rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visreward.core.errors import DataError
from visreward.data.preferences import ImageBytes, JudgedImage, PreferenceRow
from visreward.evaluation.benchmarks.group_files import is_group_file, read_groups, write_groups
from visreward.evaluation.benchmarks.records import BenchGroup

PNG = b"\x89PNG no picture, but it begins like one"


def line(number: int, **changes: Any) -> dict[str, Any]:
    candidates = [{"image": f"{number}a.png", "rank": 1}, {"image": f"{number}b.png", "rank": 2}]
    return {"id": f"g{number}", "prompt": f"p{number}", "candidates": candidates, **changes}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_read_groups_keeps_every_field_and_places_paths(tmp_path: Path) -> None:
    candidates = [
        {"image": "a.png", "rank": 2, "human": 1.5, "generator": "one"},
        {"image": "/b.png", "rank": 1, "human": 3},
    ]
    row = line(0, source_image="s.png", candidates=candidates, category="c", cluster="k", more=1)
    group = read_groups(write(tmp_path / "g.jsonl", [row])).groups[0]
    assert group == BenchGroup(
        row=PreferenceRow(
            id="g0",
            prompt="p0",
            images=(
                JudgedImage(image=tmp_path / "a.png", rank=2, overall=1.5, generator="one"),
                JudgedImage(image=Path("/b.png"), rank=1, overall=3.0),
            ),
            sources=(tmp_path / "s.png",),
        ),
        category="c",
        cluster="k",
    )


def test_read_groups_five_rows_one_bad_names_it_and_keeps_the_others(tmp_path: Path) -> None:
    bad = line(2, candidates=[{"image": "a.png", "rank": 1}, {"image": "b.png"}])
    path = write(tmp_path / "g.jsonl", [line(0), line(1), bad, line(3), line(4)])
    data = read_groups(path)
    assert [group.row.id for group in data.groups] == ["g0", "g1", "g3", "g4"]
    assert data.groups[-1].row.id == "g4"
    assert [group.row.id for group in data.groups[1:3]] == ["g1", "g3"]
    (problem,) = data.problems
    assert (problem.count, problem.is_warning) == (1, False)
    assert f"Row 2 of '{path}' ranks 1 of 2 candidates" in problem.examples[0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (line(0, candidates=[{"image": "a.png", "rank": 0}] * 2), "0 in 'rank'"),
        (line(0, candidates=[{"image": "a.png", "rank": "1"}] * 2), "'1' in 'rank'"),
        (line(0, candidates=[{"image": "a.png", "rank": True}] * 2), "True in 'rank'"),
        (line(0, candidates=[{"image": "a.png"}] * 2), "neither 'rank' nor 'human'"),
        (line(0, candidates=[{"image": "a.png", "rank": 1}]), "nothing to compare"),
        (line(0, candidates=[]), "[] in 'candidates'"),
        (line(0, candidates="a.png"), "'a.png' in 'candidates'"),
        (line(0, candidates=[{"rank": 1}, {"rank": 2}]), "None in 'image'"),
        (line(0, candidates=["a.png", "b.png"]), "is a str"),
        (line(0, candidates=[{"image": "a.png", "human": float("nan")}]), "nan in 'human'"),
        (line(0, prompt=" "), "' ' in 'prompt'"),
        (line(0, id=True), "True in 'id'"),
        (line(0, source_image=[]), "[] in 'source_image'"),
        (line(0, source_image=["a.png", 3]), "3] in 'source_image'"),
        (["a"], "is a list"),
    ],
)
def test_read_groups_malformed_row_says_what_is_wrong(tmp_path: Path, row: Any, said: str) -> None:
    path = write(tmp_path / "g.jsonl", [row, line(1)])
    (problem,) = read_groups(path).problems
    assert said in problem.examples[0]


def test_read_groups_torn_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "g.jsonl", [line(0)])
    path.write_text(path.read_text() + '\n{"id": "g1", "pro', encoding="utf-8")
    data = read_groups(path)
    assert len(data.groups) == 1
    assert "Row 2" in data.problems[0].examples[0]


@pytest.mark.parametrize("text", ["", "\n\n", "[]\n"])
def test_read_groups_without_any_group_stops(tmp_path: Path, text: str) -> None:
    path = tmp_path / "g.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="No line of"):
        read_groups(path)


def test_read_groups_missing_file_stops(tmp_path: Path) -> None:
    assert not is_group_file(tmp_path / "g.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        read_groups(tmp_path / "g.jsonl")


def test_write_groups_is_read_back_and_images_of_tables_become_files(tmp_path: Path) -> None:
    held = ImageBytes(name="held", data=PNG)
    images = tmp_path / "images"
    written = [
        BenchGroup(
            row=PreferenceRow(
                id=f"g{number}",
                prompt="p",
                images=(
                    JudgedImage(image=held, rank=1, generator="one"),
                    JudgedImage(image=images / "b.png", rank=2, overall=0.5),
                ),
                sources=(Path("/far/s.png"),),
            ),
            category="c",
            cluster="k",
        )
        for number in range(2)
    ]
    path = tmp_path / "out" / "g.jsonl"
    assert write_groups(written, path) == 2
    data = read_groups(path)
    assert not data.problems
    (file,) = (tmp_path / "out" / "g_images").iterdir()
    assert file.read_bytes() == PNG
    assert file.suffix == ".png"
    for before, after in zip(written, data.groups, strict=True):
        assert after.row.images[0] == JudgedImage(image=file, rank=1, generator="one")
        assert after.row.images[1] == before.row.images[1]
        assert (after.row.id, after.row.sources) == (before.row.id, before.row.sources)
        assert (after.category, after.cluster) == ("c", "k")


def test_written_groups_without_category_are_read_again(tmp_path: Path) -> None:
    row = PreferenceRow(
        id="1",
        prompt="p",
        images=tuple(JudgedImage(image=tmp_path / f"{n}.png", rank=n) for n in (1, 2)),
    )
    group = BenchGroup(row=row, cluster="p")
    write_groups([group], tmp_path / "groups.jsonl")
    assert list(read_groups(tmp_path / "groups.jsonl").groups) == [group]
