from __future__ import annotations

from pathlib import Path

import pytest

from visreward.core.errors import DataError
from visreward.core.types import PreferencePair
from visreward.data.preferences import ImageBytes, JudgedImage, PreferenceRow, soft_label


def row(*ranks: int | None, votes: tuple[int, ...] | None = None) -> PreferenceRow:
    images = tuple(
        JudgedImage(
            image=Path(f"{place}.png"), rank=rank, votes=None if votes is None else votes[place]
        )
        for place, rank in enumerate(ranks)
    )
    return PreferenceRow(id="train.json:7", prompt="a cat", images=images, confidence=0.9)


def test_pairs_second_image_better_is_chosen_with_its_votes() -> None:
    (pair,) = row(2, 1, votes=(3, 9)).pairs()
    assert pair == PreferencePair(
        prompt="a cat",
        chosen=Path("1.png"),
        rejected=Path("0.png"),
        votes=(9, 3),
        confidence=0.9,
        id="train.json:7",
    )


def test_pairs_ranking_with_a_tie_leaves_the_tie_out() -> None:
    pairs = list(row(2, 1, 2).pairs())
    assert [pair.id for pair in pairs] == ["train.json:7/0-1", "train.json:7/1-2"]
    assert {pair.chosen for pair in pairs} == {Path("1.png")}
    assert pairs[0].votes is None


def test_row_without_ranks_has_no_pairs_and_no_group() -> None:
    unlabelled = row(None, None)
    assert not unlabelled.has_ranks
    assert not unlabelled.is_tie
    assert list(unlabelled.pairs()) == []
    with pytest.raises(DataError, match=r"Row train\.json:7 has no label"):
        unlabelled.group()


def test_group_tie_shares_its_rank() -> None:
    tie = row(1, 1)
    assert tie.is_tie
    assert tie.group().ranks == (1, 1)


def test_pairs_images_in_a_table_are_bytes_and_sources_go_along() -> None:
    encoded = ImageBytes(name="uid", data=b"png")
    images = (JudgedImage(image=encoded, rank=1), JudgedImage(image=Path("b.png"), rank=2))
    (pair,) = PreferenceRow(id="x", prompt="p", images=images, sources=(encoded,)).pairs()
    assert pair.chosen == b"png"
    assert pair.source_image == b"png"
    several = PreferenceRow(id="x", prompt="p", images=images, sources=(encoded, Path("s.png")))
    assert several.group().source_image == (b"png", Path("s.png"))
    assert "png" not in repr(encoded)


@pytest.mark.parametrize(
    ("votes", "share"), [((12, 7), 12 / 19), ((1, 3), 0.25), ((0, 0), None), (None, None)]
)
def test_soft_label_is_the_share_of_votes(
    votes: tuple[int, int] | None, share: float | None
) -> None:
    pair = PreferencePair(prompt="p", chosen="a", rejected="b", votes=votes)
    assert soft_label(pair) == share
