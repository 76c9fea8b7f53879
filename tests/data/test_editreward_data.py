from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visreward.core.errors import DataError, UnknownNameError
from visreward.data.editreward_data import EDITREWARD
from visreward.data.preference_files import PreferenceData
from visreward.data.rated_edits import EditRewardData, PairVotes, RatedImage


def pair(better: int, worse: int, **changes: Any) -> dict[str, Any]:
    """Return a pair of images of one edit; image n has n as both scores."""
    row: dict[str, Any] = {
        "prompt": "make it red",
        "path_src": "source.png",
        "choice_dist": None,
        "confidence": None,
    }
    for place, image in ((1, better), (2, worse)):
        row |= {
            f"path{place}": f"edits/{image}.png",
            f"model{place}_dim1_score": image,
            f"model{place}_dim2_score": 1,
            f"model{place}_overall_score": (image + 1) / 2,
        }
    return {**row, **changes}


FIVE_ROWS = [
    pair(4, 2),
    pair(4, 1),
    pair(2, 1),
    pair(3, 1, prompt="make it blue"),
    pair(3, 2, path_src=["source.png", "other.png"]),
]


def write(folder: Path, rows: object, split: str = "train") -> EditRewardData:
    (folder / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    return EditRewardData(folder)


def test_split_pairs_of_one_instruction_and_source_become_one_edit(tmp_path: Path) -> None:
    first, second, third = write(tmp_path, FIVE_ROWS).split("train")
    assert [each.image.name for each in first.images] == ["4.png", "2.png", "1.png"]
    assert first.images[1] == RatedImage(
        image=tmp_path / "edits" / "2.png", dimensions=(2.0, 1.0), overall=1.5
    )
    assert (first.id, second.id, third.id) == ("train/0", "train/1", "train/2")
    assert second.instruction == "make it blue"
    assert third.sources == (tmp_path / "source.png", tmp_path / "other.png")


def test_split_pairs_of_one_edit_need_not_follow_each_other(tmp_path: Path) -> None:
    rows = [FIVE_ROWS[0], FIVE_ROWS[3], *FIVE_ROWS[1:3]]
    edits = write(tmp_path, rows).split("train")
    assert [len(edit.images) for edit in edits] == [3, 2]
    assert [edit.instruction for edit in edits[1:]] == ["make it blue"]


def test_split_votes_stay_with_their_pair(tmp_path: Path) -> None:
    rows = [pair(4, 2, choice_dist=[5, 2]), pair(4, 1), pair(2, 1, choice_dist=[3, 0])]
    (edit,) = write(tmp_path, rows).split("train")
    assert [each.image.name for each in edit.images] == ["4.png", "2.png", "1.png"]
    assert edit.votes == (
        PairVotes(one=0, other=1, for_one=5, for_other=2),
        PairVotes(one=1, other=2, for_one=3, for_other=0),
    )


def test_split_without_an_overall_score_takes_the_mean(tmp_path: Path) -> None:
    row = pair(4, 2, model1_overall_score=None)
    del row["model2_overall_score"]
    images = write(tmp_path, [row]).split("train")[0].images
    assert [image.overall for image in images] == [2.5, 1.5]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (pair(4, 2, model1_dim2_score=None), "Row 1 .* has None in 'model1_dim2_score'"),
        (pair(4, 2, model2_dim1_score="good"), "has 'good' in 'model2_dim1_score'"),
        (pair(4, 2, prompt=" "), "has ' ' in 'prompt', expected text"),
        (pair(4, 2, path_src=None), "has None in 'path_src'"),
        (pair(4, 2, path_src=[]), r"has \[\] in 'path_src'"),
        (pair(4, 2, path2="../up.png"), "does not lead into the folder"),
        (pair(4, 2, tie_case="yes"), "has 'yes' in 'tie_case', expected true or false"),
        (
            pair(4, 2, model1_dim1_score=3),
            r"Row train.json:1 scores '4.png' \(3.0, 1.0\) and 2.5 overall, but an earlier pair",
        ),
        (["not", "a", "pair"], "is a list, expected an object"),
    ],
)
def test_split_malformed_row_is_named(tmp_path: Path, row: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write(tmp_path, [FIVE_ROWS[0], row]).split("train")


def test_split_that_is_no_list_of_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"begins with '\{\}', expected a list"):
        write(tmp_path, {}).split("train")
    (tmp_path / "train.json").write_text("[", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        EditRewardData(tmp_path).split("train")


def test_splits_are_those_with_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No file of the format 'editreward' .* train\.json"):
        EditRewardData(tmp_path)
    data = write(tmp_path, FIVE_ROWS, "val")
    assert data.splits == ("val",)
    with pytest.raises(UnknownNameError, match="Splits found: val"):
        data.split("train")


def without_scores(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not key.endswith("_score")}


def test_split_pair_without_scores_is_an_edit_of_its_own(tmp_path: Path) -> None:
    rows = [
        pair(4, 2),
        without_scores(pair(4, 2)),
        pair(2, 4, model1_dim2_score=None, model2_dim2_score=None),
        without_scores(pair(4, 1, tie_case=True)),
    ]
    edits = write(tmp_path, rows).split("train")
    assert [[image.overall for image in edit.images] for edit in edits] == [
        [2.5, 1.5],
        [1.0, 0.0],
        [1.0, 0.0],
        [0.0, 0.0],
    ]
    assert [len(edit.images[0].dimensions) for edit in edits] == [2, 0, 0, 0]
    assert edits.is_rated.tolist() == [True, False, False, False]
    assert edits.is_tied.tolist() == [False, False, False, True]


def test_preference_rows_tie_case_is_a_tie_whatever_the_order(tmp_path: Path) -> None:
    write(tmp_path, [pair(4, 2, tie_case=True, model1="ovis", model2="step1x"), *FIVE_ROWS[3:]])
    tie, first, second = PreferenceData(EDITREWARD, tmp_path).split("train")
    assert tie.is_tie
    assert [image.dimensions for image in tie.images] == [(4.0, 1.0), (2.0, 1.0)]
    assert [image.overall for image in tie.images] == [2.5, 1.5]
    assert [image.generator for image in tie.images] == ["ovis", "step1x"]
    assert tie.sources == (tmp_path / "source.png",)
    assert [image.rank for image in first.images] == [1, 2]
    assert second.sources == (tmp_path / "source.png", tmp_path / "other.png")


def test_published_genai_bench_pairs_are_all_read(shared_dir: Path) -> None:
    table = PreferenceData(EDITREWARD, shared_dir / "data" / "genai_bench_edit_valid.json").split(
        "genai_bench_edit_valid"
    )
    table.require_whole_rows()
    assert len(table) == 503
    first = table[0]
    assert first.prompt == "let a herd of sheep block the taxi"
    assert [image.rank for image in first.images] == [1, 2]
    assert [image.dimensions for image in first.images] == [(4.0, None), (2.0, None)]
    assert [image.generator for image in first.images] == ["MagicBrush", "Pix2PixZero"]
    assert first.images[0].image == (
        shared_dir
        / "data/GenAI-Bench/image_edition/images/50455b5ab8ef46578eec963b3fbe59f9_out.jpg"
    )
