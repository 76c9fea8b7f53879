"""Check a Pick-High dataset: count its rows, name what is missing, wrong or repeated."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from visreward.core.errors import DataError, ImageError
from visreward.core.images import read_image
from visreward.data.base import (
    ROWS_PER_GROUP,
    Arrow,
    DatasetReport,
    ProblemLog,
    Progress,
    list_files,
    load_optional,
)
from visreward.data.containment import read_labels
from visreward.data.pick_high_table import (
    IMAGE_FOLDERS,
    LABELS,
    REQUIRED,
    PickHighFiles,
    PickHighTable,
    find_files,
    read_table,
)

_PROMPTS = ("basic_prompt", "refined_prompt")


@dataclass(frozen=True, slots=True)
class _Split:
    """A split's name, and those of its values that no other split may have."""

    name: str
    values: Mapping[tuple[str, str], Arrow]


def check_pick_high(
    path: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    open_images: bool = False,
) -> DatasetReport:
    """Return what is wrong in a Pick-High dataset.

    Problems: missing columns, cells of the wrong type, empty prompts, image files that are not
    there, labels that are missing or outside [0, 1], rows that repeat another (same prompts,
    same images). Warnings: unknown columns, and prompts or image names that are in two splits;
    the same short prompt or name can come up twice by chance, but a row known from training
    makes a result on the other split worth less. Image folders are listed once; no image is
    touched unless asked for. Deterministic.

    Args:
        path: What `PickHigh` takes.
        images: The folder of the image folders; None means that of the dataset.
        progress: Called with the number of rows checked since the last call, or None.
        open_images: Whether to decode every image, which takes milliseconds each.

    Raises:
        DataError: if there is no table, or one cannot be read at all.
        UnsafePickleError: if a pickle holds more than a DataFrame.
    """
    files = find_files(path, images=images)
    log = ProblemLog()
    counts: dict[str, int] = {}
    splits: list[_Split] = []
    for split in files.tables:
        table = read_table(files.table(split))
        counts[split] = table.rows.num_rows
        _check_columns(table, split=split, log=log)
        _check_prompts(table, split=split, log=log)
        _check_labels(table, files, split=split, log=log)
        _check_repeats(table, split=split, log=log)
        _check_images(table, files, split=split, log=log)
        splits.append(_Split(split, _names_in(table)))
        if open_images:
            _open_images(table, files, split=split, log=log, progress=progress)
        elif progress is not None:
            progress(counts[split])
    for first, second in itertools.combinations(splits, 2):
        _check_overlap(first, second, log=log)
    return DatasetReport(
        dataset="pick-high", path=Path(path), counts=counts, problems=log.problems()
    )


def _check_columns(table: PickHighTable, *, split: str, log: ProblemLog) -> None:
    log.add("missing column", (f"{split}: {name}" for name in table.missing))
    unknown = (f"{split}: {name}" for name in table.unknown)
    log.add("unknown column", unknown, is_warning=True)
    bad = table.bad_cells
    log.add("cell of the wrong type", (_row(split, row, bad[row]) for row in sorted(bad)))


def _row(split: str, row: int, what: object) -> str:
    return f"{split} row {row}: {what}"


def _rows_where(mask: Arrow) -> Arrow:
    """Return the numbers of the rows where a mask is true, as a pyarrow array."""
    compute = load_optional("pyarrow.compute", extra="train")
    return compute.indices_nonzero(mask)


def _check_prompts(table: PickHighTable, *, split: str, log: ProblemLog) -> None:
    compute = load_optional("pyarrow.compute", extra="train")
    for name in _PROMPTS:
        if name not in table.spelling:
            continue
        text = compute.utf8_trim_whitespace(table.rows.column(name))
        rows = _rows_where(compute.equal(text, "")).to_pylist() + _rows_with_no_cell(table, name)
        examples = (_row(split, row, table.spelling[name]) for row in sorted(rows))
        log.add("empty prompt", examples, count=len(rows))


def _check_labels(
    table: PickHighTable, files: PickHighFiles, *, split: str, log: ProblemLog
) -> None:
    compute = load_optional("pyarrow.compute", extra="train")
    source = table.rows
    if files.labels(split).is_file():
        try:
            source = read_labels(files.labels(split), num_rows=table.rows.num_rows)
        except DataError as error:
            log.add("unusable label file", [str(error)])
            return
    for name in LABELS:
        if name not in source.column_names:
            continue
        values = source.column(name)
        is_inside = compute.and_(
            compute.greater_equal(values, 0.0), compute.less_equal(values, 1.0)
        )
        rows = _rows_where(compute.invert(compute.fill_null(is_inside, False))).to_pylist()
        if source is table.rows:
            rows = [row for row in rows if row not in table.bad_cells]
        examples = (_row(split, row, f"{name.upper()} = {values[row]}") for row in rows)
        log.add("label missing or outside [0, 1]", examples, count=len(rows))


def _check_repeats(table: PickHighTable, *, split: str, log: ProblemLog) -> None:
    arrow = load_optional("pyarrow", extra="train")
    compute = load_optional("pyarrow.compute", extra="train")
    if any(name not in table.spelling for name in REQUIRED):
        return
    rows = table.rows.select(REQUIRED).append_column("row", arrow.array(range(table.rows.num_rows)))
    groups = rows.group_by(list(REQUIRED)).aggregate(
        [("row", "min"), ("row", "max"), ("row", "count")]
    )
    repeated = groups.filter(compute.greater(groups.column("row_count"), 1)).sort_by("row_max")
    examples = (
        _row(split, group["row_max"], f"same as row {group['row_min']}")
        for group in repeated.to_pylist()
    )
    extra = compute.sum(repeated.column("row_count")).as_py() or 0
    log.add("repeated row", examples, count=extra - repeated.num_rows)


def _check_images(
    table: PickHighTable, files: PickHighFiles, *, split: str, log: ProblemLog
) -> None:
    arrow = load_optional("pyarrow", extra="train")
    compute = load_optional("pyarrow.compute", extra="train")
    present: dict[Path, Arrow] = {}
    for column, folder_name in _image_columns(table).items():
        folder = files.image_folder(split, column=column)
        if folder not in present:
            present[folder] = arrow.array(list_files(folder), arrow.large_string())
        names = table.rows.column(column)
        is_there = compute.is_in(names, value_set=present[folder])
        rows = _rows_where(compute.and_(compute.invert(is_there), compute.is_valid(names)))
        examples = (
            _row(split, row.as_py(), f"{folder_name}/{split}/{names[row.as_py()]}") for row in rows
        )
        log.add("missing image", examples, count=len(rows))
        unnamed = _rows_with_no_cell(table, column)
        examples = (_row(split, row, table.spelling[column]) for row in unnamed)
        log.add("empty image name", examples, count=len(unnamed))


def _open_images(
    table: PickHighTable,
    files: PickHighFiles,
    *,
    split: str,
    log: ProblemLog,
    progress: Progress | None,
) -> None:
    names = table.rows.select(list(_image_columns(table)))
    for batch in names.to_batches(max_chunksize=ROWS_PER_GROUP):
        for cells in batch.to_pylist():
            for column, name in cells.items():
                log.add("unreadable image", _reasons(files, split=split, column=column, name=name))
            if progress is not None:
                progress(1)


def _reasons(files: PickHighFiles, *, split: str, column: str, name: str | None) -> list[str]:
    """Return why an image that is there cannot be read, or nothing."""
    if name is None:
        return []
    try:
        image = files.image(split, column=column, name=name)
        if image.is_file():
            read_image(image)
    except (ImageError, DataError) as error:
        return [str(error)]
    return []


def _image_columns(table: PickHighTable) -> dict[str, str]:
    """Return the folder of each image column that is there."""
    return {name: folder for name, folder in IMAGE_FOLDERS.items() if name in table.spelling}


def _rows_with_no_cell(table: PickHighTable, column: str) -> list[int]:
    """Return the rows whose cell is empty in the file, not of the wrong type."""
    rows = _rows_where(table.rows.column(column).is_null()).to_pylist()
    return [row for row in rows if row not in table.bad_cells]


def _names_in(table: PickHighTable) -> dict[tuple[str, str], Arrow]:
    """Return what no two splits may share: (kind of problem, which column or folder) to values."""
    arrow = load_optional("pyarrow", extra="train")
    compute = load_optional("pyarrow.compute", extra="train")
    found: dict[tuple[str, str], list[Arrow]] = {}
    for name in _PROMPTS:
        if name in table.spelling:
            found["prompt in two splits", name] = [table.rows.column(name)]
    for name, folder in _image_columns(table).items():
        found.setdefault(("image name in two splits", folder), []).append(table.rows.column(name))
    values = {
        key: arrow.chunked_array(
            itertools.chain.from_iterable(column.chunks for column in columns),
            arrow.large_string(),
        ).unique()
        for key, columns in found.items()
    }
    return {key: array.filter(compute.not_equal(array, "")) for key, array in values.items()}


def _check_overlap(first: _Split, second: _Split, *, log: ProblemLog) -> None:
    compute = load_optional("pyarrow.compute", extra="train")
    for (kind, name), values in first.values.items():
        if (kind, name) in second.values:
            is_shared = compute.is_in(values, value_set=second.values[kind, name])
            shared = values.filter(is_shared)
            examples = (
                f"{first.name} and {second.name}: {name} {value.as_py()!r:.80}" for value in shared
            )
            log.add(kind, examples, count=len(shared), is_warning=True)
