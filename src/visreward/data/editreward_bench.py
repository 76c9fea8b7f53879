"""Read EditReward-Bench as groups: K candidate edits of one instruction, and their order.

Parquet, as published: a row a comparison, K (K - 1) / 2 of them to a group. The group is what an id
says up to its first underscore, within one K (columns num_candidates or dataset): ids of different
K may begin alike. The released judges group so too. Columns are those of
`data.editreward_tables`, which reads the same rows one by one.

JSON, as the released evaluation of reward models reads it: `EditReward_Bench_{K}pair.json`, a list
of groups with prompt, path_src, paths_generated (K paths) and human_vote, an object whose
`ranking` (what the released code judges by) or, where there is none, `preference` (what it logs)
ranks the letters A, B, ... of the paths.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Final, overload

from visreward.core.errors import DataError
from visreward.data.base import Problem, ProblemLog
from visreward.data.editreward_tables import EDITREWARD_BENCH, bench_comparison
from visreward.data.json_rows import iterate_json_list
from visreward.data.parquet_rows import ParquetStore, iterate_parquet
from visreward.data.preference_table import Part
from visreward.data.preferences import ImageBytes, JudgedImage, PreferenceRow
from visreward.data.rankings import read_ranking
from visreward.data.row import Row

LETTERS: Final = "ABCD"

_COLUMNS: Final = (
    "id",
    "num_candidates",
    "dataset",
    *(name for name in EDITREWARD_BENCH.columns if name not in EDITREWARD_BENCH.image_columns),
)
_DIGITS: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class BenchRows:
    """The groups of EditReward-Bench.

    Attributes:
        rows: A group each; made when asked for, with its images.
        problems: What was wrong with rows and groups, which are then not among them.
    """

    rows: Sequence[PreferenceRow]
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class _Group:
    """A group without its pictures.

    Attributes:
        id: Of the group.
        prompt: The instruction.
        letters: Of the candidates.
        orders: Who is better, by every two letters: 1 the first, -1 the second, 0 a tie.
        cells: Where the picture of each letter is: row of the split, and place in the row.
        generators: By letter.
        overall: Score by people, by letter.
        contradiction: Which comparison is there twice with two answers, or "".
    """

    id: str
    prompt: str
    letters: str
    orders: dict[tuple[str, str], int] = field(default_factory=dict)
    cells: dict[str, tuple[int, int]] = field(default_factory=dict)
    generators: dict[str, str | None] = field(default_factory=dict)
    overall: dict[str, float | None] = field(default_factory=dict)
    contradiction: str = ""


def read_editreward_bench(path: Path, *, images: Path | None = None) -> BenchRows:
    """Return all groups, in the order in which their first rows stand. Deterministic.

    A malformed row is a problem, and so is a group that lacks a comparison or whose comparisons
    contradict each other; they are left out. No image is opened.

    Args:
        path: The folder of the tables (or its folder `data`), the folder of the JSON files, or one
            such file.
        images: JSON: the folder that images are named relative to; None means that of the file.

    Raises:
        DataError: if there are no such files, or one cannot be read.
        MissingExtraError: if pyarrow is not installed and the files are tables.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.json"))
    if files and files[0].suffix == ".json":
        return _read_json(files, images)
    tables = files or sorted((*path.glob("*.parquet"), *path.glob("data/*.parquet")))
    if not tables or tables[0].suffix != ".parquet":
        raise DataError(
            f"No table of EditReward-Bench was found in '{path}'. Give the folder with its "
            ".parquet files, or with EditReward_Bench_2pair.json and so on."
        )
    return _read_tables(tables)


def _read_tables(files: Sequence[Path]) -> BenchRows:
    log = ProblemLog()
    groups: dict[tuple[str, str], _Group] = {}
    parts, start = [], 0
    for file in files:
        parts.append(Part(file, start))
        values = iterate_parquet(file, columns=_COLUMNS, has_images=False)
        for number, cells in enumerate(values):
            row = Row(cells, file=file, number=number)
            try:
                _add_comparison(row, groups, place=start)
            except DataError as error:
                log.add("malformed row", [str(error)])
            start += 1
    whole = [group for group in groups.values() if _is_whole(group, log)]
    store = ParquetStore(
        parts, images=EDITREWARD_BENCH.image_columns, sources=EDITREWARD_BENCH.source_columns
    )
    rows = _Made(len(whole), lambda number: _stored_row(whole[number], store))
    return BenchRows(rows, log.problems())


def _add_comparison(row: Row, groups: dict[tuple[str, str], _Group], *, place: int) -> None:
    """Add a comparison to its group."""
    size, given = _size(row), row.text("id")
    prefix = given.partition("_")[0]
    comparison = bench_comparison(row)
    letters = LETTERS[:size]
    if not set(comparison.letters) <= set(letters):
        raise row.error(
            f"compares {' and '.join(comparison.letters)}, but its group has {size} candidates: "
            f"{letters}"
        )
    name = f"K{size}/{prefix}"
    group = groups.setdefault(
        (letters, prefix), _Group(id=name, prompt=row.text("instruction"), letters=letters)
    )
    first, second = comparison.letters
    label = comparison.ranks[1] - comparison.ranks[0]
    if first > second:
        first, second, label = second, first, -label
    if group.orders.setdefault((first, second), label) != label:
        group.contradiction = f"row {row.number} of '{row.file}' against an earlier one"
    for number, letter in enumerate(comparison.letters):
        group.cells.setdefault(letter, (place, number))
        group.generators.setdefault(letter, row.optional_text(f"model_{number + 1}"))
        group.overall.setdefault(letter, row.optional_number(f"score_{number + 1}"))


def _size(row: Row) -> int:
    """Return K, which one of two columns says."""
    for key in ("num_candidates", "dataset"):
        digits = _DIGITS.match(str(row.get(key)))
        if digits is not None and 2 <= int(digits.group()) <= len(LETTERS):
            return int(digits.group())
    raise row.error(
        f"has {row.get('num_candidates')!r:.40} in 'num_candidates' and "
        f"{row.get('dataset')!r:.40} in 'dataset', expected 2 to {len(LETTERS)} candidates"
    )


def _is_whole(group: _Group, log: ProblemLog) -> bool:
    """Return whether all comparisons are there and agree; log what is wrong."""
    pairs = list(combinations(group.letters, 2))
    missing = [f"{one}-{other}" for one, other in pairs if (one, other) not in group.orders]
    if missing:
        log.add("group that lacks comparisons", [f"{group.id}: {', '.join(missing)}"])
        return False
    ranks = _ranks(group)
    for one, other in pairs:
        order = (ranks[other] > ranks[one]) - (ranks[other] < ranks[one])
        if order != group.orders[one, other]:
            group.contradiction = group.contradiction or f"{one}-{other} against the rest"
    if group.contradiction:
        kind = "group whose comparisons contradict each other"
        log.add(kind, [f"{group.id}: {group.contradiction}"])
    return not group.contradiction


def _ranks(group: _Group) -> dict[str, int]:
    """Return 1 and the number of candidates that are better, by letter."""
    worse: dict[str, int] = defaultdict(int)
    for (one, other), order in group.orders.items():
        worse[other] += order > 0
        worse[one] += order < 0
    return {letter: 1 + worse[letter] for letter in group.letters}


def _stored_row(group: _Group, store: ParquetStore) -> PreferenceRow:
    ranks = _ranks(group)
    row, _ = group.cells[group.letters[0]]
    return PreferenceRow(
        id=group.id,
        prompt=group.prompt,
        images=tuple(
            JudgedImage(
                image=_held(store, group, letter),
                rank=ranks[letter],
                overall=group.overall[letter],
                generator=group.generators[letter],
            )
            for letter in group.letters
        ),
        sources=(_named(store.source("", row=row, place=0)),),
    )


def _held(store: ParquetStore, group: _Group, letter: str) -> ImageBytes:
    row, place = group.cells[letter]
    return _named(store.image("", row=row, place=place))


def _named(image: ImageBytes) -> ImageBytes:
    """Name an image, which has no name, by a digest of its bytes."""
    name = hashlib.blake2b(image.data, digest_size=16).hexdigest()
    return ImageBytes(name=name, data=image.data)


def _read_json(files: Sequence[Path], images: Path | None) -> BenchRows:
    log = ProblemLog()
    rows = []
    for file in files:
        for number, values in enumerate(iterate_json_list(file)):
            try:
                rows.append(_json_row(Row(values, file=file, number=number), images or file.parent))
            except DataError as error:
                log.add("malformed row", [str(error)])
    return BenchRows(rows, log.problems())


def _json_row(row: Row, folder: Path) -> PreferenceRow:
    names = row.image_names("paths_generated")
    if not 2 <= len(names) <= len(LETTERS):
        raise row.error(f"has {len(names)} candidates, expected 2 to {len(LETTERS)}")
    vote = Row(row.get("human_vote"), file=row.file, number=row.number)
    key = "preference" if vote.get("ranking") is None else "ranking"
    try:
        ranks = read_ranking(vote.text(key), LETTERS[: len(names)])
    except ValueError as error:
        raise row.error(f"has {vote.text(key)!r:.100} in '{key}': {error}") from error
    return PreferenceRow(
        id=f"{row.file.name}:{row.number}",
        prompt=row.text("prompt"),
        images=tuple(
            JudgedImage(image=folder / name, rank=rank)
            for name, rank in zip(names, ranks, strict=True)
        ),
        sources=tuple(folder / name for name in row.image_names("path_src")),
    )


class _Made(Sequence[PreferenceRow]):
    """Rows that are made when they are asked for."""

    def __init__(self, num: int, make: Callable[[int], PreferenceRow]) -> None:
        self._num, self._make = num, make

    def __len__(self) -> int:
        return self._num

    def __iter__(self) -> Iterator[PreferenceRow]:
        return map(self._make, range(self._num))

    @overload
    def __getitem__(self, index: int) -> PreferenceRow: ...

    @overload
    def __getitem__(self, index: slice) -> list[PreferenceRow]: ...

    def __getitem__(self, index: int | slice) -> PreferenceRow | list[PreferenceRow]:
        if isinstance(index, slice):
            return [self._make(number) for number in range(*index.indices(self._num))]
        return self._make(range(self._num)[index])
