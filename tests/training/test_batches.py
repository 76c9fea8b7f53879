"""Rows that training reads from data sets."""

from __future__ import annotations

import json
from pathlib import Path

from visreward.training.config import DataConfig
from visreward.training.data.reading import read_rows


def test_read_rows_edits_without_scores_have_an_order_and_no_dimensions(tmp_path: Path) -> None:
    plain = {"prompt": "make it red", "path_src": "s.png", "path1": "a.png", "path2": "b.png"}
    scores = {f"model{i}_dim{k}_score": i + k for i in (1, 2) for k in (1, 2)}
    (tmp_path / "train.json").write_text(json.dumps([plain | scores, plain]), encoding="utf-8")
    scored, ordered = read_rows(DataConfig(path=tmp_path, format="editreward"), "train", None)
    assert scored.dimensions == ((2.0, 3.0), (3.0, 4.0))
    assert scored.overall == (2.5, 3.5)
    assert ordered.dimensions == ()
    assert ordered.overall == (1.0, 0.0)
    assert ordered.sources == (tmp_path / "s.png",)
