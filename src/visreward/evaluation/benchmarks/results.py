"""The result of one benchmark and one model, and its JSON in the shape of lm-evaluation-harness.

lm-evaluation-harness 0.4 writes `results`: task to `metric,filter` and `metric_stderr,filter`,
beside `configs`, `versions`, `n-samples`, `higher_is_better`, `config` and `date`. Ours adds the
ends of the interval as `metric_low,filter` and `metric_high,filter`, and what was published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

from visreward.data.base import Problem
from visreward.evaluation.metrics.intervals import Estimate

Unit: TypeAlias = Literal["share", "correlation", "count", "number"]
"""How a metric reads: a share is shown in percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """One number of a result.

    Attributes:
        name: Such as `accuracy_with_ties`.
        filter: Which variant: `none`, `as_released`, a category, or the like.
        value: The number; None where it is not defined, such as a correlation of constant scores.
        low: Lower end of the 95 % interval, or None.
        high: Upper end, or None.
        stderr: Standard error, or None where nothing was resampled.
        unit: How it reads.
        num: How many answers it rests on.
        note: What a reader must know, such as why there is no value.
    """

    name: str
    filter: str = "none"
    value: float | None
    low: float | None = None
    high: float | None = None
    stderr: float | None = None
    unit: Unit = "share"
    num: int = 0
    note: str = ""

    @classmethod
    def of(cls, name: str, found: Estimate, *, variant: str = "none", unit: Unit = "share") -> Self:
        """Return an estimate with its interval as a metric.

        Args:
            name: Of the metric.
            found: The number.
            variant: The filter: which variant, or which part of the data.
            unit: How it reads.
        """
        return cls(
            name=name,
            filter=variant,
            value=found.value,
            low=found.low,
            high=found.high,
            stderr=found.stderr,
            unit=unit,
            num=found.num,
            note=found.note,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """A row of a published table.

    Attributes:
        model: As the table names it.
        values: `metric,filter` to the number, shares in [0, 1].
        source: Where it was published.
    """

    model: str
    values: Mapping[str, float]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What one model reached on one benchmark.

    Attributes:
        benchmark: Its name.
        version: Of our protocol; numbers compare within one version only.
        model: Name of the model.
        revision: Which weights.
        metrics: The first is the main one.
        num_groups: Groups read.
        num_counted: Groups that the main metric counts.
        problems: What was wrong with rows or scores, with counts and examples.
        published: Rows to stand beside ours.
        config: How it was run: data, device, dtype, seeds.
        date: ISO 8601, UTC.
    """

    benchmark: str
    version: int
    model: str
    revision: str
    metrics: tuple[MetricValue, ...]
    num_groups: int
    num_counted: int
    problems: tuple[Problem, ...] = ()
    published: tuple[PublishedRow, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)  # JSON values
    date: str = ""
