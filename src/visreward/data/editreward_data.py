"""Read EditReward's training JSON: pairs of edited images, the preferred one first.

Layout: `{split}.json`, a list of pairs with the keys prompt, path_src, path1 (the preferred one),
path2, model1, model2, choice_dist, confidence, tie_case and, where images were scored,
model{1,2}_dim{1,2}_score (instruction following, visual quality) and model{1,2}_overall_score.
Images are named relative to the file. The release trains on a tie as if path1 were better, once in
each direction; here a row with tie_case is a tie. Its loader keeps visual quality alone of the two
scores; here both are kept.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visreward.core.errors import DataError
from visreward.data.preference_files import PreferenceData, PreferenceFormat
from visreward.data.preference_table import PreferenceCells
from visreward.data.preferences import ImageBytes, PreferenceRow
from visreward.data.row import Row

DIMENSIONS: Final = ("instruction_following", "visual_quality")


def _parse(row: Row) -> PreferenceCells:
    scores = _scores(row)
    overall = tuple(row.optional_number(f"model{place}_overall_score") for place in (1, 2))
    return PreferenceCells(
        prompt=row.text("prompt"),
        images=(row.image_name("path1"), row.image_name("path2")),
        ranks=(1, 1) if row.flag("tie_case") else (1, 2),
        sources=row.image_names("path_src"),
        votes=row.counts("choice_dist", num=2),
        dimensions=None if set(scores) == {None} else scores,
        overall=None if set(overall) == {None} else overall,
        generators=(row.optional_text("model1"), row.optional_text("model2")),
        confidence=row.share("confidence"),
    )


def _scores(row: Row) -> tuple[float | None, ...]:
    """Return the scores of both images, each of which is there for both or for none."""
    names = [f"dim{number}_score" for number in range(1, len(DIMENSIONS) + 1)]
    found = [row.optional_number(f"model{place}_{name}") for place in (1, 2) for name in names]
    for number, name in enumerate(names):
        one, other = found[number], found[number + len(names)]
        if (one is None) != (other is None):
            raise row.error(
                f"has None in 'model{1 if one is None else 2}_{name}', but a score for the other "
                "image"
            )
    return tuple(found)


EDITREWARD: Final = PreferenceFormat(
    name="editreward",
    kind="json",
    splits=("train", "val", "test"),
    parse=_parse,
    dimensions=DIMENSIONS,
)


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

    def split(self, name: str, limit: int | None = None) -> list[RatedEdit]:
        """Return the edits of a split: pairs of one instruction and one source belong together.

        A pair without a score on every dimension says which image is better and nothing of
        others, so it is an edit of its own: its better image has 1 overall and the other 0, or
        both 0 for a tie. Deterministic; no image is opened.

        Args:
            name: Of the split.
            limit: How many edits to return at most; None returns all.

        Raises:
            UnknownNameError: if there is no such split.
            DataError: if the file is no list of pairs, a pair is malformed, or an image has two
                different scores under one instruction; it names file and row.
        """
        edits: dict[_Edit, dict[Path, RatedImage]] = {}
        for number, row in enumerate(self._data.split(name)):
            ratings = _ratings(row)
            known = edits.setdefault(_edit_of(row, None if ratings else number), {})
            for rated in ratings or _ranked(row):
                earlier = known.setdefault(rated.image, rated)
                if earlier != rated:
                    raise DataError(
                        f"Row {row.id} scores '{rated.image.name}' {rated.dimensions} and "
                        f"{rated.overall:g} overall, but an earlier pair {earlier.dimensions} and "
                        f"{earlier.overall:g}. Correct one of them, or leave it out."
                    )
        return [
            RatedEdit(
                id=f"{name}/{number}",
                instruction=edit.instruction,
                sources=edit.sources,
                images=tuple(images.values()),
            )
            for number, (edit, images) in enumerate(itertools.islice(edits.items(), limit))
        ]


@dataclass(frozen=True, slots=True)
class _Edit:
    """What pairs of one edit have in common; `alone` sets a pair apart from all others."""

    instruction: str
    sources: tuple[Path, ...]
    alone: int | None


def _edit_of(row: PreferenceRow, alone: int | None) -> _Edit:
    return _Edit(row.prompt, tuple(_path(source) for source in row.sources), alone)


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
