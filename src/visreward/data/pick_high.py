"""Read Pick-High: triplets of a losing, a winning and a refined image.

Data card: the ICTHP release (arXiv 2507.19002). The released training code reads the label E2
from the column R1; here each label comes from its own column, and repeating that is left to the
loss that asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from visreward.core.errors import DataError
from visreward.core.types import PreferencePair
from visreward.data.base import Arrow, Progress, write_parquet
from visreward.data.containment import ContainmentLabels, LabelSource, label_source, read_labels
from visreward.data.pick_high_table import (
    LABELS,
    REQUIRED,
    TABLE_FOLDER,
    VOTES,
    PickHighFiles,
    find_files,
    read_table,
)

_Cells = Mapping[str, Any]  # a row by column; what a cell may be depends on its column


_PAIRS = (("winning", "losing"), ("refined", "winning"), ("refined", "losing"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplet:
    """One row of Pick-High.

    Attributes:
        id: Split and row number, such as `train/17`.
        basic_prompt: The prompt that people wrote; losing and winning image were made for it.
        refined_prompt: A fuller prompt; the refined image was made for it.
        losing_image: Path of the image that people liked less.
        winning_image: Path of the image that people liked more.
        refined_image: Path of the image made for the refined prompt.
        labels: How far the first two images contain the prompts, or None if not labelled.
        votes: How many annotators chose (the winning, the losing) image, or None if unknown.
        confidence: Probability in [0, 1] that the winning image is better, or None if unknown.
        loss_kind: What is wrong with the losing image, or None if unknown.
        severity: How strong that is, 1 to 5, or None if it has no degrees or is unknown.
        losing_prompt: What the losing image does show, or None if unknown.
    """

    id: str
    basic_prompt: str
    refined_prompt: str
    losing_image: Path
    winning_image: Path
    refined_image: Path
    labels: ContainmentLabels | None = None
    votes: tuple[int, int] | None = None
    confidence: float | None = None
    loss_kind: str | None = None
    severity: int | None = None
    losing_prompt: str | None = None


class PickHighSplit(Sequence[Triplet]):
    """The triplets of one split, built when asked for; see `PickHigh.split`."""

    def __init__(self, files: PickHighFiles, *, name: str) -> None:
        self.name = name
        self._files = files
        self._table = read_table(files.table(name))
        self._table.require_columns()
        self.rows: Arrow = self._table.rows
        self.label_source: LabelSource | None = None
        if files.labels(name).is_file():
            labels = read_labels(files.labels(name), num_rows=self.rows.num_rows)
            self.label_source = label_source(labels)
            others = [column for column in self.rows.column_names if column not in LABELS]
            self.rows = self.rows.select(others)
            for column in LABELS:
                self.rows = self.rows.append_column(column, labels.column(column))

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @overload
    def __getitem__(self, index: int) -> Triplet: ...

    @overload
    def __getitem__(self, index: slice) -> list[Triplet]: ...

    def __getitem__(self, index: int | slice) -> Triplet | list[Triplet]:
        """Return a triplet, or a list of them for a slice.

        Raises:
            DataError: if a cell of the row is missing or wrong.
            IndexError: if there is no such row.
        """
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(f"Row {index} of {len(self)} rows of the split '{self.name}'.")
        return self._triplet(row)

    def require_whole_cells(self) -> None:
        """Stop if any cell has the wrong type.

        Raises:
            DataError: naming the first such row and how many there are.
        """
        bad = self._table.bad_cells
        if bad:
            raise self._wrong(min(bad), f"{bad[min(bad)]}; {len(bad)} rows have such a cell")

    def _wrong(self, row: int, what: str) -> DataError:
        return DataError(
            f"Row {row} of '{self._table.file}' is wrong: {what}. "
            "Correct the table, or leave the row out."
        )

    def _triplet(self, row: int) -> Triplet:
        if row in self._table.bad_cells:
            raise self._wrong(row, self._table.bad_cells[row])
        cells: _Cells = self.rows.slice(row, 1).to_pylist()[0]
        for column in REQUIRED:
            if cells[column] is None:
                raise self._wrong(row, f"no value in column {self._table.spelling[column]}")

        def image(column: str) -> Path:
            return self._files.image(self.name, column=column, name=cells[column])

        return Triplet(
            id=f"{self.name}/{row}",
            basic_prompt=cells["basic_prompt"],
            refined_prompt=cells["refined_prompt"],
            losing_image=image("losing_image"),
            winning_image=image("winning_image"),
            refined_image=image("refined_image"),
            labels=self._labels(row, cells),
            votes=self._votes(row, cells),
            confidence=cells.get("confidence"),
            loss_kind=cells.get("loss_kind"),
            severity=cells.get("severity"),
            losing_prompt=cells.get("losing_prompt"),
        )

    def _labels(self, row: int, cells: _Cells) -> ContainmentLabels | None:
        if LABELS[0] not in cells:
            return None
        labels = {name: cells[name] for name in LABELS}
        for name, value in labels.items():
            if value is None or not 0.0 <= value <= 1.0:
                raise self._wrong(row, f"the label {name.upper()} is {value}, expected 0 to 1")
        return ContainmentLabels(**labels)

    def _votes(self, row: int, cells: _Cells) -> tuple[int, int] | None:
        winning, losing = (cells.get(name) for name in VOTES)
        if winning is None and losing is None:
            return None
        if winning is None or losing is None or min(winning, losing) < 0:
            raise self._wrong(row, f"the votes are {winning} and {losing}, expected two counts")
        return winning, losing


class PickHigh:
    """A Pick-High dataset on disk."""

    def __init__(
        self, path: str | os.PathLike[str], *, images: str | os.PathLike[str] | None = None
    ) -> None:
        """Find the tables; none is read yet.

        Args:
            path: The dataset's folder, its folder of tables, or one table (`.pkl` or
                `.parquet`). Where a split has both, the Parquet table is read.
            images: The folder that holds `pick_easy_img` and `pick_refine_img`; None means
                that they are where the dataset is.

        Raises:
            DataError: if there is no table.
        """
        self._files = find_files(path, images=images)
        self._splits: dict[str, PickHighSplit] = {}

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have a table."""
        return tuple(self._files.tables)

    def split(self, name: str) -> PickHighSplit:
        """Return the triplets of a split; the table is read once and kept.

        Labels come from `{split}.labels.parquet` beside the table if there is one, else from
        the table's own columns. Deterministic. No image is opened.

        Raises:
            UnknownNameError: if there is no such split.
            DataError: if the table or its labels cannot be read, or lack a column or rows.
            UnsafePickleError: if a pickle holds more than a DataFrame.
        """
        if name not in self._splits:
            self._splits[name] = PickHighSplit(self._files, name=name)
        return self._splits[name]

    def preference_pairs(self, split: str) -> Iterator[PreferencePair]:
        """Yield three preference pairs per triplet, all under the basic prompt.

        They are winning over losing, refined over winning, refined over losing. Votes and
        confidence are known for the first only. Their ids add `winning-losing` and so on to
        that of the triplet.

        Raises:
            DataError: at a row that is wrong, naming it.
        """
        for triplet in self.split(split):
            images = {
                "winning": triplet.winning_image,
                "losing": triplet.losing_image,
                "refined": triplet.refined_image,
            }
            for chosen, rejected in _PAIRS:
                is_voted = (chosen, rejected) == _PAIRS[0]
                yield PreferencePair(
                    prompt=triplet.basic_prompt,
                    chosen=images[chosen],
                    rejected=images[rejected],
                    votes=triplet.votes if is_voted else None,
                    confidence=triplet.confidence if is_voted else None,
                    id=f"{triplet.id}/{chosen}-{rejected}",
                )


def convert_pick_high(
    path: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Write each table of a Pick-High dataset as Parquet, under our column names.

    Labels kept beside a table go into it. Columns that the reader does not know are left out.
    Images are neither moved nor copied: the tables go on naming them relative to the image
    folders, so read a table in another place with `PickHigh(output, images=...)`.

    Args:
        path: What `PickHigh` takes.
        output: Folder to write `Pick-High/{split}.parquet` into; files there are replaced.
        progress: Called with the number of rows written since the last call, or None.

    Returns:
        The files written.

    Raises:
        DataError: if a table cannot be read, lacks a column, or has a cell of the wrong type.
        UnsafePickleError: if a pickle holds more than a DataFrame.
    """
    files = find_files(path)
    written = []
    for name in files.tables:
        split = PickHighSplit(files, name=name)
        split.require_whole_cells()
        file = Path(output) / TABLE_FOLDER / f"{name}.parquet"
        write_parquet(split.rows, file, progress=progress)
        written.append(file)
    return tuple(written)
