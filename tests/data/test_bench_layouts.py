"""The layouts of GenAI-Bench's tables, HPDv2's test split, MMRB2 and EditScore's benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visreward.core.errors import DataError
from visreward.data.base import load_optional
from visreward.data.editscore_bench import EDITSCORE_BENCH
from visreward.data.genai_bench import GENAI_BENCH_EDIT
from visreward.data.hpdv2 import HPDV2_TEST
from visreward.data.mmrb2 import MMRB2, MMRB2_TABLES
from visreward.data.preference_files import PreferenceData
from visreward.data.preference_table import PreferenceTable
from visreward.data.preferences import ImageBytes, readable

pa = load_optional("pyarrow", extra="train")
pq = load_optional("pyarrow.parquet", extra="train")


def encoded(name: str) -> dict[str, Any]:
    """Return the cell of an image column; the bytes are no real picture."""
    return {"bytes": name.encode(), "path": None}


def ranks_of(table: PreferenceTable) -> list[tuple[int | None, ...]]:
    return [tuple(image.rank for image in row.images) for row in table]


def vote(number: int, kind: Any, **changes: Any) -> dict[str, Any]:
    row = {
        "source_prompt": "unread",
        "instruct_prompt": f"instruction {number}",
        "source_image": encoded(f"source {number}"),
        "left_model": "left-model",
        "left_output_image": encoded(f"left {number}"),
        "right_model": "right-model",
        "right_output_image": encoded(f"right {number}"),
        "vote_type": kind,
    }
    return {**row, **changes}


FIVE_VOTES = [
    vote(0, "leftvote"),
    vote(1, "rightvote"),
    vote(2, "tievote"),
    vote(3, "bothbad_vote"),
    vote(4, "leftvote"),
]


def read_votes(folder: Path, rows: list[dict[str, Any]]) -> PreferenceTable:
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, folder / "test_v1-00000-of-00001.parquet", row_group_size=2)
    return PreferenceData(GENAI_BENCH_EDIT, folder).split("test_v1")


def test_genai_bench_votes_become_ranks(tmp_path: Path) -> None:
    table = read_votes(tmp_path, FIVE_VOTES)
    assert ranks_of(table) == [(1, 2), (2, 1), (1, 1), (1, 1), (1, 2)]
    row = table[3]
    assert row.prompt == "instruction 3"
    image = row.images[1].image
    assert isinstance(image, ImageBytes)
    assert image.data == b"right 3"
    assert [each.generator for each in row.images] == ["left-model", "right-model"]
    (source,) = row.sources
    assert isinstance(source, ImageBytes)
    assert source.data == b"source 3"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (vote(5, "neither"), "has 'neither' in 'vote_type', expected leftvote"),
        (vote(5, None), "has None in 'vote_type'"),
        (vote(5, "leftvote", right_output_image=None), "has no encoded image in 'right_output"),
    ],
)
def test_genai_bench_malformed_row_is_named(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    table = read_votes(tmp_path, [*FIVE_VOTES, row])
    with pytest.raises(DataError, match=f"Row 5 of .*parquet' {message}"):
        table[5]


def ranking(number: int, *ranks: Any, **changes: Any) -> dict[str, Any]:
    row = {
        "prompt": f"prompt {number}",
        "image_path": [f"{number}_{place}.jpg" for place in range(len(ranks))],
        "rank": list(ranks),
        "raw_annotations": [{"rank": list(ranks), "user_hash": "someone"}],
    }
    return {**row, **changes}


FIVE_RANKINGS = [
    ranking(0, 0, 1, 2),
    ranking(1, 3, 1, 2),
    ranking(2, 1, 1),
    ranking(3, 4, 2, 9),
    ranking(4, 2, 1),
]


def read_rankings(folder: Path, rows: object) -> PreferenceTable:
    (folder / "test.json").write_text(json.dumps(rows), encoding="utf-8")
    return PreferenceData(HPDV2_TEST, folder).split("test")


def test_hpdv2_ranks_start_at_one_whatever_the_file_starts_at(tmp_path: Path) -> None:
    table = read_rankings(tmp_path, FIVE_RANKINGS)
    assert ranks_of(table) == [(1, 2, 3), (3, 1, 2), (1, 1), (3, 1, 8), (2, 1)]
    assert table[1].images[2].image == tmp_path / "1_2.jpg"
    assert table[1].category == ""
    assert "category" not in table.rows.column_names


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ranking(5, 1, 2, rank=[1]), r"has \[1\] in 'rank', expected 2 counts"),
        (ranking(5, 1, 2, rank=None), "has None in 'rank', expected a rank per image"),
        (ranking(5, 1, 2000), r"has \[1, 2000\] in 'rank', expected a rank per image"),
        (ranking(5, 1), "has 1 image in 'image_path', expected two or more"),
    ],
)
def test_hpdv2_malformed_row_is_named(tmp_path: Path, row: object, message: str) -> None:
    table = read_rankings(tmp_path, [*FIVE_RANKINGS, row])
    with pytest.raises(DataError, match=f"Row 5 of .*json' {message}"):
        table[5]


def response(name: str, **changes: Any) -> dict[str, Any]:
    parts = [["image", f"images/{name}.jpg"]]
    return {"model_name": f"{name[-1]}-model", "response_content": parts, **changes}


def judged(number: int, chosen: Any, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"pair-{number}",
        "response_a": response(f"{number}_a"),
        "response_b": response(f"{number}_b"),
        "chosen": chosen,
        "human_annotations": [6, 6, 4],
        "prompt_source": "emu-edit",
        "prompt_content": [
            ["image", f"input_images/{number}.jpg"],
            ["text", f"instruction {number}"],
        ],
    }
    return {**row, **changes}


TWO_SOURCES = [["image", "x.jpg"], ["text", "mix"], ["image", "y.jpg"], ["text", "them"]]
FIVE_JUDGED = [
    judged(0, "A"),
    judged(1, "B"),
    judged(2, "tie"),
    judged(3, "A", prompt_content=TWO_SOURCES),
    judged(4, "B", prompt_content=[["text", "a cat"]], response_a=response("4_a", model="m")),
]


def read_judged(folder: Path, rows: object) -> PreferenceTable:
    (folder / "edit.json").write_text(json.dumps({"pairs": rows}), encoding="utf-8")
    return PreferenceData(MMRB2, folder).split("edit")


def test_mmrb2_pairs_keep_sources_generators_and_where_the_prompt_is_from(tmp_path: Path) -> None:
    table = read_judged(tmp_path, FIVE_JUDGED)
    assert ranks_of(table) == [(1, 2), (2, 1), (1, 1), (1, 2), (2, 1)]
    first, several, generated = table[0], table[3], table[4]
    assert first.sources == (tmp_path / "input_images/0.jpg",)
    assert [image.image for image in first.images] == [
        tmp_path / "images/0_a.jpg",
        tmp_path / "images/0_b.jpg",
    ]
    assert [image.generator for image in first.images] == ["a-model", "b-model"]
    assert first.category == "emu-edit"
    assert several.prompt == "mix\nthem"
    assert several.sources == (tmp_path / "x.jpg", tmp_path / "y.jpg")
    assert generated.sources == ()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (judged(5, "C"), "has 'C' in 'chosen', expected A, B or tie"),
        (judged(5, "A", response_b=None), "has None in 'response_b', expected an object"),
        (
            judged(5, "A", response_a=response("a", response_content=[["text", "no image"]])),
            "has 0 images in 'response_a', expected one",
        ),
        (judged(5, "A", prompt_content=[["image", "x.jpg"]]), "has no text in 'prompt_content'"),
        (
            judged(5, "A", prompt_content="text"),
            "has 'text' in 'prompt_content', expected text and",
        ),
        (judged(5, "A", prompt_content=[["image", "/x.jpg"]]), "has '/x.jpg' in 'prompt_content'"),
    ],
)
def test_mmrb2_malformed_row_is_named(tmp_path: Path, row: object, message: str) -> None:
    table = read_judged(tmp_path, [*FIVE_JUDGED, row])
    with pytest.raises(DataError, match=f"Row 5 of .*json' {message}"):
        table[5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "holds a list without a list 'pairs'"),
        ('{"pairs": {}}', "holds a dict without a list 'pairs'"),
        ('{"pairs": [', "cannot be read as JSON"),
    ],
)
def test_mmrb2_file_of_another_kind_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "edit.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        PreferenceData(MMRB2, tmp_path).split("edit")


def table_row(number: int, chosen: str = "a", **changes: Any) -> dict[str, Any]:
    """Return a row as the hub's tables have it."""
    row = {
        "pair_id": f"pair-{number}",
        "prompt_text": f"<image_1> put it on <image_2> {number}",
        "prompt_images": [encoded(f"before {number}"), encoded(f"also {number}")],
        "response_a_text": "<image_1>",
        "response_a_images": [encoded(f"a {number}")],
        "response_a_model": "one",
        "response_b_text": "<image_1>",
        "response_b_images": [encoded(f"b {number}")],
        "response_b_model": "two",
        "chosen": chosen,
        "prompt_source": "emu-edit",
        "human_annotations": "[6, 6, 6]",
    }
    return {**row, **changes}


def read_tables(folder: Path, rows: list[dict[str, Any]]) -> PreferenceTable:
    (folder / "edit").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "edit" / "test-00000-of-00001.parquet")
    return PreferenceData(MMRB2_TABLES, folder).split("edit")


def test_mmrb2_tables_of_the_hub_say_what_the_json_says(tmp_path: Path) -> None:
    rows = [
        table_row(0),
        table_row(1, "b"),
        table_row(2, "A", prompt_images=[]),
        table_row(3, "B", prompt_text="<image_1>", prompt_images=[encoded("x")]),
        table_row(4, "A", response_b_images=[]),
        table_row(5, "c"),
    ]
    table = read_tables(tmp_path, rows)
    first, second, generated = table[0], table[1], table[2]
    ranks = [tuple(image.rank for image in row.images) for row in table[:3]]
    assert ranks == [(1, 2), (2, 1), (1, 2)]
    assert first.prompt == "put it on\n0"
    assert [image.source for image in first.images] == [b"a 0", b"b 0"]
    assert [readable(source) for source in first.sources] == [b"before 0", b"also 0"]
    assert [image.generator for image in second.images] == ["one", "two"]
    assert (second.category, readable(second.sources[1])) == ("emu-edit", b"also 1")
    assert generated.sources == ()
    for number, message in (
        (3, "no text in 'prompt_text'"),
        (4, "0 images in 'response_b_images'"),
        (5, "'c' in 'chosen'"),
    ):
        with pytest.raises(DataError, match=f"Row {number} of .*{message}"):
            table[number]


def test_genai_bench_tables_are_found_beside_those_of_other_tasks(tmp_path: Path) -> None:
    for task in ("image_edition", "image_generation"):
        (tmp_path / task).mkdir()
        file = tmp_path / task / "test_v1-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist([vote(0, "leftvote")]), file)
    assert len(PreferenceData(GENAI_BENCH_EDIT, tmp_path).split("test_v1")) == 1


def scored(number: int, dimension: Any, **changes: Any) -> dict[str, Any]:
    row = {
        "key": [f"{number}_one", f"{number}_two"],
        "instruction": f"instruction {number}",
        "input_image": encoded(f"before {number}"),
        "output_images": [encoded(f"better {number}"), encoded(f"worse {number}")],
        "task_type": "subject-add",
        "dimension": dimension,
    }
    return {**row, **changes}


FIVE_SCORED = [
    scored(0, "overall"),
    scored(0, "consistency"),
    scored(1, "prompt_following"),
    scored(2, "overall", task_type="extract"),
    scored(3, "overall"),
]


def read_scored(folder: Path, rows: list[dict[str, Any]]) -> PreferenceTable:
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, folder / "train-00000-of-00001.parquet", row_group_size=2)
    return PreferenceData(EDITSCORE_BENCH, folder).split("train")


def test_editscore_bench_first_image_is_preferred_and_images_come_from_a_list(
    tmp_path: Path,
) -> None:
    table = read_scored(tmp_path, FIVE_SCORED)
    assert set(ranks_of(table)) == {(1, 2)}
    assert [row.category for row in table] == [
        "overall/subject-add",
        "consistency/subject-add",
        "prompt_following/subject-add",
        "overall/extract",
        "overall/subject-add",
    ]
    row = table[3]
    assert [image.image for image in row.images] == [
        ImageBytes(name="2_one", data=b"better 2"),
        ImageBytes(name="2_two", data=b"worse 2"),
    ]
    (source,) = row.sources
    assert isinstance(source, ImageBytes)
    assert source.data == b"before 2"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (scored(5, "style"), "has 'style' in 'dimension', expected prompt_following, consistency"),
        (scored(5, "overall", key=["one"]), r"has \['one'\] in 'key', expected two names"),
        (scored(5, "overall", key=["one", "one"]), "has 'one' twice in 'key', expected two"),
        (scored(5, "overall", task_type=None), "has None in 'task_type', expected text"),
    ],
)
def test_editscore_bench_malformed_row_is_named(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    table = read_scored(tmp_path, [*FIVE_SCORED, row])
    with pytest.raises(DataError, match=f"Row 5 of .*parquet' {message}"):
        table[5]


@pytest.mark.parametrize("images", [None, [encoded("only")], [encoded("only"), None]])
def test_editscore_bench_missing_second_image_is_named(tmp_path: Path, images: Any) -> None:
    row = scored(0, "overall", output_images=images)
    table = read_scored(tmp_path, [row, FIVE_SCORED[1]])
    with pytest.raises(DataError, match=r"Row 0 of .* no encoded image in 'output_images\["):
        table[0]
