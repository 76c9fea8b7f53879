"""Labels as data: shares are exact, ties are right, and a filter keeps what it says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.label_data import (
    NUM_ANNOTATORS,
    LabelledEdit,
    LabelledImage,
    VoteForm,
    careless,
    error_chances,
    keep_top,
    rated_rows,
    read_edits,
    uneven,
    voted_rows,
    write_rows,
)
from visreward.data.rated_edits import EditRewardData
from visreward.data.scenes.write_edits import write_edits

RATINGS = ((4, 4), (3, 3), (2, 4), (1, 4), (1, 4), (4, 1))
"""Following and quality of six images; overall 4, 3, 3, 2.5, 2.5, 2.5."""
NUM_CLEAR, NUM_TIED = 11, 4


def labelled(num: int) -> list[LabelledEdit]:
    return [
        LabelledEdit(
            prompt=f"make it {number}",
            source=f"edits/{number}.png",
            images=tuple(
                LabelledImage(
                    path=f"edits/{number}-{place}.png",
                    kind=str(place),
                    following=following,
                    quality=quality,
                    overall=(following + quality) / 2,
                )
                for place, (following, quality) in enumerate(RATINGS)
            ),
        )
        for number in range(num)
    ]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("votes", ["majority", "counts"])
def test_voted_rows_share_of_wrong_majorities_is_exact(share: float, votes: VoteForm) -> None:
    rows = voted_rows(labelled(20), share=share, seed=3, votes=votes)

    wrong = [row["choice_dist"][1] > row["choice_dist"][0] for row in rows]

    assert len(rows) == 20 * NUM_CLEAR
    assert sum(wrong) == round(share * len(rows))
    total = 1 if votes == "majority" else NUM_ANNOTATORS
    assert {sum(row["choice_dist"]) for row in rows} == {total}


def test_voted_rows_both_forms_call_the_same_rows_wrong() -> None:
    one, other = (
        voted_rows(labelled(20), share=0.3, seed=3, votes=form) for form in ("majority", "counts")
    )

    assert [np.argmax(row["choice_dist"]) for row in one] == [
        np.argmax(row["choice_dist"]) for row in other
    ]
    # Path, prompt and order are the same, so that both forms share what is computed once.
    assert [row["path1"] for row in one] == [row["path1"] for row in other]


def test_voted_rows_scores_are_the_wins_by_the_votes_and_not_the_true_ratings() -> None:
    rows = voted_rows(labelled(30), share=0.3, seed=1, votes="counts")

    wins: Counter[str] = Counter()
    for row in rows:
        winner = 1 + int(np.argmax(row["choice_dist"]))
        wins[row[f"path{winner}"]] += 1
    for row in rows:
        for number in (1, 2):
            own = wins[row[f"path{number}"]]
            assert row[f"model{number}_dim1_score"] == row[f"model{number}_dim2_score"] == own


def test_voted_rows_another_seed_calls_other_rows_wrong() -> None:
    found = [voted_rows(labelled(20), share=0.3, seed=seed, votes="majority") for seed in (1, 1, 2)]

    assert found[0] == found[1]
    assert found[0] != found[2]


@given(share=st.floats(0.001, 0.499), num=st.sampled_from([1, 3, 5, 9]))
def test_error_chances_any_share_is_the_weight_of_wrong_majorities(share: float, num: int) -> None:
    chances = error_chances(share, num)

    assert chances.sum() == pytest.approx(1)
    assert chances[np.arange(num + 1) * 2 > num].sum() == pytest.approx(share, abs=1e-9)


def test_error_chances_no_noise_nobody_errs() -> None:
    assert error_chances(0.0, 5).tolist() == [1, 0, 0, 0, 0, 0]


def test_rated_rows_with_ties_hold_every_pair_and_mark_equal_ones() -> None:
    rows = rated_rows(labelled(3), has_ties=True)

    assert len(rows) == 3 * (NUM_CLEAR + NUM_TIED)
    assert sum(row["tie_case"] for row in rows) == 3 * NUM_TIED
    for row in rows:
        gap = row["model1_overall_score"] - row["model2_overall_score"]
        assert gap >= 0
        assert row["tie_case"] == (gap == 0)


def test_rated_rows_without_ties_hold_the_pairs_that_differ() -> None:
    rows = rated_rows(labelled(3))

    assert rows == [row for row in rated_rows(labelled(3), has_ties=True) if not row["tie_case"]]


def test_rated_rows_written_are_read_as_training_reads_them(tmp_path: Path) -> None:
    write_edits(tmp_path / "edits", num=6, seed=1, size=64, num_workers=1)
    edits = read_edits(tmp_path / "edits" / "train.json")
    write_rows(tmp_path / "edits" / "ties.json", rated_rows(edits, has_ties=True))

    read = EditRewardData(tmp_path / "edits" / "ties.json").split("ties")
    truth = EditRewardData(tmp_path / "edits").split("train")

    assert len(read) == len(truth) == len(edits)
    for one, other in zip(read, truth, strict=True):
        assert one.instruction == other.instruction
        assert set(one.images) == set(other.images)
    table = json.loads((tmp_path / "edits" / "ties.json").read_text())
    assert len(table) == 15 * len(edits)


def test_uneven_annotators_keep_the_order_and_the_differences() -> None:
    edits = labelled(50)

    found = uneven(edits, seed=4)

    shifts = set()
    for edit, other in zip(edits, found, strict=True):
        shift = other.images[0].overall - edit.images[0].overall
        shifts.add(shift)
        assert abs(shift) <= 1
        for image, moved in zip(edit.images, other.images, strict=True):
            assert moved.overall - image.overall == pytest.approx(shift)
            assert moved.following - image.following == pytest.approx(shift)
            assert moved.quality - image.quality == pytest.approx(shift)
    assert len(shifts) == len(edits)
    assert [(row["path1"], row["path2"]) for row in rated_rows(found)] == [
        (row["path1"], row["path2"]) for row in rated_rows(edits)
    ]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.4])
def test_careless_share_of_edits_is_exact_and_no_image_keeps_its_ratings(share: float) -> None:
    # Ratings that all differ, so that it shows where each comes from.
    edits = [
        LabelledEdit(
            prompt=edit.prompt,
            source=edit.source,
            images=tuple(
                LabelledImage(
                    path=image.path,
                    kind=image.kind,
                    following=place,
                    quality=10 + place,
                    overall=place,
                )
                for place, image in enumerate(edit.images)
            ),
        )
        for edit in labelled(40)
    ]

    found, is_wrong = careless(edits, share=share, seed=7)

    assert is_wrong.sum() == round(share * 40)
    for edit, other, wrong in zip(edits, found, is_wrong, strict=True):
        assert [image.path for image in edit.images] == [image.path for image in other.images]
        same = [one == two for one, two in zip(edit.images, other.images, strict=True)]
        assert not any(same) if wrong else all(same)
        taken = [(image.following, image.quality, image.overall) for image in other.images]
        assert sorted(taken) == [(place, 10 + place, place) for place in range(6)]


@given(
    values=st.lists(st.floats(-5, 5), min_size=1, max_size=40),
    share=st.floats(0, 1),
)
def test_keep_top_keeps_the_highest_in_their_order(values: list[float], share: float) -> None:
    kept = keep_top(range(len(values)), values, share=share)

    assert len(kept) == round(share * len(values))
    assert kept == sorted(kept)
    left = set(range(len(values))) - set(kept)
    assert all(values[one] >= values[other] for one in kept for other in left)


def test_keep_top_equal_values_keeps_the_earlier() -> None:
    assert keep_top("abcd", [1, 1, 1, 1], share=0.5) == ["a", "b"]
