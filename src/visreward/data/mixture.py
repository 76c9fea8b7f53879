"""Mix several files of preferences: a YAML list of paths and weights, and an order to draw rows in.

Example:
    - {path: hpdv3/train.json, weight: 1.0}
    - {path: pickapic/pickapic.json, weight: 0.3}
"""

from __future__ import annotations

import difflib
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import yaml
from numpy.typing import NDArray

from visreward.core.errors import DataError, UsageError

_KEYS: Final = ("path", "weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixturePart:
    """One file of a mixture.

    Attributes:
        path: The file.
        weight: How often rows are drawn from it, against the weights of the other parts; above 0.
    """

    path: Path
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One row drawn from a mixture: which part, and which row of it."""

    part: int
    row: int


def read_mixture(file: str | os.PathLike[str]) -> tuple[MixturePart, ...]:
    """Read a mixture: a YAML list of mappings with `path` and, if it is not 1, `weight`.

    Args:
        file: The YAML file; paths in it are relative to its folder.

    Raises:
        DataError: if the file cannot be read, is no such list, has an unknown key, a weight that
            is not above 0, a path that is not there, or one path twice; it names the entry.
    """
    file = Path(file)
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"'{file}' cannot be read as YAML: {error}. Write it again.") from error
    if not isinstance(entries, list) or not entries:
        raise DataError(
            f"'{file}' holds {entries!r:.80}, expected a list. Write entries like "
            "'- {path: train.json, weight: 0.3}'."
        )
    parts = tuple(
        _Entry(values, file=file, number=number).part() for number, values in enumerate(entries)
    )
    for one, other in itertools.combinations(parts, 2):
        if one.path == other.path:
            raise DataError(f"'{file}' names '{one.path}' twice. Add the weights up in one entry.")
    return parts


class _Entry:
    """One entry of a mixture, checked as it is read."""

    def __init__(self, values: object, *, file: Path, number: int) -> None:
        self._file, self._number = file, number
        if not isinstance(values, Mapping):
            raise self._error(f"is {values!r:.80}, expected a mapping", "Write {path: ...}.")
        self._values = values

    def part(self) -> MixturePart:
        unknown = [key for key in self._values if key not in _KEYS]
        if unknown:
            closest = difflib.get_close_matches(str(unknown[0]), _KEYS, n=1)
            hint = f"Did you mean {closest[0]!r}?" if closest else "Leave it out."
            raise self._error(f"has the unknown key {unknown[0]!r}", hint)
        return MixturePart(path=self._path(), weight=self._weight())

    def _path(self) -> Path:
        value = self._values.get("path")
        if not isinstance(value, str) or not value.strip():
            raise self._error(f"has {value!r} as 'path', expected text", "Name a file.")
        path = self._file.parent / value
        if not path.exists():
            raise self._error(f"names '{path}', which is not there", "Correct the path.")
        return path

    def _weight(self) -> float:
        value = self._values.get("weight", 1.0)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value <= 0:
            raise self._error(
                f"has {value!r} as 'weight', expected a number above 0",
                "Correct it, or take the entry out to leave the file out.",
            )
        return float(value)

    def _error(self, what: str, advice: str) -> DataError:
        return DataError(f"Entry {self._number} of '{self._file}' {what}. {advice}")


def draw_rows(sizes: Sequence[int], *, weights: Sequence[float], seed: int) -> Iterator[Draw]:
    """Yield rows of several parts without end: each draw takes a part by weight.

    Within a part, rows come in a shuffled order, and no row comes again before every other row of
    its part did. Deterministic: the same arguments give the same draws.

    Args:
        sizes: How many rows each part has.
        weights: How often each is drawn from; they need not add up to 1.
        seed: Of the draws.

    Raises:
        UsageError: if the two differ in length or are empty, a part has no rows, or a weight is
            not above 0.
    """
    shares = np.asarray(weights, np.float64)
    if len(sizes) != len(shares) or not len(sizes):
        raise UsageError(
            f"There are {len(sizes)} sizes and {len(shares)} weights. Give one of each per part."
        )
    if min(sizes) < 1 or not (np.isfinite(shares) & (shares > 0)).all():
        raise UsageError(
            f"Parts have the sizes {list(sizes)} and the weights {list(weights)}. "
            "Leave out parts without rows or weight."
        )
    return _draws(sizes, shares / shares.sum(), seed)


def _draws(sizes: Sequence[int], shares: NDArray[np.float64], seed: int) -> Iterator[Draw]:
    of_part, *of_rows = (
        np.random.default_rng(stream)
        for stream in np.random.SeedSequence(seed).spawn(len(sizes) + 1)
    )
    orders: list[Iterator[int]] = [iter(()) for _ in sizes]
    while True:
        for part in of_part.choice(len(sizes), size=1024, p=shares).tolist():
            row = next(orders[part], None)
            if row is None:
                orders[part] = iter(of_rows[part].permutation(sizes[part]).tolist())
                row = next(orders[part])
            yield Draw(part=part, row=row)
