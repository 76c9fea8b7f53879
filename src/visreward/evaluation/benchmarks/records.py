"""What passes between benchmarks, whoever scores, metrics and reports.

Shape letters: N candidates of a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol, TypeAlias, runtime_checkable

from visreward.core.types import Sample
from visreward.data.preferences import PreferenceRow
from visreward.scoring.records import RowError, ScoredItem

Outcome: TypeAlias = Literal["first", "second", "tie"]
"""Which of two candidates is better."""

_VALUES: Final[dict[Outcome, int]] = {"first": 1, "tie": 0, "second": -1}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchGroup:
    """One question of a benchmark: candidates for one prompt, and what people say of them.

    Attributes:
        row: Prompt, source images and N candidates; one candidate where people scored each alone.
        category: What results are broken down by, or "".
        cluster: What is drawn whole when intervals are made, such as the prompt that groups share.
    """

    row: PreferenceRow
    category: str = ""
    cluster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateResult:
    """One candidate, what people say of it and what a model says.

    Attributes:
        image: Path, or the name that the data set gives an image it holds itself.
        generator: What made it, or None.
        rank: 1 = best by people, equal for a tie; None where nobody said.
        human: Score by people, higher is better, or None.
        value: Score by the model, or None: it failed, or judges in pairs only.
        sigma: Standard deviation of the score, or None.
        dimensions: Name to mu.
        error: Why there is no score, or None.
    """

    image: str
    generator: str | None = None
    rank: int | None = None
    human: float | None = None
    value: float | None = None
    sigma: float | None = None
    dimensions: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairVerdict:
    """What a judge that compares says of two candidates.

    Attributes:
        first: Place of one candidate in its group.
        second: Place of the other.
        outcomes: One per order that was asked, always in terms of `first` and `second`; None
            where the answer could not be read.
        errors: Why, for each None.
    """

    first: int
    second: int
    outcomes: tuple[Outcome | None, ...]
    errors: tuple[str, ...] = ()

    @property
    def mean(self) -> float | None:
        """Return the mean over the orders asked, first = 1, tie = 0, second = -1.

        In [-1, 1]; a judge that always says the same side whatever is shown there comes to 0. None
        where an order has no outcome: half of a question is no answer to it.
        """
        read = [_VALUES[outcome] for outcome in self.outcomes if outcome is not None]
        return sum(read) / len(read) if read and len(read) == len(self.outcomes) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupResult:
    """One question of a benchmark with everything that is known of it: a line of the sample file.

    Attributes:
        id: Of the group.
        prompt: As in the group.
        sources: Paths or names of the images before an edit.
        candidates: N results, in the order of the group.
        category: As in the group.
        cluster: As in the group.
        verdicts: Of judges that compare; empty for reward models.
        correct: Whether the group counts as right by the benchmark's main metric, a share where
            the group has several answers, or None where it does not count.
    """

    id: str
    prompt: str
    sources: tuple[str, ...]
    candidates: tuple[CandidateResult, ...]
    category: str = ""
    cluster: str = ""
    verdicts: tuple[PairVerdict, ...] = ()
    correct: float | None = None

    def has_dimension(self, name: str) -> bool:
        """Return whether a candidate has a score on a dimension."""
        return any(name in candidate.dimensions for candidate in self.candidates)

    def by_dimension(self, name: str) -> GroupResult:
        """Return the group as if the score were that of a dimension, where there is one."""
        return replace(
            self,
            candidates=tuple(
                replace(candidate, value=candidate.dimensions.get(name))
                for candidate in self.candidates
            ),
        )


class Scorer(Protocol):
    """Whoever scores candidates alone: a reward model in an engine, or a judge."""

    @property
    def name(self) -> str:
        """Return what to call it."""

    @property
    def revision(self) -> str:
        """Return which weights or which version of the endpoint it is."""

    def run(self, samples: Iterable[Sample | RowError]) -> Iterator[ScoredItem]:
        """Score samples as they come: one item each, in order, a score or a reason."""


@runtime_checkable
class PairJudge(Protocol):
    """Whoever compares two candidates at a time."""

    @property
    def name(self) -> str:
        """Return what to call it."""

    @property
    def revision(self) -> str:
        """Return which version of the endpoint it is."""

    def compare(self, groups: Iterable[BenchGroup]) -> Iterator[tuple[PairVerdict, ...]]:
        """Return the verdicts on all pairs of each group, in order."""
