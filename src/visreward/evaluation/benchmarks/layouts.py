"""Find which layout a benchmark's data is in, and read it as groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visreward.core.errors import DataError, UsageError
from visreward.data.preference_files import PreferenceData, PreferenceFormat
from visreward.data.preferences import PreferenceRow
from visreward.evaluation.benchmarks.base import BenchData
from visreward.evaluation.benchmarks.group_files import is_group_file, read_groups
from visreward.evaluation.benchmarks.groups import table_data


def category_of(row: PreferenceRow) -> str:
    """Return the category that the data set gives a row."""
    return row.category


def require_path(path: Path | None, *, benchmark: str) -> Path:
    """Return the path of a benchmark's data.

    Raises:
        UsageError: if none is given.
        DataError: if there is nothing.
    """
    if path is None:
        raise UsageError(
            f"The benchmark '{benchmark}' makes no pictures of its own. Give the folder or file of "
            "its data with --data."
        )
    if not path.exists():
        raise DataError(f"There is no data in '{path}'. Check the path.")
    return path


def read_layout(
    path: Path | None,
    layouts: Sequence[PreferenceFormat],
    *,
    benchmark: str,
    images: Path | None = None,
    splits: Sequence[str] | None = None,
) -> BenchData:
    """Return the groups in a JSONL of groups, in a file of one of several layouts, or in a folder.

    Of a folder, the first layout that has a file there is read, and of that the first split.

    Args:
        path: What was given.
        layouts: What the data may look like, the likeliest first.
        benchmark: Name for messages.
        images: The folder that images are named relative to, or None for that of the file.
        splits: Which splits are the benchmark's, the likeliest first; None means all of the layout.

    Raises:
        UsageError: if no path is given, or a folder of images for tables that hold theirs.
        DataError: if there is no such data, or it cannot be read.
    """
    path = require_path(path, benchmark=benchmark)
    if is_group_file(path):
        return read_groups(path, images=images)
    layout = next((each for each in layouts if _is_there(each, path, splits)), None)
    if layout is None:
        raise DataError(
            f"No data of the benchmark '{benchmark}' was found in '{path}'. Give a JSONL of "
            f"groups, or a file or folder with {' or '.join(_wanted(layouts, splits))}."
        )
    data = PreferenceData(layout, path, images=images)
    wanted = data.splits if path.is_file() else splits or layout.splits
    name = next(each for each in wanted if each in data.splits)
    return table_data(data.split(name), category=category_of)


def _is_there(layout: PreferenceFormat, path: Path, splits: Sequence[str] | None) -> bool:
    if path.is_file():
        return path.suffix == f".{layout.kind}"
    try:
        found = PreferenceData(layout, path).splits
    except DataError:
        return False
    return splits is None or not set(splits).isdisjoint(found)


def _wanted(layouts: Sequence[PreferenceFormat], splits: Sequence[str] | None) -> list[str]:
    return [f"{split}.{layout.kind}" for layout in layouts for split in splits or layout.splits]
