"""Name what is wrong with the scores and labels of groups, so that none is lost in a mean."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from visreward.data.base import Problem, ProblemLog
from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult


def score_problems(
    results: Sequence[GroupResult], *, correct: Sequence[float | None] | None = None
) -> tuple[Problem, ...]:
    """Return what is wrong with groups and scores, each named and counted.

    Problems: candidates without a score, scores that are not finite, answers of judges that could
    not be read, one score for all, ids that come twice. Warnings: the same two images with other
    labels, one image with two scores by people, and groups that do not count.

    Args:
        results: All groups.
        correct: One entry per group, None where it does not count, as in `Evaluation`; None does
            not look for such groups.
    """
    log = ProblemLog()
    for result in results:
        _check_scores(result, log)
        _check_verdicts(result, log)
    _check_constant(results, log)
    counts = Counter(result.id for result in results)
    log.add(
        "id of several groups", [f"{name}: {num} groups" for name, num in counts.items() if num > 1]
    )
    log.add("same pair with contradicting labels", _contradictions(results), is_warning=True)
    log.add("same image with two scores by people", _scored_twice(results), is_warning=True)
    if correct is not None:
        left_out = [
            result.id for result, right in zip(results, correct, strict=True) if right is None
        ]
        log.add(
            "group that does not count: people order no two of its candidates",
            left_out,
            is_warning=True,
        )
    return log.problems()


def _check_scores(result: GroupResult, log: ProblemLog) -> None:
    for place, candidate in enumerate(result.candidates):
        where = f"{result.id}/{place} ({candidate.image})"
        if candidate.value is None and not result.verdicts:
            log.add("candidate without a score", [f"{where}: {candidate.error or 'no reason'}"])
        elif candidate.value is not None and not math.isfinite(candidate.value):
            log.add("score that is not finite", [f"{where}: {candidate.value}"])


def _check_verdicts(result: GroupResult, log: ProblemLog) -> None:
    for verdict in result.verdicts:
        num_unread = sum(outcome is None for outcome in verdict.outcomes)
        reasons = [*verdict.errors, *["no reason"] * num_unread][:num_unread]
        where = f"{result.id}/{verdict.first}-{verdict.second}"
        log.add("answer that could not be read", [f"{where}: {reason}" for reason in reasons])


def _check_constant(results: Sequence[GroupResult], log: ProblemLog) -> None:
    values = [each.value for result in results for each in result.candidates]
    scores = [value for value in values if value is not None and math.isfinite(value)]
    if len(scores) > 1 and min(scores) == max(scores):
        log.add("constant scores", [f"all {len(scores)} scores are {scores[0]:g}"])


def _scored_twice(results: Sequence[GroupResult]) -> list[str]:
    """Return images that people scored alone, twice for one prompt, and not the same."""
    seen: dict[tuple[object, ...], tuple[float, str]] = {}
    found = []
    for result in results:
        image, *others = result.candidates or (None,)
        if image is not None and not others and image.human is not None:
            key = (result.prompt, result.sources, image.image)
            earlier = seen.setdefault(key, (image.human, result.id))
            if earlier[0] != image.human:
                found.append(f"{result.id} and {earlier[1]}")
    return found


def _contradictions(results: Sequence[GroupResult]) -> list[str]:
    """Return pairs of one prompt and one source that have different labels in two groups."""
    seen: dict[tuple[object, ...], tuple[int, str]] = {}
    found = []
    for result in results:
        for key, label in _labels(result):
            earlier = seen.setdefault(key, (label, result.id))
            if earlier[0] != label:
                found.append(f"{result.id} and {earlier[1]}")
    return found


def _labels(result: GroupResult) -> Iterator[tuple[tuple[object, ...], int]]:
    """Yield every two candidates, in one order whatever the group's, and which one is better."""
    for first, second in combinations(result.candidates, 2):
        better = _better(first, second)
        if better is not None and first.image != second.image:
            one, other = sorted((first.image, second.image))
            label = better if one == first.image else -better
            yield (result.category, result.prompt, result.sources, one, other), label


def _better(first: CandidateResult, second: CandidateResult) -> int | None:
    if first.rank is not None and second.rank is not None:
        return (second.rank > first.rank) - (second.rank < first.rank)
    if first.human is not None and second.human is not None:
        return (first.human > second.human) - (first.human < second.human)
    return None
