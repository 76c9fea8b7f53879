from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from visreward.core.errors import DataError
from visreward.data.imagerewarddb import IMAGEREWARDDB
from visreward.data.preference_files import PreferenceData


def ranking(number: int, *ranks: Any, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"00{number}",
        "prompt": f"prompt {number}",
        "generations": [f"images/{number}_{place}.webp" for place in range(len(ranks))],
        "ranking": list(ranks),
    }
    return {**row, **changes}


FIVE_ROWS = [
    ranking(0, 1, 2, 5, 3),
    ranking(1, 2, 1),
    ranking(2, 1, 1, 3),
    ranking(3, 4, 3, 2, 1),
    ranking(4, 2, 2),
]


def write(folder: Path, rows: object) -> PreferenceData:
    (folder / "test.json").write_text(json.dumps(rows), encoding="utf-8")
    return PreferenceData(IMAGEREWARDDB, folder)


def test_split_rankings_keep_their_ranks(tmp_path: Path) -> None:
    table = write(tmp_path, FIVE_ROWS).split("test")
    first = table[0]
    assert first.group().ranks == (1, 2, 5, 3)
    assert first.group().images[2] == tmp_path / "images" / "0_2.webp"
    assert [len(list(row.pairs())) for row in table] == [6, 1, 2, 6, 0]
    assert [row.is_tie for row in table] == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ranking(5, 1, 2, ranking=[1]), r"has \[1\] in 'ranking', expected 2 counts"),
        (ranking(5, 0, 1), r"has \[0, 1\] in 'ranking', expected ranks from 1 up"),
        (ranking(5, 1, 2.5), r"has \[1, 2\.5\] in 'ranking'"),
        (ranking(5, 1, 2, ranking=None), "has None in 'ranking'"),
        (ranking(5, 1), "has 1 image in 'generations', expected two or more"),
        (ranking(5, 1, 2, generations=["a.webp", 7]), r".* in 'generations', expected a path or"),
        (ranking(5, 1, 2, generations=["a.webp", "/b.webp"]), "has '/b.webp' in 'generations'"),
    ],
)
def test_split_malformed_row_is_named(tmp_path: Path, row: object, message: str) -> None:
    table = write(tmp_path, [*FIVE_ROWS, row]).split("test")
    with pytest.raises(DataError, match=rf"Row 5 of .*test\.json' {message}"):
        table[5]


def test_published_test_split_has_the_count_of_its_card(shared_dir: Path) -> None:
    table = PreferenceData(IMAGEREWARDDB, shared_dir / "data" / "imagereward_test.json").split(
        "imagereward_test"
    )
    table.require_whole_rows()
    assert len(table) == 466
    assert sum(len(row.images) for row in table) == 2720
    # the card says 7.23 K pairs, ties among them, which make no preference pair
    assert sum(math.comb(len(row.images), 2) for row in table) == 7230
    assert sum(len(list(row.pairs())) for row in table) == 6399
