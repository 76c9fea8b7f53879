"""Files and columns of Pick-High: where they are, what they are called, what they hold.

The names of the published columns and folders appear here and nowhere else.
Layout: `Pick-High/{split}.pkl` or `.parquet`, images in `pick_easy_img/{split}` (losing and
winning) and `pick_refine_img/{split}` (refined). Source: the data card of the ICTHP release.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visreward.core.errors import DataError, UnknownNameError
from visreward.data.base import Arrow, load_optional, path_inside, read_parquet
from visreward.data.cells import CellKind, typed_cells
from visreward.data.frame_pickle import read_frame

SPLITS: Final = ("train", "val", "test")
TABLE_FOLDER: Final = "Pick-High"
LABELS: Final = ("e1", "e2", "r1", "r2")
VOTES: Final = ("votes_winning", "votes_losing")
IMAGE_FOLDERS: Final = {
    "losing_image": "pick_easy_img",
    "winning_image": "pick_easy_img",
    "refined_image": "pick_refine_img",
}
_SUFFIXES: Final = (".parquet", ".pkl")


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: our name, the published name, what a cell is, and which others it needs."""

    name: str
    published: str
    cell: CellKind
    group: tuple[str, ...] = ()


_COLUMNS: Final = (
    _Column("basic_prompt", "easy_prompt", "text"),
    _Column("refined_prompt", "refine_prompt", "text"),
    _Column("losing_image", "easy_image_0", "text"),
    _Column("winning_image", "easy_image_1", "text"),
    _Column("refined_image", "refine_image", "text"),
    _Column("e1", "E1", "number", LABELS),
    _Column("e2", "E2", "number", LABELS),
    _Column("r1", "R1", "number", LABELS),
    _Column("r2", "R2", "number", LABELS),
    _Column("votes_losing", "votes_0", "whole number", VOTES),
    _Column("votes_winning", "votes_1", "whole number", VOTES),
    _Column("confidence", "confidence", "number"),
    _Column("loss_kind", "loss_kind", "text"),
    _Column("severity", "severity", "whole number"),
    _Column("losing_prompt", "losing_prompt", "text"),
)
REQUIRED: Final = tuple(column.name for column in _COLUMNS[:5])


@dataclass(frozen=True, slots=True, kw_only=True)
class PickHighFiles:
    """Where the parts of a Pick-High dataset are.

    Attributes:
        images: The folder of the image folders.
        tables: The table of each split, in the order train, val, test.
    """

    images: Path
    tables: Mapping[str, Path]

    def table(self, split: str) -> Path:
        """Return the table of a split.

        Raises:
            UnknownNameError: if there is no such split.
        """
        if split not in self.tables:
            raise UnknownNameError(
                f"There is no split {split!r} here. Splits found: {', '.join(self.tables)}."
            )
        return self.tables[split]

    def labels(self, split: str) -> Path:
        """Return where the labels of a split are, if they are kept beside its table."""
        table = self.table(split)
        return table.with_name(f"{table.stem}.labels.parquet")

    def image_folder(self, split: str, *, column: str) -> Path:
        """Return the folder that the names in an image column are relative to."""
        return self.images / IMAGE_FOLDERS[column] / split

    def image(self, split: str, *, column: str, name: str) -> Path:
        """Return the path of an image.

        Raises:
            DataError: if the name leads out of the image folder.
        """
        return path_inside(self.image_folder(split, column=column), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PickHighTable:
    """One table, read.

    Attributes:
        file: Where it was read from.
        rows: A pyarrow.Table under our column names: large_string, double or int64.
        spelling: The name in the file of each column that is there.
        missing: Names of columns that must be there and are not, as published.
        unknown: Names of columns that no one knows; they are not in `rows`.
        bad_cells: What is wrong with cells of the wrong type, by row; they are null in `rows`.
    """

    file: Path
    rows: Arrow
    spelling: Mapping[str, str]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    bad_cells: Mapping[int, str]

    def require_columns(self) -> None:
        """Stop if a column is missing.

        Raises:
            DataError: naming the columns.
        """
        if self.missing:
            raise DataError(
                f"The table '{self.file}' lacks the columns {', '.join(self.missing)}. "
                f"It has: {', '.join([*self.spelling.values(), *self.unknown])}. "
                "Check that it is a table of Pick-High."
            )


def find_files(
    path: str | os.PathLike[str], *, images: str | os.PathLike[str] | None = None
) -> PickHighFiles:
    """Return where the tables and images of a dataset are.

    Where a split has a Parquet table and a pickle, the Parquet table is taken.

    Args:
        path: The dataset's folder, its folder of tables, or one table.
        images: The folder of the image folders; None means that of the dataset.

    Raises:
        DataError: if there is no table.
    """
    given = Path(path)
    folder = given.parent if given.is_file() else given
    if (folder / TABLE_FOLDER).is_dir() and folder == given:
        folder = folder / TABLE_FOLDER
    root = folder.parent if folder.name == TABLE_FOLDER else folder
    if given.is_file():
        tables = {given.stem: given} if given.suffix in _SUFFIXES else {}
    else:
        tables = {
            split: file
            for split in SPLITS
            for file in (folder / f"{split}{suffix}" for suffix in reversed(_SUFFIXES))
            if file.is_file()
        }
    if not tables:
        raise DataError(
            f"No table of Pick-High was found at '{given}'. Give the folder that holds "
            f"{TABLE_FOLDER}/train.pkl (or val, test; or .parquet), or one such table."
        )
    return PickHighFiles(images=Path(images) if images is not None else root, tables=tables)


def read_table(file: Path) -> PickHighTable:
    """Return a table under our column names, whichever names it has in the file.

    Args:
        file: A pickled DataFrame (`.pkl`) or a Parquet file.

    Raises:
        DataError: if the file cannot be read, or names one column twice.
        UnsafePickleError: if a pickle holds more than a DataFrame.
    """
    arrow = load_optional("pyarrow", extra="train")
    found = _pickled_columns(file) if file.suffix == ".pkl" else _parquet_columns(file)
    columns: dict[str, Arrow] = {}
    spelling: dict[str, str] = {}
    bad_cells: dict[int, str] = {}
    for column in _COLUMNS:
        names = [name for name in (column.name, column.published) if name in found]
        if not names:
            continue
        if names[0] != names[-1]:
            raise DataError(
                f"The table '{file}' has both the columns {names[0]} and {names[1]}, which are "
                "one thing. Leave one of them out."
            )
        spelling[column.name] = names[0]
        columns[column.name], bad = typed_cells(found[names[0]], cell=column.cell)
        for row, value in bad.items():
            bad_cells.setdefault(row, f"{value} in column {names[0]}, expected a {column.cell}")
    missing = (
        column.published
        for column in _COLUMNS
        if column.name not in columns
        and (column.name in REQUIRED or any(name in columns for name in column.group))
    )
    return PickHighTable(
        file=file,
        rows=arrow.table(columns),
        spelling=spelling,
        missing=tuple(missing),
        unknown=tuple(name for name in found if name not in spelling.values()),
        bad_cells=bad_cells,
    )


def _pickled_columns(file: Path) -> dict[str, Arrow]:
    """Return the columns of a pickled frame: lists of objects, or arrays of numbers."""
    arrow = load_optional("pyarrow", extra="train")
    frame = read_frame(file)
    columns: dict[str, Arrow] = {}
    for position, name in enumerate(map(str, frame.columns)):
        if name in columns:
            raise DataError(
                f"The table '{file}' has two columns named {name}. Leave one of them out."
            )
        cells = frame.iloc[:, position].to_numpy()
        is_objects = cells.dtype == object
        columns[name] = cells.tolist() if is_objects else arrow.array(cells, from_pandas=True)
    return columns


def _parquet_columns(file: Path) -> dict[str, Arrow]:
    table = read_parquet(file)
    return {name: table.column(name) for name in dict.fromkeys(table.column_names)}
