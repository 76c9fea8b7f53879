"""Judges that ask nobody: chance, and one annotator held against the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from visreward.core.errors import DataError
from visreward.evaluation.benchmarks.records import BenchGroup, Outcome, PairVerdict
from visreward.evaluation.judges.verdicts import has_ties, outcome_of_ranks, pairs_of

if TYPE_CHECKING:
    from visreward.evaluation.judges.config import Ties

_OUTCOMES: Final[tuple[Outcome, ...]] = ("first", "second", "tie")


class RandomJudge:
    """A judge that draws each verdict; a `PairJudge`.

    All outcomes that are allowed are equally likely, so that a pair is right by chance in 1/3 of
    the cases with ties and 1/2 without, and a group of K without ties in 1 / 2^(K (K - 1) / 2).
    A verdict depends on the seed, the group's id and the places only, not on what else is drawn.

    Attributes:
        name: What results call it.
    """

    def __init__(self, *, name: str = "random", seed: int = 0, ties: Ties = "always") -> None:
        self.name = name
        self._seed = seed
        self._ties: Ties = ties

    @property
    def revision(self) -> str:
        """Return the seed, and where ties are allowed."""
        return f"seed-{self._seed}-ties-{self._ties}"

    def compare(self, groups: Iterable[BenchGroup]) -> Iterator[tuple[PairVerdict, ...]]:
        """Return the verdicts on all pairs of each group, in order; deterministic."""
        for group in groups:
            num = len(group.row.images)
            allowed = _OUTCOMES if has_ties(self._ties, num_candidates=num) else _OUTCOMES[:2]
            yield tuple(
                PairVerdict(
                    first=first,
                    second=second,
                    outcomes=(allowed[self._drawn(group.row.id, first, second) % len(allowed)],),
                )
                for first, second in pairs_of(num)
            )

    def _drawn(self, group: str, first: int, second: int) -> int:
        """Return a whole number that looks drawn at random, below 2^64."""
        pair = json.dumps([self._seed, group, first, second])
        return int.from_bytes(hashlib.sha256(pair.encode()).digest()[:8])


@dataclass(frozen=True, slots=True)
class Annotations:
    """What each annotator says of each group.

    Attributes:
        ranks: By the group's id, then by annotator: one rank per candidate, 1 = best; ties share
            a rank.
        digest: SHA-256 of the file, as hexadecimal digits.
    """

    ranks: Mapping[str, Mapping[str, tuple[int, ...]]]
    digest: str

    @property
    def annotators(self) -> tuple[str, ...]:
        """Return the names of all annotators, in alphabetical order."""
        return tuple(sorted({name for ranks in self.ranks.values() for name in ranks}))


class HumanJudge:
    """One annotator as a judge; a `PairJudge`.

    Hold it against `without_annotator`: a label that the annotator had a part in flatters them.

    Attributes:
        name: What results call it.
    """

    def __init__(
        self, annotations: Annotations, *, annotator: str, name: str | None = None
    ) -> None:
        """Prepare a judge.

        Raises:
            DataError: if there is no such annotator.
        """
        if annotator not in annotations.annotators:
            raise DataError(
                f"There is no annotator '{annotator}'. "
                f"The file has: {', '.join(annotations.annotators) or 'none'}."
            )
        self.name = name or annotator
        self._annotator = annotator
        self._annotations = annotations

    @property
    def revision(self) -> str:
        """Return 12 hexadecimal digits that stand for the annotations."""
        return self._annotations.digest[:12]

    def others(self, groups: Iterable[BenchGroup]) -> Iterator[BenchGroup]:
        """Yield the groups as the other annotators rank them; see `without_annotator`."""
        yield from without_annotator(groups, self._annotations, annotator=self._annotator)

    def compare(self, groups: Iterable[BenchGroup]) -> Iterator[tuple[PairVerdict, ...]]:
        """Return the annotator's verdicts on all pairs of each group, in order.

        Groups that the annotator did not see have outcomes of None.

        Raises:
            DataError: if a group has another number of candidates than its annotation.
        """
        for group in groups:
            ranks = _ranks_of(self._annotations, group).get(self._annotator)
            yield tuple(
                PairVerdict(
                    first=first,
                    second=second,
                    outcomes=(None,),
                    errors=(f"'{self._annotator}' did not rank this group.",),
                )
                if ranks is None
                else PairVerdict(
                    first=first,
                    second=second,
                    outcomes=(outcome_of_ranks(ranks, first=first, second=second),),
                )
                for first, second in pairs_of(len(group.row.images))
            )


def without_annotator(
    groups: Iterable[BenchGroup], annotations: Annotations, *, annotator: str
) -> Iterator[BenchGroup]:
    """Yield the groups that the annotator and others ranked, as the others rank them.

    Candidates are put in order by the mean rank that the others give; equal means share a rank.

    Args:
        groups: Whose ranks are replaced.
        annotations: Of all annotators.
        annotator: Whose ranks are left out.

    Raises:
        DataError: if a group has another number of candidates than its annotation.
    """
    for group in groups:
        ranks = _ranks_of(annotations, group)
        others = [given for name, given in ranks.items() if name != annotator]
        if annotator not in ranks or not others:
            continue
        # Sums of whole numbers compare exactly, means do not.
        sums = [sum(given[place] for given in others) for place in range(len(group.row.images))]
        images = tuple(
            replace(image, rank=1 + sum(other < mine for other in sums), votes=None)
            for image, mine in zip(group.row.images, sums, strict=True)
        )
        yield replace(group, row=replace(group.row, images=images))


def read_annotations(path: Path) -> Annotations:
    """Read a JSONL file of annotations: `{"id": "g1", "ranks": {"ann": [1, 2], "bo": [1, 1]}}`.

    Raises:
        DataError: if it cannot be read, a line has another form, or an id stands twice.
    """
    try:
        data = path.read_bytes()
        lines = data.decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The annotations '{path}' cannot be read: {error}. Give a JSONL file."
        ) from error
    ranks: dict[str, dict[str, tuple[int, ...]]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        group, given = _annotation(line, place=f"'{path}' line {number}")
        if group in ranks:
            raise DataError(f"'{path}' line {number} has the id '{group}' again. Name it once.")
        ranks[group] = given
    return Annotations(ranks, hashlib.sha256(data).hexdigest())


def _annotation(line: str, *, place: str) -> tuple[str, dict[str, tuple[int, ...]]]:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place} is no JSON: {error}. Correct it.") from error
    ranks = (
        values.get("ranks") if isinstance(values, dict) and set(values) == {"id", "ranks"} else 0
    )
    if not isinstance(ranks, dict) or not isinstance(values["id"], str):
        raise DataError(f"{place} is {line[:80]!r}. Give an object of id and ranks.")
    for annotator, given in ranks.items():
        if not _are_ranks(given):
            raise DataError(
                f"{place} has the ranks {given!r} of '{annotator}'. "
                "Give a list of whole numbers, 1 = best."
            )
    return values["id"], {annotator: tuple(given) for annotator, given in ranks.items()}


def _are_ranks(given: object) -> bool:
    return isinstance(given, list) and all(type(rank) is int and rank >= 1 for rank in given)


def _ranks_of(annotations: Annotations, group: BenchGroup) -> Mapping[str, Sequence[int]]:
    ranks = annotations.ranks.get(group.row.id, {})
    num = len(group.row.images)
    for annotator, given in ranks.items():
        if len(given) != num:
            raise DataError(
                f"'{annotator}' gave {len(given)} ranks to group '{group.row.id}', which has {num} "
                "candidates. Give one rank per candidate."
            )
    return ranks
