"""Training labels as data: wrong votes, ties, uneven and careless annotators, what a filter keeps.

Rows are those of EditReward's training JSON, made of edits whose images were all rated. Everything
is drawn from a seed, and the same for the same seed. Held-out rows are never changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from visreward.core.whole_files import whole_file

JSONRow: TypeAlias = dict[str, Any]  # JSON values
VoteForm: TypeAlias = Literal["majority", "counts"]
T = TypeVar("T")

NUM_ANNOTATORS: Final = 5
_NOISE, _UNEVEN, _CARELESS = 2, 3, 4
"""Streams of random numbers, so that no two kinds of labels share one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """An edited image with its ratings.

    Attributes:
        path: Its file, relative to the rows' file.
        kind: What it is.
        following: Instruction following.
        quality: Visual quality.
        overall: As a whole.
    """

    path: str
    kind: str
    following: float
    quality: float
    overall: float

    def placed(self, number: int) -> JSONRow:
        """Return the columns of the image where it stands first or second in a pair."""
        return {
            f"path{number}": self.path,
            f"model{number}": self.kind,
            f"model{number}_dim1_score": self.following,
            f"model{number}_dim2_score": self.quality,
            f"model{number}_overall_score": self.overall,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledEdit:
    """All edited images of a source under one instruction, in the order of their names."""

    prompt: str
    source: str
    images: tuple[LabelledImage, ...]

    def pairs(self) -> Iterator[tuple[LabelledImage, LabelledImage]]:
        """Yield every two images, the better one first where they differ overall."""
        for one, other in combinations(self.images, 2):
            yield (one, other) if one.overall >= other.overall else (other, one)


def read_edits(file: Path) -> list[LabelledEdit]:
    """Return the edits of a file, all of whose images have scores."""
    found: dict[tuple[str, str], dict[str, LabelledImage]] = {}
    for row in json.loads(file.read_text(encoding="utf-8")):
        images = found.setdefault((row["prompt"], row["path_src"]), {})
        for number in (1, 2):
            image = LabelledImage(
                path=row[f"path{number}"],
                kind=row[f"model{number}"],
                following=row[f"model{number}_dim1_score"],
                quality=row[f"model{number}_dim2_score"],
                overall=row[f"model{number}_overall_score"],
            )
            images[image.path] = image
    return [
        LabelledEdit(
            prompt=prompt, source=source, images=tuple(images[path] for path in sorted(images))
        )
        for (prompt, source), images in found.items()
    ]


def write_rows(file: Path, rows: Sequence[JSONRow]) -> None:
    """Write rows, the whole file or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as part:
        part.write_text(json.dumps(rows) + "\n", encoding="utf-8")


def rated_rows(edits: Sequence[LabelledEdit], *, has_ties: bool = False) -> list[JSONRow]:
    """Return a row for every two images that differ overall, the better one first.

    Args:
        edits: What is known.
        has_ties: Whether two images with equal overall ratings make a row too, marked as a tie.
    """
    return [
        _row(edit, better, worse, votes=None)
        for edit in edits
        for better, worse in edit.pairs()
        if has_ties or better.overall != worse.overall
    ]


def voted_rows(
    edits: Sequence[LabelledEdit],
    *,
    share: float,
    seed: int,
    votes: VoteForm,
) -> list[JSONRow]:
    """Return a row for every two images that differ overall, with votes for its label.

    Of exactly a share of the rows, rounded to whole rows, the majority is wrong. Annotators err
    alike, each alone, so often that a majority of NUM_ANNOTATORS is wrong with that chance; the
    counts of a row are drawn given whether it is wrong.

    `path1` is the truly better image whatever the votes, so that the same images stand in the same
    order at every share: train with `labels: votes`, to which the order means nothing. The scores
    on both dimensions are how many rows of its edit an image wins by these votes, so that they know
    no more than the votes do.

    Args:
        edits: What is true.
        share: Of wrong labels, 0 to below 1/2.
        seed: Decides which are wrong, and the counts.
        votes: `majority` writes one vote, that of the majority; `counts` all of them.
    """
    rng = np.random.default_rng([seed, _NOISE])
    pairs = [
        (edit, better, worse)
        for edit in edits
        for better, worse in edit.pairs()
        if better.overall != worse.overall
    ]
    is_wrong = _exact_share(len(pairs), share, rng)
    chances = error_chances(share, NUM_ANNOTATORS)
    counts = np.arange(NUM_ANNOTATORS + 1)
    labels: list[tuple[int, int]] = []
    wins: dict[tuple[str, str], int] = {}
    for (edit, better, worse), wrong in zip(pairs, is_wrong.tolist(), strict=True):
        possible = np.where((2 * counts > NUM_ANNOTATORS) == wrong, chances, 0.0)
        errors = int(rng.choice(counts, p=possible / possible.sum()))
        labels.append(
            (NUM_ANNOTATORS - errors, errors) if votes == "counts" else (1 - wrong, +wrong)
        )
        winner = (edit.prompt + edit.source, (worse if wrong else better).path)
        wins[winner] = wins.get(winner, 0) + 1
    return [
        _row(
            edit,
            *(
                replace(
                    image,
                    following=wins.get((edit.prompt + edit.source, image.path), 0),
                    quality=wins.get((edit.prompt + edit.source, image.path), 0),
                )
                for image in (better, worse)
            ),
            votes=label,
        )
        for (edit, better, worse), label in zip(pairs, labels, strict=True)
    ]


def error_chances(share: float, num_annotators: int) -> NDArray[np.float64]:
    """Return the chance of 0 to `num_annotators` wrong votes, of which most are wrong in a share.

    That is the binomial distribution whose upper half has the weight `share`.
    """
    counts = np.arange(num_annotators + 1)
    ways = np.array([comb(num_annotators, int(each)) for each in counts], np.float64)
    chances: NDArray[np.float64] = ways
    low, high = 0.0, 0.5 if share > 0 else 0.0
    for _ in range(60):  # bisection: the chance of a wrong majority rises with that of a wrong vote
        error = (low + high) / 2
        chances = ways * error**counts * (1 - error) ** (num_annotators - counts)
        if chances[2 * counts > num_annotators].sum() < share:
            low = error
        else:
            high = error
    return chances


def uneven(edits: Sequence[LabelledEdit], *, seed: int, reach: float = 1.0) -> list[LabelledEdit]:
    """Return edits that were each rated by an annotator with a zero of their own.

    A number between -reach and reach, drawn for each edit, is added to all of its ratings. The
    order of its images stays as it is, as a whole and on each dimension.
    """
    rng = np.random.default_rng([seed, _UNEVEN])
    found = []
    for edit in edits:
        shift = float(rng.uniform(-reach, reach))
        images = tuple(
            replace(
                image,
                following=image.following + shift,
                quality=image.quality + shift,
                overall=image.overall + shift,
            )
            for image in edit.images
        )
        found.append(replace(edit, images=images))
    return found


def careless(
    edits: Sequence[LabelledEdit], *, share: float, seed: int
) -> tuple[list[LabelledEdit], NDArray[np.bool_]]:
    """Return edits of which exactly a share was rated without looking, and which ones that is.

    Their ratings are all there, but each image has those of another image of its edit.
    """
    rng = np.random.default_rng([seed, _CARELESS])
    is_wrong = _exact_share(len(edits), share, rng)
    found = []
    for edit, wrong in zip(edits, is_wrong.tolist(), strict=True):
        order = _no_one_at_home(len(edit.images), rng) if wrong else range(len(edit.images))
        images = tuple(
            replace(edit.images[taken], path=image.path, kind=image.kind)
            for image, taken in zip(edit.images, order, strict=True)
        )
        found.append(replace(edit, images=images))
    return found, is_wrong


def keep_top(items: Sequence[T], values: Sequence[float], *, share: float) -> list[T]:
    """Return the share of the items with the highest values, rounded to whole ones, in their order.

    Of equal values, the earlier items are kept.
    """
    order = np.argsort(-np.asarray(values, np.float64), kind="stable")
    kept = sorted(order[: round(share * len(items))].tolist())
    return [items[number] for number in kept]


def _exact_share(num: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return (num,) of which a share is true, rounded to whole ones."""
    chosen = np.zeros(num, dtype=bool)
    chosen[rng.permutation(num)[: round(share * num)]] = True
    return chosen


def _no_one_at_home(num: int, rng: np.random.Generator) -> list[int]:
    """Return a random order in which nothing keeps its place; num is 2 or more."""
    while True:
        order: NDArray[np.int64] = rng.permutation(num)
        if (order != np.arange(num)).all():
            return order.tolist()  # type: ignore[no-any-return]


def _row(
    edit: LabelledEdit,
    first: LabelledImage,
    second: LabelledImage,
    *,
    votes: tuple[int, int] | None,
) -> JSONRow:
    return {
        "prompt": edit.prompt,
        "path_src": edit.source,
        "choice_dist": None if votes is None else [*votes],
        "confidence": None,
        "tie_case": first.overall == second.overall,
        **first.placed(1),
        **second.placed(2),
    }
