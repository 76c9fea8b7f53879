"""EditReward-Bench as groups: Parquet and JSON, and what is said of bad rows and groups."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from visreward.core.errors import DataError
from visreward.data.base import load_optional
from visreward.data.editreward_bench import read_editreward_bench
from visreward.data.preferences import ImageBytes

pa = load_optional("pyarrow", extra="train")
pq = load_optional("pyarrow.parquet", extra="train")


def comparisons(
    prefix: str, order: str, size: int | None = None, **changes: Any
) -> list[dict[str, Any]]:
    """Return the rows of a group; `order` names its letters, best first."""
    size = size or len(order)
    rows = []
    for number, (one, other) in enumerate(combinations(sorted(order), 2)):
        better, worse = sorted((one, other), key=order.index)
        row = {
            "id": f"{prefix}_{number}_{one}vs{other}",
            "instruction": f"instruction {prefix}",
            "source_image": {"bytes": f"source {prefix}".encode(), "path": None},
            "candidate_1": {"bytes": f"{prefix} {one}".encode(), "path": None},
            "candidate_2": {"bytes": f"{prefix} {other}".encode(), "path": None},
            "ranking": f"{better}>{worse}",
            "comparison_type": f"{one}vs{other}",
            "num_candidates": size,
            "dataset": f"{size}pair",
            "score_1": 3.0,
            "score_2": None,
            "model_1": f"model {one}",
            "model_2": f"model {other}",
        }
        rows.append({**row, **changes})
    return rows


def write(folder: Path, rows: list[dict[str, Any]], name: str = "train") -> None:
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet", row_group_size=2)


def ranks(row: Any) -> tuple[int, ...]:
    return tuple(image.rank for image in row.images)


def test_tables_groups_of_every_size_have_their_order_and_pictures(tmp_path: Path) -> None:
    rows = comparisons("7", "BA") + comparisons("7", "CAB") + comparisons("8", "DBCA")
    write(tmp_path, rows)
    found = read_editreward_bench(tmp_path)
    assert not found.problems
    assert [row.id for row in found.rows] == ["K2/7", "K3/7", "K4/8"]
    assert [ranks(row) for row in found.rows] == [(2, 1), (2, 3, 1), (4, 2, 3, 1)]
    last = found.rows[-1]
    assert last.prompt == "instruction 8"
    assert [image.image.data for image in last.images if isinstance(image.image, ImageBytes)] == [
        b"8 A",
        b"8 B",
        b"8 C",
        b"8 D",
    ]
    assert [image.generator for image in last.images] == [f"model {each}" for each in "ABCD"]
    (source,) = last.sources
    assert isinstance(source, ImageBytes)
    assert source.data == b"source 8"


def test_tables_rows_in_any_order_and_letters_either_way_are_the_same_groups(
    tmp_path: Path,
) -> None:
    rows = comparisons("1", "CAB") + comparisons("2", "BA")
    turned = {
        **rows[0],
        "comparison_type": "BvsA",
        "candidate_1": rows[0]["candidate_2"],
        "candidate_2": rows[0]["candidate_1"],
    }
    write(tmp_path, [rows[2], rows[3], turned], name="train-00000-of-00002")
    write(tmp_path, [rows[1]], name="train-00001-of-00002")
    found = read_editreward_bench(tmp_path)
    assert {row.id: ranks(row) for row in found.rows} == {"K3/1": (2, 3, 1), "K2/2": (2, 1)}
    pictures = {
        row.id: [image.image.data for image in row.images if isinstance(image.image, ImageBytes)]
        for row in found.rows
    }
    assert pictures["K3/1"] == [b"1 A", b"1 B", b"1 C"]


def test_tables_tie_of_two_is_a_tie_and_size_comes_from_either_column(tmp_path: Path) -> None:
    rows = comparisons("1", "AB", ranking="A=B=Good", num_candidates=None)
    write(tmp_path, rows)
    found = read_editreward_bench(tmp_path / "train.parquet")
    assert [ranks(row) for row in found.rows] == [(1, 1)]


def test_tables_five_rows_each_fault_is_named(tmp_path: Path) -> None:
    malformed = comparisons("1", "AB", ranking="A>E")
    sizeless = comparisons("2", "AB", num_candidates=9, dataset="?")
    beyond = comparisons("3", "AC", size=2)
    (good,) = comparisons("4", "AB")
    anonymous = comparisons("5", "AB", id=None)
    write(tmp_path, [*malformed, *sizeless, *beyond, good, *anonymous])
    found = read_editreward_bench(tmp_path)
    assert [row.id for row in found.rows] == ["K2/4"]
    (problem,) = found.problems
    assert (problem.kind, problem.count) == ("malformed row", 4)
    said = "\n".join(problem.examples)
    for words in (
        "Row 0 of",
        "'E' is no candidate",
        "Row 1 of",
        "9 in 'num_candidates'",
        "compares A and C",
        "None in 'id'",
    ):
        assert words in said


def test_tables_group_without_all_comparisons_is_left_out_and_named(tmp_path: Path) -> None:
    write(tmp_path, comparisons("1", "ABC")[:2] + comparisons("2", "AB"))
    found = read_editreward_bench(tmp_path)
    assert [row.id for row in found.rows] == ["K2/2"]
    (problem,) = found.problems
    assert problem.kind == "group that lacks comparisons"
    assert problem.examples == ("K3/1: B-C",)


def test_tables_groups_that_contradict_themselves_are_left_out_and_named(tmp_path: Path) -> None:
    circle = comparisons("1", "ABC")
    circle[1]["ranking"] = "C>A"
    twice = comparisons("2", "AB") + comparisons("2", "BA")
    write(tmp_path, circle + twice + comparisons("3", "BA"))
    found = read_editreward_bench(tmp_path)
    assert [row.id for row in found.rows] == ["K2/3"]
    (problem,) = found.problems
    assert problem.kind == "group whose comparisons contradict each other"
    assert problem.count == 2
    assert problem.examples[0].startswith("K3/1: ")
    assert "row 4 of" in problem.examples[1]


def test_tables_same_comparison_twice_is_one(tmp_path: Path) -> None:
    write(tmp_path, comparisons("1", "AB") * 2)
    found = read_editreward_bench(tmp_path)
    assert (len(found.rows), found.problems) == (1, ())


def test_tables_missing_picture_is_named_when_its_group_is_made(tmp_path: Path) -> None:
    write(tmp_path, comparisons("1", "AB", candidate_2=None) + comparisons("2", "AB"))
    found = read_editreward_bench(tmp_path)
    with pytest.raises(DataError, match=r"Row 0 of .* no encoded image in 'candidate_2'"):
        found.rows[0]
    assert found.rows[1].id == "K2/2"


def item(number: int, vote: str, size: int, **changes: Any) -> dict[str, Any]:
    return {
        "prompt": f"p{number}",
        "path_src": f"{number}/source.png",
        "paths_generated": [f"{number}/{letter}.png" for letter in "ABCDE"[:size]],
        "human_vote": {"ranking": vote},
        **changes,
    }


def test_json_five_groups_one_malformed_is_named(tmp_path: Path) -> None:
    good = [item(0, "A=B=Bad", 2), item(1, "A<B", 2), item(2, "A>E", 2)]
    (tmp_path / "EditReward_Bench_2pair.json").write_text(json.dumps(good))
    (tmp_path / "EditReward_Bench_3pair.json").write_text(json.dumps([item(3, "B>C>A", 3)]))
    (tmp_path / "EditReward_Bench_4pair.json").write_text(json.dumps([item(4, "A>D>C>B", 4)]))
    found = read_editreward_bench(tmp_path)
    assert [ranks(row) for row in found.rows] == [(1, 1), (2, 1), (3, 1, 2), (1, 4, 3, 2)]
    assert found.rows[0].id == "EditReward_Bench_2pair.json:0"
    assert found.rows[0].sources == (tmp_path / "0/source.png",)
    assert found.rows[3].images[3].image == tmp_path / "4/D.png"
    (problem,) = found.problems
    assert "Row 2 of" in problem.examples[0]
    assert "'E' is no candidate" in problem.examples[0]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (item(0, "A>B", 5), "5 candidates"),
        (item(0, "A", 1), "1 candidates"),
        (item(0, "A>B", 2, human_vote=None), "is a NoneType"),
        (item(0, "A>B", 2, path_src=None), "None in 'path_src'"),
        (item(0, "A>B", 2, paths_generated=["a.png", None]), "in 'paths_generated'"),
        (item(0, "A>B", 2, paths_generated=["../a.png", "b.png"]), "does not lead into"),
    ],
)
def test_json_malformed_group_says_what_is_wrong(
    tmp_path: Path, broken: dict[str, Any], said: str
) -> None:
    path = tmp_path / "EditReward_Bench_2pair.json"
    path.write_text(json.dumps([broken]))
    found = read_editreward_bench(path, images=tmp_path / "elsewhere")
    assert len(found.rows) == 0
    assert said in found.problems[0].examples[0]


def test_json_ranking_comes_before_preference_which_stands_in_for_it(tmp_path: Path) -> None:
    votes = ({"ranking": "B>A", "preference": "A>B"}, {"ranking": None, "preference": "A<B"})
    rows = [item(number, "", 2, human_vote=vote) for number, vote in enumerate(votes)]
    (tmp_path / "EditReward_Bench_2pair.json").write_text(json.dumps(rows))
    found = read_editreward_bench(tmp_path)
    assert [ranks(row) for row in found.rows] == [(2, 1), (2, 1)]
    assert not found.problems


def test_folder_without_such_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No table of EditReward-Bench"):
        read_editreward_bench(tmp_path)
