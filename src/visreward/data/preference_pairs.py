"""Find pairs of images that a data set compares more than once: repeated, or with both labels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visreward.data.preference_table import PreferenceTable

FIRST_BETTER: Final = 1
SECOND_BETTER: Final = -1
TIE: Final = 2  # in the order of the names, and negative in the other order


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairLabels:
    """Every two images of every row of a split, with who is preferred.

    Attributes:
        keys: (n,) int64, equal where prompt, images before the edit and the two images are,
            whatever their order. 64 bits: of 1.2 M pairs, two differ under one key with a
            probability of 4e-8.
        labels: (n,) int8: FIRST_BETTER, SECOND_BETTER or, by their order in the row, TIE or -TIE;
            first is the image whose name comes first in the alphabet.
        rows: (n,) int32, number of the row in the split.
    """

    keys: NDArray[np.int64]
    labels: NDArray[np.int8]
    rows: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairConflict:
    """One pair that two rows disagree on, or that two rows repeat.

    Attributes:
        row: Of the later one.
        earlier: Of the other one.
        kind: `both` labels, `tie` against a preference, or `repeated`.
    """

    row: int
    earlier: int
    kind: str


def pair_labels(table: PreferenceTable) -> PairLabels:
    """Return all pairs of a split. Rows that are malformed or have no label make none."""
    keys: list[int] = []
    labels: list[int] = []
    rows: list[int] = []
    for cells in table.cells():
        if cells["prompt"] is None or cells["ranks"] is None:
            continue
        asked = (cells["prompt"], *cells["sources"])
        for one, other in itertools.combinations(
            zip(cells["images"], cells["ranks"], strict=True), 2
        ):
            is_in_order = one[0] <= other[0]
            first, second = (one, other) if is_in_order else (other, one)
            keys.append(hash((asked, first[0], second[0])))
            labels.append(_label(first[1], second[1], is_in_order=is_in_order))
            rows.append(cells["row"])
    return PairLabels(
        keys=np.array(keys, np.int64),
        labels=np.array(labels, np.int8),
        rows=np.array(rows, np.int32),
    )


def _label(first: int, second: int, *, is_in_order: bool) -> int:
    if first == second:
        return TIE if is_in_order else -TIE
    return FIRST_BETTER if first < second else SECOND_BETTER


def conflicts(pairs: PairLabels) -> Iterator[PairConflict]:
    """Yield where a pair comes up again, by key: at most one conflict for each further row.

    A tie that comes up in both orders is no repetition: EditReward's ties are split that way.
    """
    order = np.lexsort((pairs.rows, pairs.keys))
    keys = pairs.keys[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else keys
    sizes = np.diff(np.r_[starts, len(keys)])
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        seen: dict[int, int] = {}
        for place in order[start : start + size].tolist():
            label, row = int(pairs.labels[place]), int(pairs.rows[place])
            against = _against(label, seen)
            if against is not None:
                yield PairConflict(row=row, earlier=seen[against], kind=_kind(label, against))
            elif label in seen:
                yield PairConflict(row=row, earlier=seen[label], kind="repeated")
            seen.setdefault(label, row)


def conflicts_between(first: PairLabels, second: PairLabels) -> list[PairConflict]:
    """Return where rows of the second split repeat or contradict rows of the first, in order.

    `row` is of the second split, `earlier` of the first.
    """
    offset = int(first.rows.max(initial=-1)) + 1
    shared = np.intersect1d(first.keys, second.keys)
    in_first, in_second = np.isin(first.keys, shared), np.isin(second.keys, shared)
    merged = PairLabels(
        keys=np.r_[first.keys[in_first], second.keys[in_second]],
        labels=np.r_[first.labels[in_first], second.labels[in_second]],
        rows=np.r_[first.rows[in_first], second.rows[in_second] + offset].astype(np.int32),
    )
    found = (
        PairConflict(row=each.row - offset, earlier=each.earlier, kind=each.kind)
        for each in conflicts(merged)
        if each.earlier < offset <= each.row
    )
    return sorted(found, key=lambda each: (each.row, each.earlier))


def _against(label: int, seen: dict[int, int]) -> int | None:
    """Return a label seen before that contradicts this one."""
    is_tie = abs(label) == TIE
    others = (FIRST_BETTER, SECOND_BETTER) if is_tie else (-label, TIE, -TIE)
    return next((other for other in others if other in seen), None)


def _kind(label: int, other: int) -> str:
    return "both" if abs(label) == abs(other) else "tie"
