"""A small Pick-High data set that the tests of its reader, check and conversion share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

NUM_ROWS = 5


def published_rows(split: str, num_rows: int = NUM_ROWS) -> dict[str, list[object]]:
    """Return columns under the published names; no value occurs in two columns or rows."""
    rows = range(num_rows)
    return {
        "easy_prompt": [f"{split} basic {i}" for i in rows],
        "refine_prompt": [f"{split} refined {i}" for i in rows],
        "easy_image_0": [f"{split}{i}_0.png" for i in rows],
        "easy_image_1": [f"{split}{i}_1.png" for i in rows],
        "refine_image": [f"{split}{i}_r.png" for i in rows],
        "E1": [round(0.1 + i / 100, 2) for i in rows],
        "E2": [round(0.2 + i / 100, 2) for i in rows],
        "R1": [round(0.3 + i / 100, 2) for i in rows],
        "R2": [round(0.4 + i / 100, 2) for i in rows],
        "votes_0": [1 + i for i in rows],
        "votes_1": [10 + i for i in rows],
        "confidence": [round(0.6 + i / 100, 2) for i in rows],
        "loss_kind": [None if i == 1 else f"kind {i}" for i in rows],
        "severity": [None if i == 1 else i for i in rows],
        "losing_prompt": [f"{split} losing {i}" for i in rows],
    }


def series(cells: list[object]) -> pd.Series:
    """Return a column as pandas made it when the data set was published: text is objects."""
    has_text = any(isinstance(cell, str) for cell in cells)
    return pd.Series(cells, dtype=object if has_text else None)


WriteDataset = Callable[..., Path]


@pytest.fixture
def write_dataset(tmp_path: Path) -> WriteDataset:
    """Return a writer of the published layout: `write(train=columns, val=...) -> folder`."""

    def write(**splits: dict[str, list[object]]) -> Path:
        root = tmp_path / "Pick-High-Dataset"
        (root / "Pick-High").mkdir(parents=True)
        for split, columns in splits.items():
            frame = pd.DataFrame({name: series(cells) for name, cells in columns.items()})
            frame.to_pickle(root / "Pick-High" / f"{split}.pkl")
            for column, folder in (
                ("easy_image_0", "pick_easy_img"),
                ("easy_image_1", "pick_easy_img"),
                ("refine_image", "pick_refine_img"),
            ):
                images = root / folder / split
                images.mkdir(parents=True, exist_ok=True)
                for name in columns.get(column, []):
                    if isinstance(name, str) and "/" not in name:
                        Image.new("RGB", (2, 2)).save(images / name)
        return root

    return write


@pytest.fixture
def rows_of() -> Callable[..., dict[str, list[object]]]:
    """Return `published_rows`."""
    return published_rows
