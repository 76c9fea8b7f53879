"""Pairs of edited images, taken together to edits: all images of one source and instruction."""

from __future__ import annotations

import itertools
import os
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from visreward.core.errors import DataError
from visreward.data.editreward_data import DIMENSIONS, EDITREWARD
from visreward.data.preference_files import PreferenceData
from visreward.data.preference_table import PreferenceTable
from visreward.data.preferences import ImageBytes, PreferenceRow


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedImage:
    """An edited image and what annotators say of it.

    Attributes:
        image: The file.
        dimensions: Score on each of DIMENSIONS, higher is better; empty where it was not scored.
        overall: Score as a whole.
    """

    image: Path
    dimensions: tuple[float, ...]
    overall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairVotes:
    """How many annotators chose each of two images.

    Attributes:
        one: Place of the first of them among the images.
        other: Place of the second.
        for_one: Votes for the first.
        for_other: Votes for the second.
    """

    one: int
    other: int
    for_one: int
    for_other: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedEdit:
    """Edited images of one source image under one instruction.

    Attributes:
        id: Split and number, such as `train/17`.
        instruction: What was asked for.
        sources: The image before, or several.
        images: All edited images that the pairs name, in their order.
        votes: Of the pairs that were voted on.
    """

    id: str
    instruction: str
    sources: tuple[Path, ...]
    images: tuple[RatedImage, ...]
    votes: tuple[PairVotes, ...] = ()


class RatedEdits(Sequence[RatedEdit]):
    """The edits of a split, made when they are asked for.

    Pairs of one instruction and the same sources belong together. A pair without a score on
    every dimension says which image is better and nothing of others, so it is an edit of its own:
    its better image has 1 overall and the other 0, or both 0 for a tie. Malformed rows are left
    out. Of 1.2 M pairs, some 50 MB are kept beside the table.

    Attributes:
        table: The pairs.
        is_rated: (len,) bool, whether the images of an edit have scores.
        is_tied: (len,) bool, whether an edit is a pair without scores that is a tie.
    """

    def __init__(self, table: PreferenceTable, is_kept: NDArray[np.bool_] | None = None) -> None:
        """Go through all pairs once; no image is opened.

        Args:
            table: The pairs.
            is_kept: (len(table),) which pairs are taken; None takes all.

        Raises:
            DataError: if an image has two different scores under one instruction; it names file
                and row.
        """
        self.table = table
        rows, keys, rated, tied = array("q"), array("q"), array("b"), array("b")
        image_keys, ratings = array("q"), array("q")
        for number, cells in enumerate(table.cells()):
            if cells["prompt"] is None or (is_kept is not None and not is_kept[number]):
                continue
            is_rated = _is_rated(cells)
            key = (cells["prompt"], *cells["sources"]) if is_rated else (number,)
            rows.append(number)
            keys.append(hash(key))
            rated.append(is_rated)
            tied.append(not is_rated and set(cells["ranks"]) == {1})
            for place, image in enumerate(cells["images"] if is_rated else ()):
                image_keys.append(hash((*key, image)))
                ratings.append(hash(_scores(cells, place)))
        self._rows, self._starts, of_group = _grouped(np.array(rows), np.array(keys))
        first = np.searchsorted(np.array(rows), of_group)
        self.is_rated = np.array(rated, dtype=bool)[first]
        self.is_tied = np.array(tied, dtype=bool)[first]
        self._refuse_contradictions(np.array(image_keys), np.array(ratings))

    def _refuse_contradictions(self, images: NDArray[np.int64], ratings: NDArray[np.int64]) -> None:
        """Stop where an image of an edit has two ratings."""
        order = np.argsort(images, kind="stable")
        images, ratings = images[order], ratings[order]
        if ((images[1:] == images[:-1]) & (ratings[1:] != ratings[:-1])).any():
            for _ in self:  # making the edit names the row
                pass

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> RatedEdit: ...

    @overload
    def __getitem__(self, index: slice) -> list[RatedEdit]: ...

    def __getitem__(self, index: int | slice) -> RatedEdit | list[RatedEdit]:
        """Return an edit, or a list of them for a slice.

        Raises:
            IndexError: if there is no such edit.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"Edit {index} of {len(self)} edits of '{self.table.name}'.")
        own = self._rows[self._starts[number] : self._starts[number + 1]]
        pairs = [self.table[int(row)] for row in own]
        images: dict[Path, RatedImage] = {}
        votes = []
        for pair in pairs:
            for rated in _ratings(pair) or _ranked(pair):
                earlier = images.setdefault(rated.image, rated)
                if earlier != rated:
                    raise _contradiction(pair, rated, earlier)
            votes += _votes(pair, list(images))
        return RatedEdit(
            id=f"{self.table.name}/{number}",
            instruction=pairs[0].prompt,
            sources=tuple(_path(source) for source in pairs[0].sources),
            images=tuple(images.values()),
            votes=tuple(votes),
        )


class EditRewardData:
    """Edits in the layout of EditReward's training data, pairs of one edit taken together."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Find the files; none is read yet.

        Args:
            path: The folder that holds `train.json` (or val, test), or one such file.

        Raises:
            DataError: if there is no such file.
        """
        self._data = PreferenceData(EDITREWARD, path)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have a file."""
        return self._data.splits

    def split(self, name: str) -> RatedEdits:
        """Return the edits of a split. Deterministic; no image is opened.

        Raises:
            UnknownNameError: if there is no such split.
            DataError: if the file is no list of pairs, a pair is malformed, or an image has two
                different scores under one instruction; it names file and row.
        """
        table = self._data.split(name)
        table.require_whole_rows()
        return RatedEdits(table)


def _grouped(
    rows: NDArray[np.int64], keys: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[int], NDArray[np.int64]]:
    """Return the rows by group, where each group begins, and the first row of each.

    Groups come in the order of their first rows.
    """
    _, first, group_of = np.unique(keys, return_index=True, return_inverse=True)
    place = np.argsort(np.argsort(first))[group_of]
    sizes = np.bincount(place, minlength=len(first))
    starts = [0, *itertools.accumulate(sizes.tolist())]
    return rows[np.argsort(place, kind="stable")], starts, rows[np.sort(first)]


def _is_rated(cells: Mapping[str, Any]) -> bool:  # a row by column
    """Return whether both images have a score on every dimension."""
    return cells["dimensions"] is not None and None not in cells["dimensions"]


def _scores(cells: Mapping[str, Any], place: int) -> tuple[float | None, ...]:
    size = len(DIMENSIONS)
    overall = cells["overall"] or (None, None)
    return (*cells["dimensions"][place * size : (place + 1) * size], overall[place])


def _path(image: Path | ImageBytes) -> Path:
    assert isinstance(image, Path), "this format names files"
    return image


def _ratings(row: PreferenceRow) -> list[RatedImage]:
    """Return both images with their scores, or nothing where a dimension has none."""
    rated = []
    for image in row.images:
        scores = tuple(score for score in image.dimensions if score is not None)
        if len(scores) < len(DIMENSIONS):
            return []
        overall = sum(scores) / len(scores) if image.overall is None else image.overall
        rated.append(RatedImage(image=_path(image.image), dimensions=scores, overall=overall))
    return rated


def _ranked(row: PreferenceRow) -> list[RatedImage]:
    """Return both images, 1 for one that is better than the other."""
    return [
        RatedImage(
            image=_path(image.image),
            dimensions=(),
            overall=float(image.rank == 1 and not row.is_tie),
        )
        for image in row.images
    ]


def _votes(row: PreferenceRow, images: list[Path]) -> list[PairVotes]:
    one, other = row.images
    if one.votes is None or other.votes is None:
        return []
    return [
        PairVotes(
            one=images.index(_path(one.image)),
            other=images.index(_path(other.image)),
            for_one=one.votes,
            for_other=other.votes,
        )
    ]


def _contradiction(row: PreferenceRow, rated: RatedImage, earlier: RatedImage) -> DataError:
    return DataError(
        f"Row {row.id} scores '{rated.image.name}' {rated.dimensions} and {rated.overall:g} "
        f"overall, but an earlier pair {earlier.dimensions} and {earlier.overall:g}. Correct one "
        "of them, or leave it out."
    )
