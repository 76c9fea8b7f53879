"""Reading groups: what is a question, and what is refused by file and row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visreward.core.errors import DataError
from visreward.demo.annotate.questions import read_questions
from visreward.demo.annotate.records import Kind, Verdict

if TYPE_CHECKING:
    from tests.demo.annotate.conftest import GroupWriter


def test_read_questions_pair_asks_every_two_candidates_of_a_group(
    write_groups: GroupWriter,
) -> None:
    path = write_groups(num=2, num_candidates=3)
    found = read_questions(path, kind=Kind.PAIR)
    assert [question.name for question in found[:3]] == [
        f"groups.jsonl:0/{pair}" for pair in ("0-1", "0-2", "1-2")
    ]
    assert len(found) == 6
    assert found[2].candidates[1].image == path.parent / "groups-0-2.png"
    assert found[2].candidates[1].generator == "maker-2"
    assert all(question.known is None for question in found)
    assert len(read_questions(path, kind=Kind.RANK)) == 2


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        (Kind.PAIR, ((1,), (2,))),
        (Kind.RANK, ((1,), (2,), (3,))),
        (Kind.SCORES, ((4, 1), (3, 2), (2, 3))),
    ],
)
def test_read_questions_gold_has_the_known_answer(
    write_groups: GroupWriter, kind: Kind, known: tuple[tuple[int, ...], ...]
) -> None:
    path = write_groups(num=1, num_candidates=3, is_edit=True)
    found = read_questions(path, kind=kind, is_gold=True)
    assert found[0].known == Verdict(rows=known)
    assert found[0].sources == (path.parent / "groups-0-0.png",)


def test_read_questions_gold_ranks_of_a_larger_group_are_counted_anew(
    write_groups: GroupWriter,
) -> None:
    path = write_groups(num=1, num_candidates=3)
    line = json.loads(path.read_text())
    for candidate, rank in zip(line["candidates"], (7, 2, 7), strict=True):
        candidate["rank"] = rank
    path.write_text(json.dumps(line))
    (question,) = read_questions(path, kind=Kind.RANK, is_gold=True)
    assert question.known == Verdict(rows=((2,), (1,), (2,)))
    pairs = read_questions(path, kind=Kind.PAIR, is_gold=True)
    assert [pair.known and pair.known.rows for pair in pairs] == [
        ((2,), (1,)),
        ((1,), (1,)),
        ((1,), (2,)),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": " "}, "'prompt'"),
        ({"candidates": []}, "expected a list of 2 to 9"),
        ({"candidates": [{"image": "groups-0-0.png"}] * 2}, "same image twice"),
        ({"candidates": [{"image": "groups-0-0.png"}, {"image": "no.png"}]}, "1 of 2 image files"),
        ({"candidates": [{"image": "groups-0-0.png"}, {"image": 3}]}, "'image'"),
        ({"source_image": [3]}, "'source_image'"),
        ({"id": True}, "'id'"),
    ],
)
def test_read_questions_malformed_group_is_named(
    write_groups: GroupWriter,
    change: dict[str, Any],  # JSON values
    message: str,
) -> None:
    path = write_groups(num=1)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message):
        read_questions(path, kind=Kind.PAIR)


def test_read_questions_malformed_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "groups.jsonl"
    with pytest.raises(DataError, match="cannot be read"):
        read_questions(path, kind=Kind.PAIR)
    path.write_text("\n")
    with pytest.raises(DataError, match="holds no group"):
        read_questions(path, kind=Kind.PAIR)
    path.write_text("\n{")
    with pytest.raises(DataError, match=r"Row 1 of .* is not JSON"):
        read_questions(path, kind=Kind.PAIR)
    path.write_text("[]")
    with pytest.raises(DataError, match=r"Row 0 of .* is a list"):
        read_questions(path, kind=Kind.PAIR)


def test_read_questions_the_same_question_twice_is_refused(write_groups: GroupWriter) -> None:
    path = write_groups(num=1, num_candidates=3)
    line = json.loads(path.read_text())
    other = line | {"candidates": line["candidates"][1::-1]}
    path.write_text(f"{json.dumps(line)}\n{json.dumps(other)}\n")
    with pytest.raises(DataError, match="asks again"):
        read_questions(path, kind=Kind.PAIR)
    # With scores an image may come once only, or it would have two scores.
    shared = line | {"candidates": line["candidates"][:1]}
    path.write_text(f"{json.dumps(line)}\n{json.dumps(shared)}\n")
    with pytest.raises(DataError, match="asks again"):
        read_questions(path, kind=Kind.SCORES)


@pytest.mark.parametrize(("kind", "column"), [(Kind.RANK, "rank"), (Kind.SCORES, "visual_quality")])
@pytest.mark.parametrize("value", [None, 0, 1.5, 99])
def test_read_questions_gold_without_a_right_answer_is_named(
    write_groups: GroupWriter, kind: Kind, column: str, value: float | None
) -> None:
    path = write_groups(num=1)
    line = json.loads(path.read_text())
    line["candidates"][0][column] = value
    path.write_text(json.dumps(line))
    if (column, value) in {("rank", 0), ("rank", 99)}:
        assert read_questions(path, kind=kind, is_gold=True)  # a place among others, any number
    else:
        with pytest.raises(DataError, match="Row 0"):
            read_questions(path, kind=kind, is_gold=True)
