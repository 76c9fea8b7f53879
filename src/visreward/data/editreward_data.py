"""Read EditReward's training JSON: pairs of edited images with scores on two dimensions.

Layout: `{split}.json`, a list of pairs with the keys prompt, path_src, path1 (the preferred one),
path2, model{1,2}_dim{1,2}_score (instruction following, visual quality) and, where it is not the
mean of both, model{1,2}_overall_score. Images are named relative to the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from visreward.core.errors import DataError, UnknownNameError
from visreward.data.base import path_inside

DIMENSIONS: Final = ("instruction_following", "visual_quality")
_SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedImage:
    """An edited image and what annotators say of it.

    Attributes:
        image: The file.
        dimensions: Score on each of DIMENSIONS; higher is better.
        overall: Score as a whole.
    """

    image: Path
    dimensions: tuple[float, ...]
    overall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedEdit:
    """Edited images of one source image under one instruction.

    Attributes:
        id: Split and number, such as `train/17`.
        instruction: What was asked for.
        sources: The image before, or several.
        images: All edited images that the pairs name, in their order.
    """

    id: str
    instruction: str
    sources: tuple[Path, ...]
    images: tuple[RatedImage, ...]


class EditRewardData:
    """A data set in the layout of EditReward's training data, on disk."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Find the files; none is read yet.

        Args:
            path: The folder that holds `train.json` (or val, test).

        Raises:
            DataError: if there is no such file.
        """
        folder = Path(path)
        files = {split: folder / f"{split}.json" for split in _SPLITS}
        self._files = {split: file for split, file in files.items() if file.is_file()}
        if not self._files:
            raise DataError(
                f"No file of edits was found in '{folder}'. Give the folder that holds train.json "
                "(or val.json, test.json)."
            )

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have a file."""
        return tuple(self._files)

    def split(self, name: str, limit: int | None = None) -> list[RatedEdit]:
        """Return the edits of a split: pairs of one instruction and one source belong together.

        Deterministic; no image is opened.

        Args:
            name: Of the split.
            limit: How many edits to return at most; None returns all.

        Raises:
            UnknownNameError: if there is no such split.
            DataError: if the file is no list of pairs, a pair lacks a value, or an image has two
                different scores under one instruction; it names file and row.
        """
        if name not in self._files:
            raise UnknownNameError(
                f"There is no split {name!r} here. Splits found: {', '.join(self._files)}."
            )
        file = self._files[name]
        edits: dict[tuple[str, tuple[Path, ...]], dict[Path, RatedImage]] = {}
        for number, row in enumerate(_pairs(file)):
            reader = _Row(row, file=file, number=number)
            images = edits.setdefault((reader.text("prompt"), reader.sources()), {})
            for place in (1, 2):
                rated = reader.rated(place)
                known = images.setdefault(rated.image, rated)
                if known != rated:
                    raise reader.error(
                        f"scores '{rated.image.name}' {rated.dimensions}, but an earlier pair "
                        f"{known.dimensions}"
                    )
        return [
            RatedEdit(
                id=f"{name}/{number}",
                instruction=instruction,
                sources=sources,
                images=tuple(images.values()),
            )
            for number, ((instruction, sources), images) in enumerate(list(edits.items())[:limit])
        ]


def _pairs(file: Path) -> list[Any]:  # JSON values
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"'{file}' cannot be read as JSON: {error}. Write it again.") from error
    if not isinstance(rows, list):
        raise DataError(f"'{file}' holds a {type(rows).__name__}, expected a list of pairs.")
    return rows


class _Row:
    """One pair of a file, checked as it is read."""

    def __init__(self, row: object, *, file: Path, number: int) -> None:
        self._file, self._number = file, number
        if not isinstance(row, Mapping):
            raise self.error(f"is a {type(row).__name__}, expected an object")
        self._row = row

    def error(self, what: str) -> DataError:
        return DataError(
            f"Row {self._number} of '{self._file}' {what}. Correct it, or leave it out."
        )

    def text(self, key: str) -> str:
        value = self._row.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"has {value!r} in '{key}', expected text")
        return value

    def number(self, key: str) -> float:
        value = self._row.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.error(f"has {value!r} in '{key}', expected a number")
        return float(value)

    def sources(self) -> tuple[Path, ...]:
        value = self._row.get("path_src")
        given = value if isinstance(value, list) else [value]
        names = [name for name in given if isinstance(name, str)]
        if not names or len(names) < len(given):
            raise self.error(f"has {value!r} in 'path_src', expected a path or several")
        return tuple(path_inside(self._file.parent, name) for name in names)

    def rated(self, place: int) -> RatedImage:
        scores = tuple(
            self.number(f"model{place}_dim{number}_score")
            for number in range(1, len(DIMENSIONS) + 1)
        )
        overall = f"model{place}_overall_score"
        return RatedImage(
            image=path_inside(self._file.parent, self.text(f"path{place}")),
            dimensions=scores,
            overall=self.number(overall)
            if self._row.get(overall) is not None
            else sum(scores) / len(scores),
        )
