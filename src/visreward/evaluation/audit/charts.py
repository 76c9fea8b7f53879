"""Intervals against a limit as a drawing inside a page; its colours are the page's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from visreward.evaluation.audit.records import Limit, Measure, Unit

_WIDTH: Final = 320
_ROW: Final = 26
_EDGE: Final = 10


def number(value: float, unit: Unit, *, is_signed: bool = False) -> str:
    """Return a number as people read it: shares in per cent, the others with two decimals."""
    sign = "+" if is_signed else ""
    if unit == "share":
        return f"{100 * value:{sign}.1f} %"
    text = f"{value:{sign}.2f}" if abs(value) >= 0.005 or value == 0 else f"{value:{sign}.1g}"
    return f"{text} SD" if unit == "sd" else text


def interval_text(measure: Measure) -> str:
    """Return a measure with its interval, in words."""
    value = number(measure.value, measure.unit)
    if measure.low == measure.high:
        return value
    ends = [
        number(end, measure.unit).removesuffix(" SD").removesuffix(" %")
        for end in (measure.low, measure.high)
    ]
    return f"{value} ({ends[0]} to {ends[1]})"


def interval_drawing(
    measure: Measure, others: Sequence[Measure], limit: Limit | None, *, is_judged: bool
) -> str:
    """Return an SVG of one interval on the scale that it shares with others of its unit.

    Args:
        measure: What is drawn.
        others: What shares its scale.
        limit: In the unit of the measure, so that it is on the scale as well; None where the limit
            is of another unit.
        is_judged: Whether the measure is held against the limit: the side that breaks it is shaded.
    """
    low, high = _scale([each for each in others if each.unit == measure.unit], limit, measure.unit)

    def place(value: float) -> float:
        inner = _WIDTH - 2 * _EDGE
        return round(_EDGE + inner * (min(max(value, low), high) - low) / (high - low), 1)

    middle = _ROW / 2
    parts = [_shade(limit, place)] if limit is not None and is_judged else []
    parts.append(f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{middle}" y2="{middle}"/>')
    if low < 0 < high:
        parts.append(f'<line class="axis" x1="{place(0)}" x2="{place(0)}" y1="4" y2="{_ROW - 4}"/>')
    parts.append(
        f'<line class="reach" x1="{place(measure.low)}" x2="{place(measure.high)}" '
        f'y1="{middle}" y2="{middle}"/>'
        f'<circle class="dot" cx="{place(measure.value)}" cy="{middle}" r="5"/>'
    )
    return (
        f'<svg class="interval" viewBox="0 0 {_WIDTH} {_ROW}" role="img" '
        f'aria-label="{interval_text(measure)}">{"".join(parts)}</svg>'
    )


def _scale(measures: Sequence[Measure], limit: Limit | None, unit: Unit) -> tuple[float, float]:
    if unit == "share":
        return 0.0, 1.0
    if unit == "correlation":
        return -1.0, 1.0
    ends = [end for each in measures for end in (each.low, each.high)]
    if limit is not None:
        ends.append(1.3 * limit.value)
    low, high = min(0.0, *ends), max(0.0, *ends)
    return (low, high) if high > low else (low, low + 1.0)


def _shade(limit: Limit, place: Callable[[float], float]) -> str:
    spans: tuple[tuple[float | None, float | None], ...]
    if limit.side == "at most":
        spans = ((limit.value, None),)
    elif limit.side == "at least":
        spans = ((None, limit.value),)
    else:
        spans = ((None, -limit.value), (limit.value, None))
    drawn = ""
    for begin, end in spans:
        left = 0.0 if begin is None else place(begin)
        right = float(_WIDTH) if end is None else place(end)
        drawn += (
            f'<rect class="bad" x="{left}" y="0" width="{round(right - left, 1)}" height="{_ROW}"/>'
        )
    return drawn
