"""Run a benchmark: groups go through whoever answers, and come out as a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from visreward.core.errors import DataError
from visreward.data.base import Problem, ProblemLog
from visreward.data.preferences import readable
from visreward.evaluation.benchmarks.base import BenchData, Benchmark
from visreward.evaluation.benchmarks.distinct import GroupStream
from visreward.evaluation.benchmarks.records import (
    BenchGroup,
    CandidateResult,
    GroupResult,
    PairJudge,
    Scorer,
)
from visreward.evaluation.benchmarks.results import BenchResult

if TYPE_CHECKING:
    from visreward.core.types import ImageSource
    from visreward.scoring.records import ScoredItem

OnGroups = Callable[[int], None]
"""Called with the number of groups done since the last call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Groups with everything that a model or a judge says of them.

    Attributes:
        results: In the order of the data.
        places: For each of them, its place in the data.
        problems: Groups that could not be made.
    """

    results: tuple[GroupResult, ...]
    places: tuple[int, ...]
    problems: tuple[Problem, ...] = ()


def score_groups(
    groups: Sequence[BenchGroup],
    scorer: Scorer,
    *,
    limit: int | None = None,
    on_groups: OnGroups = lambda _: None,
) -> Answers:
    """Return groups with a score for each candidate, or the reason why there is none.

    Each distinct (prompt, source images, image) is scored once. Groups are drawn as they are
    needed, and no image is kept.

    Args:
        groups: In order.
        scorer: Who scores.
        limit: How many groups are taken; None means all.
        on_groups: Told how far the work is.

    Raises:
        DataError: if there is no group.
    """
    stream = GroupStream(groups, limit=limit)
    outcomes: list[CandidateResult] = []
    num_done = 0
    for item in scorer.run(stream.samples()):
        outcomes.append(_outcome(item))
        while num_done < len(stream.ends) and stream.ends[num_done] <= len(outcomes):
            num_done += 1
            on_groups(1)
    on_groups(len(stream.ends) - num_done)  # groups at the end that are nothing but repeats
    results = tuple(
        replace(
            result,
            candidates=tuple(
                _scored(candidate, outcomes[index])
                for candidate, index in zip(result.candidates, indices, strict=True)
            ),
        )
        for result, indices in stream.indices()
    )
    return _answers(stream, results)


def judge_groups(
    groups: Sequence[BenchGroup],
    judge: PairJudge,
    *,
    limit: int | None = None,
    on_groups: OnGroups = lambda _: None,
) -> Answers:
    """Return groups with the verdicts on their pairs; arguments as those of `score_groups`.

    Raises:
        DataError: if there is no group, or a verdict is on a candidate that there is not.
    """
    stream = GroupStream(groups, limit=limit)
    results: list[GroupResult] = []
    for verdicts in judge.compare(stream.groups()):
        result = stream.results[len(results)]
        for verdict in verdicts:
            num = len(result.candidates)
            if not (0 <= verdict.first < num and 0 <= verdict.second < num):
                raise DataError(
                    f"'{judge.name}' compares the candidates {verdict.first} and "
                    f"{verdict.second} of '{result.id}', which has {num}. Correct the judge."
                )
        results.append(replace(result, verdicts=verdicts))
        on_groups(1)
    return _answers(stream, tuple(results))


def _answers(stream: GroupStream, results: tuple[GroupResult, ...]) -> Answers:
    problems = stream.problems.problems()
    if not results:
        reason = problems[0].examples[0] if problems else "The data is empty."
        raise DataError(f"There are 0 groups to score. {reason}")
    return Answers(results=results, places=tuple(stream.places), problems=problems)


def _outcome(item: ScoredItem) -> CandidateResult:
    """Return what a score says, in a record that as yet names no image."""
    if item.score is None:
        return CandidateResult(image="", error=item.error)
    return CandidateResult(
        image="",
        value=item.score.value,
        sigma=item.score.sigma,
        dimensions={name: part.mu for name, part in item.score.dimensions.items()},
    )


def _scored(candidate: CandidateResult, outcome: CandidateResult) -> CandidateResult:
    return replace(
        outcome,
        image=candidate.image,
        generator=candidate.generator,
        rank=candidate.rank,
        human=candidate.human,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a result says of its run.

    Attributes:
        model: What it calls the model.
        revision: Which weights.
        date: ISO 8601, UTC.
        config: How it was run; JSON values.
    """

    model: str
    revision: str
    date: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)  # JSON values


def evaluate(
    benchmark: Benchmark, data: BenchData, answers: Answers, facts: RunFacts
) -> tuple[BenchResult, tuple[GroupResult, ...]]:
    """Return the result, and the groups with whether each is right. Deterministic."""
    found = benchmark.evaluate(answers.results)
    samples = tuple(
        replace(result, correct=correct)
        for result, correct in zip(answers.results, found.correct, strict=True)
    )
    result = BenchResult(
        benchmark=benchmark.name,
        version=benchmark.version,
        model=facts.model,
        revision=facts.revision,
        metrics=found.metrics,
        num_groups=len(samples),
        num_counted=found.num_counted
        if found.num_counted is not None
        else sum(correct is not None for correct in found.correct),
        problems=_joined(data.problems, answers.problems, found.problems),
        published=(*data.references, *benchmark.published),
        config=facts.config,
        date=facts.date,
    )
    return result, samples


def _joined(*parts: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return problems with those of one kind put together."""
    log = ProblemLog()
    for problem in (each for part in parts for each in part):
        log.add(problem.kind, problem.examples, count=problem.count, is_warning=problem.is_warning)
    return log.problems()


class Pictures(Protocol):
    """Finds the pictures of a report."""

    def __call__(self, group: int, place: int | str) -> ImageSource | None:
        """Return the source image ("source") or a candidate of a group of the results."""


def picture_finder(data: BenchData, places: Sequence[int]) -> Pictures:
    """Return what finds the pictures of groups again; the group that was asked for last is kept.

    Args:
        data: What was run.
        places: For each group of the results, its place in the data.
    """
    last: dict[int, BenchGroup] = {}

    def find(group: int, place: int | str) -> ImageSource | None:
        if group not in last:
            last.clear()
            last[group] = data.groups[places[group]]
        row = last[group].row
        if isinstance(place, int):
            return row.images[place].source
        source = next(iter(row.sources), None)
        return None if source is None else readable(source)

    return find


def all_groups(data: BenchData, *, limit: int | None = None) -> Iterator[BenchGroup]:
    """Yield the groups of a benchmark in order, up to a number.

    Raises:
        DataError: at a group that cannot be made.
    """
    for place in range(len(data.groups) if limit is None else min(limit, len(data.groups))):
        yield data.groups[place]


def has_failures(result: BenchResult) -> bool:
    """Return whether anything is wrong that leaves a number unlike what it should be."""
    return not all(problem.is_warning for problem in result.problems)
