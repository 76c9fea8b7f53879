from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest

from visreward.core.errors import DataError, UsageError
from visreward.data.mixture import Draw, MixturePart, draw_rows, read_mixture


def write(folder: Path, text: str) -> Path:
    for name in ("a.json", "b.json"):
        (folder / name).write_text("[]", encoding="utf-8")
    (folder / "mixture.yaml").write_text(text, encoding="utf-8")
    return folder / "mixture.yaml"


def test_read_mixture_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, f"- {{path: a.json, weight: 0.3}}\n- path: {tmp_path / 'b.json'}\n")
    assert read_mixture(file) == (
        MixturePart(path=tmp_path / "a.json", weight=0.3),
        MixturePart(path=tmp_path / "b.json", weight=1.0),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {path: a.json, wieght: 0.3}", "Entry 0 of .* unknown key 'wieght'. Did you mean 'wei"),
        ("- {path: a.json}\n- {path: c.json}", "Entry 1 of .*c.json', which is not there"),
        ("- {weight: 1}", "has None as 'path', expected text"),
        ("- {path: a.json, weight: 0}", "has 0 as 'weight', expected a number above 0"),
        ("- {path: a.json, weight: true}", "has True as 'weight'"),
        ("- {path: a.json, weight: .inf}", "has inf as 'weight'"),
        ("- a.json", "Entry 0 of .* is 'a.json', expected a mapping"),
        ("path: a.json", "holds {'path': 'a.json'}, expected a list"),
        ("", "holds None, expected a list"),
        ("[", "cannot be read as YAML"),
        ("- {path: a.json}\n- {path: a.json}", "names '.*a.json' twice"),
    ],
)
def test_read_mixture_malformed_entry_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_mixture(write(tmp_path, text))


def test_draw_rows_parts_come_by_weight_and_rows_without_repetition() -> None:
    draws = list(itertools.islice(draw_rows([7, 400], weights=[3, 1], seed=0), 4000))
    counts = Counter(draw.part for draw in draws)
    assert counts[0] / 4000 == pytest.approx(0.75, abs=0.03)
    first = [draw.row for draw in draws if draw.part == 0]
    assert set(first[:7]) == set(first[7:14]) == set(range(7))
    assert first[:7] != first[7:14]


def test_draw_rows_same_seed_gives_the_same_draws() -> None:
    def first(seed: int) -> list[Draw]:
        return list(itertools.islice(draw_rows([5, 5], weights=[0.5, 0.1], seed=seed), 50))

    assert first(1) == first(1)
    assert first(1) != first(2)


@pytest.mark.parametrize(
    ("sizes", "weights"), [([1], [1, 2]), ([], []), ([0, 1], [1, 1]), ([1, 1], [1, -1])]
)
def test_draw_rows_impossible_parts_are_refused(sizes: list[int], weights: list[float]) -> None:
    with pytest.raises(UsageError):
        draw_rows(sizes, weights=weights, seed=0)
