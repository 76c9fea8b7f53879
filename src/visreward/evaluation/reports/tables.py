"""Tables of a benchmark's report: metrics, published rows, differences, problems, settings."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from visreward.data.base import Problem
from visreward.evaluation.benchmarks.pairs import cluster_numbers
from visreward.evaluation.benchmarks.results import BenchResult, MetricValue, PublishedRow
from visreward.evaluation.metrics.intervals import Difference, paired_difference
from visreward.evaluation.reports.agreement import Measured
from visreward.evaluation.reports.page import text
from visreward.evaluation.reports.wording import (
    MISSING,
    clipped,
    interval_text,
    key_of,
    metric_by_key,
    p_text,
    unit_text,
    value_text,
    words_of,
)

MAX_METRICS: Final = 60
MAX_PUBLISHED: Final = 30
MAX_PROBLEMS: Final = 40
_MAX_PAIRS: Final = 15


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, label: str, classes: str = ""
) -> str:
    """Return a table that scrolls sideways by itself where the screen is narrow.

    Args:
        columns: HTML of the heads; the first heads the rows.
        rows: HTML of the cells; the first of each heads its row.
        label: What the table holds, plain text, for those who hear it.
        classes: CSS classes of the table.
    """
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f"<td>{cell}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" aria-label="{text(label)}" tabindex="0">'
        f'<table class="{classes}">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n'
        "</table></div>\n"
    )


def section(name: str, title: str, body: str, *, note: str = "") -> str:
    """Return a part of the page that links can lead to; `note` is HTML."""
    line = f'<p class="count">{note}</p>\n' if note else ""
    return f'<section id="{name}">\n<h2>{text(title)}</h2>\n{line}{body}</section>\n'


def metrics_section(results: Sequence[BenchResult]) -> str:
    """Return every metric of every model with its interval and what it rests on."""
    keys = list(dict.fromkeys(key_of(metric) for each in results for metric in each.metrics))
    rows = []
    for key in keys[:MAX_METRICS]:
        found = [metric_by_key(each, key) for each in results]
        some = next(metric for metric in found if metric is not None)
        rows.append(
            [
                f"{_metric_head(key, some)} <small>{_answers_words(found)}</small>",
                *(MISSING if metric is None else _metric_cell(metric) for metric in found),
            ]
        )
    left = len(keys) - MAX_METRICS
    note = "With 95 % intervals, and on how many answers each rests. Shares are in per cent."
    if left > 0:
        note += f" {left} more metrics are in the JSON."
    columns = ["metric", *(text(each.model) for each in results)]
    return section(
        "metrics", "Metrics", table(columns, rows, label="Metrics", classes="numbers"), note=note
    )


def published_section(results: Sequence[BenchResult]) -> str:
    """Return published rows beside ours, one table for each model, or nothing without rows."""
    parts = [_published_table(result, is_alone=len(results) == 1) for result in results]
    body = "".join(parts)
    if not body:
        return ""
    return section(
        "published",
        "Beside published rows",
        body,
        note="Small: ours less the published number, in the units of the column. Bold: our "
        "interval does not hold the published number. Rows were published by others, on data and "
        "with rules that may differ in detail from what was read here; human-to-human, where "
        "there is one, is of the raters of this data.",
    )


def paired_section(models: Sequence[Measured]) -> str:
    """Return how much better one model is than another on the same groups, or nothing for one."""
    found = _paired_rows(models)
    if not found:
        return ""
    columns = ["models", "difference in points", "p"]
    return section(
        "paired",
        "Models against each other",
        table(columns, found, label="Paired differences", classes="numbers"),
        note="Share of right groups of the first less that of the second, on groups that both "
        "answer; intervals and p from resampling whole clusters, p by Holm for all rows together. "
        "“Not separable”: the interval holds 0.",
    )


def problems_section(results: Sequence[BenchResult]) -> str:
    """Return what was wrong with rows and scores: counted and named."""
    by_problem: dict[Problem, list[str]] = {}
    for result in results:
        for problem in result.problems:
            by_problem.setdefault(problem, []).append(result.model)
    if not by_problem:
        return section("problems", "Problems found", '<p class="fine">None in rows or scores.</p>')
    items = "".join(
        _problem_item(problem, models if len(models) < len(results) else [])
        for problem, models in itertools.islice(by_problem.items(), MAX_PROBLEMS)
    )
    left = len(by_problem) - MAX_PROBLEMS
    note = f"{left} more kinds are in the JSON." if left > 0 else ""
    return section("problems", "Problems found", f'<ul class="faults">\n{items}</ul>\n', note=note)


def settings_section(results: Sequence[BenchResult]) -> str:
    """Return how each model was run."""
    keys = list(dict.fromkeys(key for each in results for key in each.config))[:MAX_METRICS]
    rows = [
        ["revision", *(text(clipped(each.revision, 80)) or MISSING for each in results)],
        ["protocol", *(f"version {each.version}" for each in results)],
        ["groups read", *(f"{each.num_groups:,}" for each in results)],
        ["groups counted", *(f"{each.num_counted:,}" for each in results)],
        ["run at", *(text(each.date) or MISSING for each in results)],
        *(
            [text(clipped(key, 80)), *(_setting(each.config, key) for each in results)]
            for key in keys
        ),
    ]
    columns = ["setting", *(text(each.model) for each in results)]
    return section("settings", "How it was run", table(columns, rows, label="Settings"))


def _metric_head(key: str, metric: MetricValue) -> str:
    name, _, variant = key.partition(",")
    chip = "" if variant == "none" else f' <span class="chip">{text(words_of(variant))}</span>'
    unit = unit_text(metric.unit)
    return text(words_of(name)) + (f", {unit}" if unit else "") + chip


def _answers_words(metrics: Sequence[MetricValue | None]) -> str:
    """Return how many answers a metric rests on; several numbers where models differ."""
    counts = dict.fromkeys(metric.num for metric in metrics if metric is not None)
    return f"{' / '.join(f'{count:,}' for count in counts)} answers"


def _metric_cell(metric: MetricValue) -> str:
    cell = f"<b>{value_text(metric.value, metric.unit)}</b>"
    interval = interval_text(metric.low, metric.high, metric.unit)
    if interval:
        cell += f" <small>{interval}</small>"
    if metric.note:
        cell += f' <small class="remark">{text(clipped(metric.note))}</small>'
    return cell


def _published_table(result: BenchResult, *, is_alone: bool) -> str:
    shown = {key for row in result.published for key in row.values}
    metrics = [metric for metric in result.metrics if key_of(metric) in shown][:MAX_PUBLISHED]
    if not metrics:
        return ""
    ours = [f"{text(result.model)} <small>measured here</small>", *map(_metric_cell, metrics)]
    first = key_of(metrics[0])
    ordered = sorted(result.published, key=lambda row: -row.values.get(first, float("-inf")))
    rows = [
        [
            f"{text(row.model)} <small>{text(clipped(row.source, 120))}</small>",
            *(_published_cell(metric, row) for metric in metrics),
        ]
        for row in ordered[:MAX_PUBLISHED]
    ]
    heads = ["model", *(_metric_head(key_of(metric), metric) for metric in metrics)]
    title = "" if is_alone else f"<h3>{text(result.model)}</h3>\n"
    label = f"{result.model} beside published rows"
    return title + table(heads, [ours, *rows], label=label, classes="numbers ours-first")


def _published_cell(metric: MetricValue, row: PublishedRow) -> str:
    value = row.values.get(key_of(metric))
    if value is None:
        return MISSING
    cell = value_text(value, metric.unit)
    if metric.value is None:
        return cell
    difference = value_text(metric.value - value, metric.unit, is_signed=True)
    is_outside = (
        metric.low is not None
        and metric.high is not None
        and not metric.low <= value <= metric.high
    )
    tag = "b" if is_outside else "span"
    return f"{cell} <small><{tag}>ours {difference}</{tag}></small>"


def _paired_rows(models: Sequence[Measured]) -> list[list[str]]:
    if len(models) < 2:
        return []
    correct = np.array(
        [
            [np.nan if group.correct is None else group.correct for group in model.groups]
            for model in models
        ],
        dtype=np.float64,
    )
    clusters = cluster_numbers(models[0].groups)
    pairs = list(itertools.combinations(range(len(models)), 2))
    if len(pairs) > _MAX_PAIRS:
        shares = np.array([np.nanmean(row) if np.isfinite(row).any() else -1 for row in correct])
        best = int(shares.argmax())
        pairs = [(best, other) for other in range(len(models)) if other != best]
    found = []
    for first, second in pairs:
        kept = np.isfinite(correct[first]) & np.isfinite(correct[second])
        if kept.any():
            one, other = correct[[first, second]][:, kept]
            found.append((first, second, paired_difference(one, other, clusters[kept])))
    adjusted = holm([each.p_value or 0.0 for _, _, each in found])
    return [
        [
            f"{text(models[first].name)} <small>less {text(models[second].name)}</small>",
            *_difference_cells(each, p_value),
        ]
        for (first, second, each), p_value in zip(found, adjusted, strict=True)
    ]


def _difference_cells(difference: Difference, p_value: float) -> list[str]:
    value = f"<b>{value_text(difference.value, 'share', is_signed=True)}</b>"
    if difference.low is None or difference.high is None:
        remark = text(difference.note)
    else:
        low, high = (
            value_text(end, "share", is_signed=True) for end in (difference.low, difference.high)
        )
        remark = f"{low} to {high}"
        if difference.low <= 0 <= difference.high:
            remark += "<br>not separable"
    return [f"{value} <small>{remark}</small>", p_text(p_value)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values that hold for all tests together.

    With p_(1) <= ... <= p_(m): max over j <= i of min(1, (m - j + 1) p_(j)).
    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6 (1979).
    """
    found = [0.0] * len(p_values)
    highest = 0.0
    for done, place in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        highest = max(highest, min(1.0, (len(p_values) - done) * p_values[place]))
        found[place] = highest
    return found


def _problem_item(problem: Problem, models: Sequence[str]) -> str:
    kind = " warning" if problem.is_warning else ""
    of = f" <small>{text(', '.join(models))}</small>" if models else ""
    named = ", ".join(f"<bdi>{text(clipped(each, 160))}</bdi>" for each in problem.examples)
    more = problem.count - len(problem.examples)
    others = f" and {more:,} more" if more > 0 and problem.examples else ""
    return (
        f'<li class="problem{kind}"><b>{problem.count:,} × {text(clipped(problem.kind))}{of}</b>'
        f"{named}{others}</li>\n"
    )


def _setting(config: Mapping[str, Any], key: str) -> str:
    if key not in config:
        return MISSING
    value = config[key]
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text(clipped(words, 200))
