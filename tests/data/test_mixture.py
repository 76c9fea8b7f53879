from __future__ import annotations

from pathlib import Path

import pytest

from visreward.core.errors import DataError
from visreward.data.mixture import MixturePart, read_mixture


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
        ("- {weight: 1}", "has no 'path'. Add it"),
        ("- {path: a.json, weight: 0}", "has 0 as 'weight': Input should be greater than 0"),
        ("- {path: a.json, weight: true}", "has True as 'weight'"),
        ("- {path: a.json, weight: .inf}", "has inf as 'weight'"),
        ("- a.json", "Entry 0 of .* is 'a.json'. Write a mapping"),
        ("path: a.json", "holds {'path': 'a.json'}, expected a list"),
        ("", "holds None, expected a list"),
        ("[", "cannot be read as YAML"),
        ("- {path: a.json}\n- {path: a.json}", "names '.*a.json' twice"),
    ],
)
def test_read_mixture_malformed_entry_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_mixture(write(tmp_path, text))
