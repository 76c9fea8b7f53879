"""Groups with answers, made in one line each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult
from visreward.evaluation.benchmarks.results import MetricValue

MakeGroup = Callable[..., GroupResult]
"""make(number, values, *, ranks, human, generators, ...) -> a group with a score per candidate."""

Metrics = dict[tuple[str, str], MetricValue]


def make_group(
    number: int,
    values: Sequence[float | None],
    *,
    ranks: Sequence[int] | None = None,
    human: Sequence[float] | None = None,
    generators: Sequence[str | None] | None = None,
    **fields: Any,
) -> GroupResult:
    none = [None] * len(values)
    candidates = tuple(
        CandidateResult(
            image=f"{number}-{place}.png",
            value=value,
            rank=(ranks or none)[place],
            human=(human or none)[place],
            generator=(generators or none)[place],
            error=None if value is not None else "unreadable",
        )
        for place, value in enumerate(values)
    )
    given = {"id": f"g{number}", "prompt": f"prompt {number}", "sources": (), **fields}
    return GroupResult(candidates=candidates, **{"cluster": given["prompt"], **given})


@pytest.fixture
def group_of() -> MakeGroup:
    """Return `make_group`."""
    return make_group


@pytest.fixture
def by_name() -> Callable[[Sequence[MetricValue]], Metrics]:
    """Return what gives metrics by name and filter, none of which comes twice."""

    def index(metrics: Sequence[MetricValue]) -> Metrics:
        found = {(each.name, each.filter): each for each in metrics}
        assert len(found) == len(metrics)
        return found

    return index
