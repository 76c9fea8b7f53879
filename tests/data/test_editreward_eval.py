from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from visreward.core.errors import DataError
from visreward.data.editreward_eval import (
    AURORA_PAIRS,
    AURORA_POINTWISE,
    GENAI_BENCH_PAIRS,
    IMAGENHUB,
)
from visreward.data.preference_files import PreferenceData, PreferenceFormat
from visreward.data.preference_table import PreferenceTable


def pair(number: int, first: Any, second: Any, **changes: Any) -> dict[str, Any]:
    row = {
        "prompt": f"prompt {number}",
        "choice_dist": None,
        "path_src": f"images/{number}_src.jpg",
        "path1": f"images/{number}_1.jpg",
        "path2": f"images/{number}_2.jpg",
        "model1": "one",
        "model2": "two",
        "model1_dim1_score": first,
        "model2_dim1_score": second,
        "model1_overall_score": 0.1,
        "model2_overall_score": 0.9,
    }
    return {**row, **changes}


FIVE_PAIRS = [pair(0, 4, 2), pair(1, 2, 4), pair(2, 3, 3), pair(3, 4, 3.5), pair(4, 0, 0)]


def read(folder: Path, layout: PreferenceFormat, rows: object) -> PreferenceTable:
    name = layout.splits[0]
    (folder / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    return PreferenceData(layout, folder).split(name)


@pytest.mark.parametrize("layout", [GENAI_BENCH_PAIRS, AURORA_PAIRS])
def test_pairs_first_dimension_says_who_is_preferred(
    tmp_path: Path, layout: PreferenceFormat
) -> None:
    table = read(tmp_path, layout, FIVE_PAIRS)
    ranks = [tuple(image.rank for image in row.images) for row in table]
    assert ranks == [(1, 2), (2, 1), (1, 1), (1, 2), (1, 1)]
    row = table[3]
    assert row.prompt == "prompt 3"
    assert row.sources == (tmp_path / "images/3_src.jpg",)
    assert [image.image for image in row.images] == [
        tmp_path / "images/3_1.jpg",
        tmp_path / "images/3_2.jpg",
    ]
    assert [image.overall for image in row.images] == [4.0, 3.5]
    assert [image.generator for image in row.images] == ["one", "two"]
    assert row.category == ""


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (pair(5, None, 2), "has None in 'model1_dim1_score', expected a number"),
        (pair(5, 4, "good"), "has 'good' in 'model2_dim1_score', expected a number"),
        (pair(5, 4, float("nan")), "has nan in 'model2_dim1_score', expected a number"),
        (pair(5, 4, 2, path2="../other.jpg"), "has '../other.jpg' in 'path2', which does not lead"),
        (pair(5, 4, 2, prompt=" "), "has ' ' in 'prompt', expected text"),
        ("a row", "is a str, expected an object"),
    ],
)
def test_pairs_malformed_row_is_named(tmp_path: Path, row: object, message: str) -> None:
    table = read(tmp_path, GENAI_BENCH_PAIRS, [*FIVE_PAIRS, row])
    assert len(table) == 6
    with pytest.raises(DataError, match=f"Row 5 of .*json' {message}"):
        table[5]


def test_pairs_published_file_has_503_pairs_without_a_tie(shared_dir: Path) -> None:
    file = shared_dir / "data" / "genai_bench_edit_valid.json"
    table = PreferenceData(GENAI_BENCH_PAIRS, file).split("genai_bench_edit_valid")
    assert len(table) == 503
    assert not table.bad_rows
    assert Counter(tuple(cells["ranks"]) for cells in table.cells()) == {(1, 2): 503}
    assert len({cells["prompt"] for cells in table.cells()}) == 159
    assert len({name for cells in table.cells() for name in cells["generators"]}) == 9
    # why the overall scores of that file are not read
    rows = json.loads(file.read_text(encoding="utf-8"))
    against = sum(row["model1_overall_score"] < row["model2_overall_score"] for row in rows)
    assert against == 253


def test_aurora_pairs_as_adiee_takes_them_say_who_won(tmp_path: Path) -> None:
    def won(winner: Any, **changes: Any) -> dict[str, Any]:
        row = {
            "prompt": "move the cup",
            "input": "in/1.png",
            "gens": ["out/1a.png", "out/1b.png"],
            "models": ["one", "two"],
            "winner": winner,
        }
        return {**row, **changes}

    bad = [won("three"), won("one", models=["one"]), won("one", gens=["out/1a.png"])]
    table = read(tmp_path, AURORA_PAIRS, [won("one"), won("two"), won("tie"), *bad])
    ranks = [tuple(image.rank for image in row.images) for row in table[:3]]
    assert ranks == [(1, 2), (2, 1), (1, 1)]
    assert [image.generator for image in table[0].images] == ["one", "two"]
    assert table[0].sources == (tmp_path / "in/1.png",)
    for place, said in ((3, "'three' in 'winner'"), (4, "expected two"), (5, "1 images")):
        with pytest.raises(DataError, match=said):
            table[place]


AURORA_ROW = {
    "prompt": "move the cup",
    "input": "in/7.png",
    "gen": "out/7.png",
    "score": 37.5,
    "model": "one",
}
IMAGENHUB_ROW = {
    "instruction": "move the cup",
    "input_path": "in/7.png",
    "output_path": "out/7.png",
    "score": 37.5,
    "model": "one",
    "filename": "7.png",
}


@pytest.mark.parametrize(
    ("layout", "values"), [(AURORA_POINTWISE, AURORA_ROW), (IMAGENHUB, IMAGENHUB_ROW)]
)
def test_single_edits_keep_score_and_generator(
    tmp_path: Path, layout: PreferenceFormat, values: dict[str, Any]
) -> None:
    table = read(tmp_path, layout, [{**values, "score": score} for score in range(5)])
    assert [row.images[0].overall for row in table] == [0.0, 1.0, 2.0, 3.0, 4.0]
    row = table[2]
    assert row.prompt == "move the cup"
    assert row.sources == (tmp_path / "in/7.png",)
    (image,) = row.images
    assert image.image == tmp_path / "out/7.png"
    assert (image.generator, image.rank) == ("one", None)
    (nameless,) = read(tmp_path, layout, [{**values, "model": None}])
    assert nameless.images[0].generator is None


@pytest.mark.parametrize(
    ("layout", "values"), [(AURORA_POINTWISE, AURORA_ROW), (IMAGENHUB, IMAGENHUB_ROW)]
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": None}, "has None in 'score', expected a number"),
        ({"model": 3}, "has 3 in 'model', expected text"),
    ],
)
def test_single_edits_malformed_row_is_named(
    tmp_path: Path,
    layout: PreferenceFormat,
    values: dict[str, Any],
    change: dict[str, Any],
    message: str,
) -> None:
    table = read(tmp_path, layout, [values, {**values, **change}])
    with pytest.raises(DataError, match=f"Row 1 of .*json' {message}"):
        table[1]
