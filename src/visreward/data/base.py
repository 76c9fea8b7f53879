"""What all dataset readers share: reports of problems, file listings, Parquet files."""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, TypeAlias

from visreward.core.errors import DataError, missing_extra
from visreward.core.whole_files import whole_file

Arrow: TypeAlias = Any  # a Table, Array or DataType of pyarrow, which ships no types

Progress: TypeAlias = Callable[[int], None]
"""Called with the number of rows done since the last call."""

MAX_EXAMPLES = 20
ROWS_PER_GROUP = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One kind of thing that is wrong in a dataset.

    Attributes:
        kind: What is wrong, in a few words.
        count: How many times.
        examples: Where, for at most `MAX_EXAMPLES` of them.
        is_warning: Whether the dataset can be used as it is all the same.
    """

    kind: str
    count: int
    examples: tuple[str, ...]
    is_warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetReport:
    """What a check of a dataset found.

    Attributes:
        dataset: Name of the dataset's kind, such as `pick-high`.
        path: What was checked.
        counts: Number of rows per split.
        problems: What is wrong, one entry per kind; empty if nothing is.
    """

    dataset: str
    path: Path
    counts: Mapping[str, int]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; warnings alone leave a dataset ok."""
        return all(problem.is_warning for problem in self.problems)


class ProblemLog:
    """Counts problems by kind while a dataset is checked, and keeps the first examples."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}
        self._warnings: set[str] = set()

    def add(
        self,
        kind: str,
        examples: Iterable[str],
        *,
        count: int | None = None,
        is_warning: bool = False,
    ) -> None:
        """Count problems of one kind.

        Args:
            kind: What is wrong.
            examples: Where. No more are taken from it than are kept, unless `count` is None.
            count: How many there are; None counts the examples.
            is_warning: Whether the dataset can be used all the same.
        """
        kept = self._examples.get(kind, [])
        if count is None:
            examples = list(examples)
            count = len(examples)
        if count == 0:
            return
        kept += itertools.islice(examples, MAX_EXAMPLES - len(kept))
        self._examples[kind] = kept
        self._counts[kind] = self._counts.get(kind, 0) + count
        if is_warning:
            self._warnings.add(kind)

    def problems(self) -> tuple[Problem, ...]:
        """Return what was counted, in the order in which the kinds came up first."""
        return tuple(
            Problem(
                kind=kind,
                count=count,
                examples=tuple(self._examples[kind]),
                is_warning=kind in self._warnings,
            )
            for kind, count in self._counts.items()
        )


def load_optional(module: str, *, extra: str) -> ModuleType:
    """Return a module of an optional package.

    Args:
        module: Its full name, such as `pyarrow.parquet`.
        extra: The extra of this package that installs it.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise missing_extra(module.partition(".")[0], extra) from error


def list_files(folder: Path) -> list[str]:
    """Return the names of all files under a folder, as relative POSIX paths, unsorted.

    Folders are listed, files are not touched: a million names take seconds. A missing folder
    has no files.
    """
    names: list[str] = []
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            entries = os.scandir(folder / prefix)
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                if entry.is_dir():
                    pending.append(f"{prefix}{entry.name}/")
                else:
                    names.append(prefix + entry.name)
    return names


def path_inside(folder: Path, name: str) -> Path:
    """Return the path of a named file in a folder.

    Args:
        folder: The folder that the name is relative to.
        name: A relative POSIX path.

    Raises:
        DataError: if the name is empty, absolute, or leads out of the folder.
    """
    parts = PurePosixPath(name)
    if not parts.parts or parts.is_absolute() or ".." in parts.parts:
        raise DataError(
            f"The file name {name!r} does not lead into the folder '{folder}'. "
            "Name files relative to that folder."
        )
    return folder / parts


def read_parquet(file: Path) -> Arrow:
    """Return a Parquet file as a pyarrow.Table with each column in one piece.

    Raises:
        DataError: if the file is missing or is not Parquet.
        MissingExtraError: if pyarrow is not installed.
    """
    arrow = load_optional("pyarrow", extra="train")
    parquet = load_optional("pyarrow.parquet", extra="train")
    try:
        return parquet.read_table(file, partitioning=None).combine_chunks()
    except (OSError, arrow.ArrowInvalid) as error:
        raise unreadable_parquet(file, error) from error


def unreadable_parquet(file: Path, error: Exception) -> DataError:
    """Return the error that a file is not there or is not Parquet."""
    return DataError(
        f"The table '{file}' cannot be read as Parquet: {error}. "
        "Check the path, or write the table again."
    )


def write_parquet(table: Arrow, file: Path, *, progress: Progress | None = None) -> None:
    """Write a pyarrow.Table as Parquet, in row groups of `ROWS_PER_GROUP`.

    The file appears whole or not at all, and replaces one of the same name.

    Args:
        table: A pyarrow.Table.
        file: Where to; folders are made.
        progress: Called after each row group, or None.

    Raises:
        MissingExtraError: if pyarrow is not installed.
    """
    parquet = load_optional("pyarrow.parquet", extra="train")
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as part, parquet.ParquetWriter(part, table.schema) as writer:
        for start in range(0, table.num_rows, ROWS_PER_GROUP):
            group = table.slice(start, ROWS_PER_GROUP)
            writer.write_table(group)
            if progress is not None:
                progress(group.num_rows)
