"""One HTML page of many models on many benchmarks: numbers, intervals, ranks and which are sure.

It needs no script: choosing a column to sort by is a choice in a form that the style follows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visreward.core.errors import UsageError
from visreward.evaluation.benchmarks.results import BenchResult, MetricValue
from visreward.evaluation.metrics.intervals import NORMAL_QUANTILE_95
from visreward.evaluation.reports.bench_report import bench_style, page_foot
from visreward.evaluation.reports.page import page_head, text
from visreward.evaluation.reports.wording import (
    clipped,
    interval_text,
    key_of,
    unit_text,
    value_text,
    words_of,
)
from visreward.scoring.text_output import text_output

MAX_MODELS: Final = 300
MAX_BENCHMARKS: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a model stands on one benchmark.

    Attributes:
        rank: 1 = highest main metric; equal values share a rank.
        best: The rank it may have in truth at best: one more than models separably better.
        worst: The rank it may have at worst: all but those separably worse.
    """

    rank: int
    best: int
    worst: int

    @property
    def is_sure(self) -> bool:
        """Whether no other model could have this rank."""
        return self.best == self.worst


def standings(metrics: Mapping[str, MetricValue]) -> dict[str, Standing]:
    """Return where models stand by one metric; models without a value stand nowhere.

    Two models are separable where their difference is at least 1.96 standard errors from 0, as if
    they had answered different groups. They answered the same ones, which makes the difference
    more certain than that: what is marked separable is.

    Args:
        metrics: The metric of each model, by name. Higher is better.
    """
    values = {name: metric.value for name, metric in metrics.items() if metric.value is not None}
    found = {}
    for name, value in values.items():
        gaps = {
            other: NORMAL_QUANTILE_95 * math.hypot(_error(metrics[name]), _error(metrics[other]))
            for other in values
        }
        found[name] = Standing(
            rank=1 + sum(other > value for other in values.values()),
            best=1 + sum(values[other] - value > gap for other, gap in gaps.items()),
            worst=len(values) - sum(value - values[other] > gap for other, gap in gaps.items()),
        )
    return found


def write_leaderboard(results: Sequence[BenchResult], path: Path) -> None:
    """Write one self-contained HTML page; the same results make the same bytes.

    Each benchmark is a column with its main metric. Models stand by their mean rank; those that
    lack a benchmark come after those that have all.

    Args:
        results: Of any models and benchmarks, one of each.
        path: The page, replaced where it exists.

    Raises:
        UsageError: if there is no result, two are of one model and benchmark, or those of a
            benchmark differ in version or in their main metric.
        OSError: if the file cannot be written.
    """
    columns = _columns(results)
    ranked = {name: standings(column) for name, column in columns.items()}
    models = _ordered(list(dict.fromkeys(each.model for each in results)), ranked)
    shown = list(columns)[:MAX_BENCHMARKS]
    places = {
        name: _places([model for model, _ in models], columns[name], ranked[name]) for name in shown
    }
    rows = "".join(
        _row(number, model, mean, columns, ranked, places)
        for number, (model, mean) in enumerate(models[:MAX_MODELS])
    )
    heads = "".join(_column_head(name, columns[name]) for name in shown)
    path.parent.mkdir(parents=True, exist_ok=True)
    with text_output(path) as page:
        page.write(_head(len(models), list(columns), len(results)))
        page.write(_sort_form(shown))
        page.write(
            '<div class="scroll" role="region" aria-label="Leaderboard" tabindex="0">'
            f'<table class="board" role="table" style="--columns:{len(shown)}">\n'
            '<thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">model</th>'
            f'<th role="columnheader" scope="col">mean rank</th>{heads}</tr></thead>\n'
            f'<tbody role="rowgroup">\n{rows}</tbody>\n</table></div>\n'
        )
        page.write(page_foot(_left_out(len(models), len(columns))))


def _columns(results: Sequence[BenchResult]) -> dict[str, dict[str, MetricValue]]:
    """Return the main metric of each model, by benchmark."""
    if not results:
        raise UsageError("There are 0 results. Give one file of results or more.")
    first: dict[str, BenchResult] = {}
    columns: dict[str, dict[str, MetricValue]] = {}
    for result in results:
        head = first.setdefault(result.benchmark, result)
        column = columns.setdefault(result.benchmark, {})
        if result.version != head.version:
            raise UsageError(
                f"'{result.model}' was measured by version {result.version} of "
                f"'{result.benchmark}', but '{head.model}' by version {head.version}. Run the "
                "older one again."
            )
        if result.model in column:
            raise UsageError(
                f"Two results are of '{result.model}' on '{result.benchmark}'. Give each once."
            )
        if not result.metrics or key_of(result.metrics[0]) != key_of(head.metrics[0]):
            raise UsageError(
                f"The main metric of '{result.model}' on '{result.benchmark}' is not that of "
                f"'{head.model}'. Run it again."
            )
        column[result.model] = result.metrics[0]
    return columns


def _error(metric: MetricValue) -> float:
    """Return the standard error, or an infinite one where nothing is known of it."""
    if metric.stderr is not None:
        return metric.stderr
    if metric.low is None or metric.high is None:
        return math.inf
    return (metric.high - metric.low) / (2 * NORMAL_QUANTILE_95)


def _ordered(
    models: Sequence[str], ranked: Mapping[str, Mapping[str, Standing]]
) -> list[tuple[str, float]]:
    """Return models and their mean ranks, models with all benchmarks first, best first."""
    ranks = {
        model: [column[model].rank for column in ranked.values() if model in column]
        for model in models
    }
    means = {model: sum(each) / len(each) if each else math.inf for model, each in ranks.items()}
    order = sorted(models, key=lambda model: (-len(ranks[model]), means[model], model))
    return [(model, means[model]) for model in order]


def _places(
    models: Sequence[str], column: Mapping[str, MetricValue], ranked: Mapping[str, Standing]
) -> dict[str, int]:
    """Return where each model's row goes when the page is sorted by a column."""
    order = sorted(
        range(len(models)),
        key=lambda number: (
            ranked[models[number]].rank if models[number] in ranked else math.inf,
            models[number] not in column,
            number,
        ),
    )
    return {models[number]: place for place, number in enumerate(order)}


def _row(
    number: int,
    model: str,
    mean: float,
    columns: Mapping[str, Mapping[str, MetricValue]],
    ranked: Mapping[str, Mapping[str, Standing]],
    places: Mapping[str, Mapping[str, int]],
) -> str:
    style = f"--by:{number + 1};" + "".join(
        f"--by-{spot}:{places[name][model] + 1};" for spot, name in enumerate(places)
    )
    cells = "".join(_cell(columns[name], ranked[name], model) for name in places)
    num = sum(model in column for column in ranked.values())
    lacks = "" if num == len(columns) else f" <small>{num} of {len(columns)} benchmarks</small>"
    shown = f"{mean:.2f}" if math.isfinite(mean) else "–"
    return (
        f'<tr role="row" style="{style}"><th role="rowheader" scope="row">'
        f'{text(clipped(model, 80))}</th><td role="cell"><b>{shown}</b>{lacks}</td>{cells}</tr>\n'
    )


def _cell(column: Mapping[str, MetricValue], ranked: Mapping[str, Standing], model: str) -> str:
    metric, standing = column.get(model), ranked.get(model)
    if metric is None:
        return '<td role="cell"><small>not run</small></td>'
    if metric.value is None or standing is None:
        note = text(clipped(metric.note, 120)) or "not defined"
        return f'<td role="cell"><small>{note}</small></td>'
    interval = interval_text(metric.low, metric.high, metric.unit) or "no interval"
    rank = f"rank {standing.rank}"
    if not standing.is_sure:
        rank = f'<span class="open">rank {standing.best} to {standing.worst}</span>'
    return (
        f'<td role="cell"><b>{value_text(metric.value, metric.unit)}</b>'
        f"<small>{interval}</small>{_span(column, metric)}<small>{rank}</small></td>"
    )


def _span(column: Mapping[str, MetricValue], metric: MetricValue) -> str:
    """Return the interval as a bar on the scale of its column."""
    ends = [
        end
        for each in column.values()
        for end in (each.low, each.high, each.value)
        if end is not None
    ]
    low, size = min(ends), (max(ends) - min(ends)) or 1.0
    assert metric.value is not None
    begin = metric.value if metric.low is None else metric.low
    end = metric.value if metric.high is None else metric.high
    place = f"left:{100 * (begin - low) / size:.1f}%;width:{100 * (end - begin) / size:.1f}%"
    return f'<span class="bar"><i style="{place}"></i></span>'


def _column_head(name: str, column: Mapping[str, MetricValue]) -> str:
    metric = next(iter(column.values()))
    unit = unit_text(metric.unit)
    words = words_of(key_of(metric)) + (f", {unit}" if unit else "")
    return f'<th role="columnheader" scope="col">{text(name)}<small>{text(words)}</small></th>'


def _sort_form(names: Sequence[str]) -> str:
    """Return the choice of a column, and the rules that put rows in its order."""
    inputs = '<label><input type="radio" name="by" id="by-mean" checked> mean rank</label>\n'
    rules = ""
    for spot, name in enumerate(names):
        inputs += f'<label><input type="radio" name="by" id="by-{spot}"> {text(name)}</label>\n'
        chosen = f"body:has(#by-{spot}:checked)"
        rules += f"{chosen} .board tbody tr {{ --by: var(--by-{spot}) !important; }}\n"
    return (
        f"<style>\n{rules}</style>\n"
        f'<fieldset class="sort"><legend>Sort by</legend>\n{inputs}</fieldset>\n'
    )


def _head(num_models: int, benchmarks: Sequence[str], num_results: int) -> str:
    counts = [(num_models, "model"), (len(benchmarks), "benchmark"), (num_results, "result")]
    return page_head(
        "Leaderboard of reward models",
        heading="Leaderboard",
        line=" · ".join(f"<b>{num}</b> {word}{'s' if num > 1 else ''}" for num, word in counts),
        note='<p class="model">Each column: main metric, 95 % interval, and rank. “Rank 2 to 4”: '
        "the model cannot be told apart from its neighbours; on other groups it could come out "
        "anywhere between. Models that lack a benchmark come last.</p>",
        style=bench_style(),
    )


def _left_out(num_models: int, num_benchmarks: int) -> str:
    words = ""
    if num_models > MAX_MODELS:
        words += f"{num_models - MAX_MODELS} more models are not shown. "
    if num_benchmarks > MAX_BENCHMARKS:
        words += f"{num_benchmarks - MAX_BENCHMARKS} more benchmarks are not shown. "
    return words
