"""How numbers, names and long texts of results read."""

from __future__ import annotations

from visreward.evaluation.benchmarks.results import BenchResult, MetricValue, Unit
from visreward.scoring.table import number_text

MISSING = "–"


def key_of(metric: MetricValue) -> str:
    """Return what published rows call a metric: `name,filter`."""
    return f"{metric.name},{metric.filter}"


def metric_by_key(result: BenchResult, key: str) -> MetricValue | None:
    """Return the metric of a result with this `name,filter`, or None."""
    return next((metric for metric in result.metrics if key_of(metric) == key), None)


def words_of(key: str) -> str:
    """Return `name,filter` as words; the filter `none` says nothing."""
    name, _, variant = key.partition(",")
    words = name.replace("_", " ")
    return words if variant in ("", "none") else f"{words}, {variant.replace('_', ' ')}"


def value_text(value: float | None, unit: Unit, *, is_signed: bool = False) -> str:
    """Return a number as its unit asks; shares are in per cent, without the sign."""
    if value is None:
        return MISSING
    if unit == "count":
        text = f"{value:,.0f}"
    else:
        digits = {"share": 100 * value, "correlation": value}.get(unit)
        places = {"share": 1, "correlation": 3}.get(unit)
        text = number_text(value) if digits is None else f"{digits:.{places}f}"
    text = f"+{text}" if is_signed and not text.startswith("-") else text
    return text.replace("-", "−")


def unit_text(unit: Unit) -> str:
    """Return what stands behind the name of a metric, or nothing."""
    return {"share": "%", "correlation": "", "count": "", "number": ""}[unit]


def interval_text(low: float | None, high: float | None, unit: Unit) -> str:
    """Return a 95 % interval, or nothing where there is none."""
    if low is None or high is None:
        return ""
    return f"{value_text(low, unit)} to {value_text(high, unit)}"


def metric_text(metric: MetricValue) -> str:
    """Return a metric with its interval as plain text."""
    value = value_text(metric.value, metric.unit)
    interval = interval_text(metric.low, metric.high, metric.unit)
    return f"{value} ({interval})" if interval else value


def p_text(value: float) -> str:
    """Return a p value; small ones by their bound."""
    return "under 0.001" if value < 0.001 else f"{value:.3f}"


def clipped(words: str, length: int = 300) -> str:
    """Return a text that is at most this long, with a sign where it was cut."""
    return words if len(words) <= length else f"{words[: length - 1].rstrip()}…"


def letter_of(place: int, num: int) -> str:
    """Return what to call a candidate: a letter, or its number in groups of more than 26."""
    return chr(ord("A") + place) if num <= 26 else str(place + 1)
