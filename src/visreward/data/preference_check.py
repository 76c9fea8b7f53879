"""Check a data set of preferences: count its rows, name what is malformed, missing or repeated."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

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
from visreward.data.preference_files import PreferenceData, PreferenceFormat
from visreward.data.preference_pairs import (
    PairLabels,
    conflicts,
    conflicts_between,
    pair_labels,
)
from visreward.data.preference_table import FolderStore, PreferenceTable

_KINDS: Final = {
    "both": "same pair with both labels",
    "tie": "same pair as a tie and with a label",
    "repeated": "repeated pair",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """A split's name, its pairs, and the texts that no other split may have."""

    name: str
    pairs: PairLabels
    prompts: Arrow
    images: Arrow


def check_preferences(
    layout: PreferenceFormat,
    path: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    open_images: bool = False,
) -> DatasetReport:
    """Return what is wrong in a data set of preferences.

    Problems: malformed rows, image files that are not there, repeated pairs, and the same pair
    with both labels, or as a tie and with a label, in one split or in two. Warnings: rows without
    a label, votes or overall scores against the preferred image, pairs, prompts and images that
    are in two splits. Splits that are meant to hold each other's rows are not compared. The image
    folder is listed once; no image is opened unless asked for. Deterministic.

    Args:
        layout: The format.
        path: What `PreferenceData` takes.
        images: The folder that images are named relative to; None means that of the file.
        progress: Called with the number of rows checked since the last call, or None.
        open_images: Whether to decode every image, which takes milliseconds each.

    Raises:
        DataError: if there is no file, or one cannot be read at all.
        MissingExtraError: if pyarrow is not installed.
    """
    data = PreferenceData(layout, path, images=images)
    log = ProblemLog()
    counts: dict[str, int] = {}
    listed: dict[Path, Arrow] = {}
    splits: list[_Split] = []
    for name in data.splits:  # one table in memory at a time
        table = data.split(name, progress=None if open_images else progress)
        counts[name] = len(table)
        log.add("malformed row", table.bad_rows.values(), count=len(table.bad_rows))
        _check_judgements(table, log=log)
        _check_images(table, listed, log=log)
        splits.append(_split_of(table))
        _check_pairs(table, splits[-1].pairs, log=log)
        if open_images:
            _open_images(table, log=log, progress=progress)
        del table
    for first, second in itertools.combinations(splits, 2):
        if frozenset({first.name, second.name}) not in layout.nested:
            _check_overlap(first, second, log=log)
    return DatasetReport(
        dataset=layout.name, path=Path(path), counts=counts, problems=log.problems()
    )


def _split_of(table: PreferenceTable) -> _Split:
    compute = load_optional("pyarrow.compute", extra="train")
    return _Split(
        table.name,
        pair_labels(table),
        table.rows.column("prompt").drop_null().unique(),
        compute.list_flatten(table.rows.column("images")).unique(),
    )


def _check_judgements(table: PreferenceTable, *, log: ProblemLog) -> None:
    """Log rows that nobody judged, and votes and scores that say the opposite of the ranks."""
    found: dict[str, list[int]] = {"no label": [], "votes": [], "overall": []}
    columns = table.rows.select(["row", "prompt", "ranks", "votes", "overall"])
    for batch in columns.to_batches(max_chunksize=ROWS_PER_GROUP):
        for cells in batch.to_pylist():
            if cells["prompt"] is None:
                continue
            if cells["ranks"] is None:
                found["no label"].append(cells["row"])
            elif len(cells["ranks"]) == 2:
                for name in ("votes", "overall"):
                    if _is_against(cells["ranks"], cells[name]):
                        found[name].append(cells["row"])
    kinds = {
        "no label": "row without a label",
        "votes": "votes against the preferred image",
        "overall": "overall scores against the preferred image",
    }
    for name, rows in found.items():
        examples = (table.place(row) for row in rows)
        log.add(kinds[name], examples, count=len(rows), is_warning=True)


def _is_against(ranks: list[int], values: list[float | None] | None) -> bool:
    """Return whether the image that is ranked behind has the higher value."""
    if values is None or values[0] is None or values[1] is None:
        return False
    return (ranks[1] - ranks[0]) * (values[0] - values[1]) < 0


def _check_images(table: PreferenceTable, listed: dict[Path, Arrow], *, log: ProblemLog) -> None:
    """Log image files that are not there; images in the tables themselves need no files."""
    if not isinstance(table.store, FolderStore):
        return
    arrow = load_optional("pyarrow", extra="train")
    compute = load_optional("pyarrow.compute", extra="train")
    folder = table.store.folder
    if folder not in listed:
        listed[folder] = arrow.array(list_files(folder), arrow.large_string())
    for column in ("sources", "images"):
        lists = table.rows.column(column)
        names = compute.list_flatten(lists)
        is_missing = compute.invert(compute.is_in(names, value_set=listed[folder]))
        missing = names.filter(is_missing)
        places = compute.list_parent_indices(lists).filter(is_missing)
        rows = table.rows.column("row").take(places)
        examples = (
            f"{table.place(row.as_py())}: {name.as_py()}"
            for row, name in zip(rows, missing, strict=True)
        )
        log.add("missing image", examples, count=len(missing))


def _check_pairs(table: PreferenceTable, pairs: PairLabels, *, log: ProblemLog) -> None:
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for each in sorted(conflicts(pairs), key=lambda each: (each.row, each.earlier)):
        found[each.kind].append(f"{table.place(each.row)} and {table.place(each.earlier)}")
    for kind, examples in found.items():
        log.add(_KINDS[kind], examples)


def _check_overlap(first: _Split, second: _Split, *, log: ProblemLog) -> None:
    compute = load_optional("pyarrow.compute", extra="train")
    names = f"{first.name} and {second.name}"
    shared_pairs = np.intersect1d(first.pairs.keys, second.pairs.keys)
    rows = second.pairs.rows[np.isin(second.pairs.keys, shared_pairs)]
    examples = (f"{names}: row {row} of {second.name}" for row in np.unique(rows).tolist())
    log.add("pair in two splits", examples, count=len(shared_pairs), is_warning=True)
    contradictions = [
        f"{first.name} row {each.earlier} and {second.name} row {each.row}"
        for each in conflicts_between(first.pairs, second.pairs)
        if each.kind != "repeated"
    ]
    log.add("same pair with another label in another split", contradictions)
    for kind, values, others in (
        ("prompt in two splits", first.prompts, second.prompts),
        ("image in two splits", first.images, second.images),
    ):
        shared = values.filter(compute.is_in(values, value_set=others))
        texts = (f"{names}: {value.as_py()!r:.80}" for value in shared)
        log.add(kind, texts, count=len(shared), is_warning=True)


def _open_images(table: PreferenceTable, *, log: ProblemLog, progress: Progress | None) -> None:
    for number in range(len(table)):
        log.add("unreadable image", _reasons(table, number))
        if progress is not None:
            progress(1)


def _reasons(table: PreferenceTable, number: int) -> Iterator[str]:
    """Yield why images of a row that are there cannot be read."""
    if number in table.bad_rows:
        return
    try:
        row = table[number]
    except DataError as error:  # no encoded image in the table
        yield str(error)
        return
    for image in (*row.sources, *(each.image for each in row.images)):
        if isinstance(image, Path) and not image.is_file():
            continue
        try:
            read_image(image if isinstance(image, Path) else image.data)
        except ImageError as error:
            yield f"{row.id}: {error}"
