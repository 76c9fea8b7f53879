"""Plots of how often models are right: beside others, by category, by how sure they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from visreward.evaluation.benchmarks.pairs import PairTable, cluster_numbers
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import BenchResult
from visreward.evaluation.metrics.intervals import Accuracy, cluster_interval
from visreward.evaluation.reports.agreement import Bools, Floats, Ints, Measured
from visreward.evaluation.reports.drawing import (
    INK,
    SOFT,
    Plot,
    colour_of,
    legend_below,
    marker_of,
    share_axis,
    shortened,
)
from visreward.evaluation.reports.wording import (
    interval_text,
    key_of,
    metric_by_key,
    unit_text,
    value_text,
    words_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CATEGORIES: Final = 20
MAX_PUBLISHED: Final = 20
NUM_BINS: Final = 8
_FEWEST_PAIRS: Final = 10
"""A bin of fewer pairs says nothing."""
_NUM_RESAMPLES: Final = 2000


def overview_plot(results: Sequence[BenchResult]) -> Plot | None:
    """Return the main metric of all models and of published rows, best first; None without one."""
    if not results[0].metrics:
        return None
    main = results[0].metrics[0]
    key = key_of(main)
    rows: list[tuple[str, int | None, Accuracy]] = []
    for place, result in enumerate(results):
        metric = metric_by_key(result, key)
        if metric is not None and metric.value is not None:
            low, high = metric.low, metric.high
            span = (metric.value, metric.value) if low is None or high is None else (low, high)
            rows.append(
                (result.model, place, Accuracy(value=metric.value, low=span[0], high=span[1]))
            )
    if not rows:
        return None
    published = [
        (
            row.model,
            None,
            Accuracy(value=row.values[key], low=row.values[key], high=row.values[key]),
        )
        for row in results[0].published
        if key in row.values
    ]
    rows += sorted(published, key=lambda row: -row[2].value)[:MAX_PUBLISHED]
    rows.sort(key=lambda row: row[2].value)
    cells = tuple(
        (
            name,
            "measured here" if place is not None else "published",
            value_text(each.value, main.unit),
            interval_text(each.low, each.high, main.unit) if place is not None else "",
        )
        for name, place, each in reversed(rows)
    )

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        for height, (_, place, each) in enumerate(rows):
            if place is None:
                axis.plot(each.value, height, "d", color=SOFT, ms=6)
                continue
            axis.plot([each.low, each.high], [height] * 2, color=colour_of(place), lw=2.4)
            axis.plot(each.value, height, marker_of(place), color=colour_of(place), ms=8)
        axis.set_yticks(range(len(rows)), [shortened(name) for name, _, _ in rows])
        for label, (_, place, _) in zip(axis.get_yticklabels(), rows, strict=True):
            label.set_color(SOFT if place is None else INK)
            label.set_fontweight("normal" if place is None else "bold")
        axis.grid(visible=False, axis="y")
        axis.set_ylim(-0.6, len(rows) - 0.4)
        if main.unit == "share":
            low, high = min(row[2].low for row in rows), max(row[2].high for row in rows)
            share_axis(axis, is_x=True, low=max(0, low - 0.05), high=min(1, high + 0.05))

    best = rows[-1]
    return Plot(
        name="overview",
        title=_capital(words_of(key)),
        caption="Bold: measured here, with 95 % intervals."
        + (" Diamonds: rows beside ours." if published else ""),
        alt=f"{words_of(key)} of {len(rows)} models; the best is {best[0]} with "
        f"{value_text(best[2].value, main.unit)}{unit_text(main.unit)}.",
        columns=("model", "from", f"value {unit_text(main.unit)}".strip(), "95 % interval"),
        rows=cells,
        height=0.75 + 0.27 * len(rows),
        draw=draw,
    )


def margin_plot(models: Sequence[Measured]) -> Plot | None:
    """Return how often models are right, by how far apart they put the two candidates."""
    curves = {place: _by_margin(model.pairs) for place, model in enumerate(models)}
    curves = {place: bins for place, bins in curves.items() if bins}
    if not curves:
        return None

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        axis.axhline(0.5, color=SOFT, lw=1, ls=(0, (4, 3)))
        for place, bins in curves.items():
            centres = (np.arange(len(bins)) + 0.5 + 0.08 * (place - len(curves) / 2)) / len(bins)
            curve(axis, centres, bins, place=place, name=models[place].name)
        share_axis(axis, low=min(0.4, *(each.low for bins in curves.values() for each in bins)))
        share_axis(axis, is_x=True)
        axis.set_xlabel("pairs, from least to most sure")
        axis.set_ylabel("right")
        legend_below(figure, axis, [models[place].name for place in curves])

    sure = {models[place].name: bins[-1].value for place, bins in curves.items()}
    return Plot(
        name="accuracy-by-margin",
        title="Accuracy by margin",
        caption="Pairs that people do not call a tie, in equal parts by the gap between the two "
        "scores. A model whose gaps mean something is right more often to the right; equal scores "
        "are wrong. Dashed: chance.",
        alt="Share of right pairs where the gap of scores is largest: "
        + ", ".join(f"{name} {100 * value:.0f} %" for name, value in sure.items())
        + ".",
        columns=("model", *(f"part {n + 1}" for n in range(max(map(len, curves.values()))))),
        rows=tuple(
            (models[place].name, *(f"{100 * each.value:.1f}" for each in bins))
            for place, bins in curves.items()
        ),
        height=3.3,
        draw=draw,
    )


def category_plot(models: Sequence[Measured]) -> Plot | None:
    """Return how often models are right in each category; None where there is but one."""
    sizes = Counter(
        group.category for group in models[0].groups if group.correct is not None
    ).most_common()
    names = [name for name, _ in sizes[:MAX_CATEGORIES]]
    if len(names) < 2:
        return None
    shares = [_by_category(model.groups, names) for model in models]
    num_left = len(sizes) - len(names)
    left = f" The {num_left} smallest categories are left out." if num_left else ""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        thick = 0.8 / len(models)
        for place, found in enumerate(shares):
            for height, each in enumerate(found):
                if each is None:
                    continue
                y = -height + 0.4 - thick * (place + 0.5)
                name = shortened(models[place].name) if height == 0 else None
                axis.barh(y, each.value, height=0.86 * thick, color=colour_of(place), label=name)
                axis.plot([each.low, each.high], [y, y], color=INK, lw=1.1)
        labels = [f"{shortened(name or 'none', 22)} ({num})" for name, num in sizes[: len(names)]]
        axis.set_yticks([-place for place in range(len(names))], labels)
        axis.grid(visible=False, axis="y")
        axis.set_ylim(-len(names) + 0.45, 0.55)
        share_axis(axis, is_x=True)
        axis.set_xlim(0, 1.02)
        legend_below(figure, axis, [model.name for model in models])

    return Plot(
        name="categories",
        title="By category",
        caption="Share of groups that count as right, with 95 % intervals over clusters; in "
        f"brackets, how many groups.{left}",
        alt=_category_words(models[0].name, names, shares[0]),
        columns=("category", *(model.name for model in models)),
        rows=tuple(
            (name or "none", *(_share_text(found[number]) for found in shares))
            for number, name in enumerate(names)
        ),
        height=0.8 + len(names) * max(0.26, 0.14 * len(models)) + 0.2 * (len(models) > 1),
        draw=draw,
    )


def right_parts(sizes: Floats, right: Bools, clusters: Ints) -> list[tuple[Ints, Accuracy]]:
    """Return pairs in parts of equal number by rising size, and the share of each that is right.

    Args:
        sizes: (M,) what pairs are ordered by.
        right: (M,) whether each is right.
        clusters: (M,) what is drawn whole for intervals.

    Returns:
        The places of each part's pairs, and its share; nothing where there are too few pairs.
    """
    num_bins = min(NUM_BINS, len(sizes) // _FEWEST_PAIRS)
    if num_bins < 2:
        return []
    parts = np.array_split(np.argsort(sizes, kind="stable"), num_bins)
    return [(part, _interval(right[part], clusters[part])) for part in parts]


def curve(
    axis: Axes,
    centres: Sequence[float] | Floats,
    bins: Sequence[Accuracy],
    *,
    place: int,
    name: str,
) -> None:
    """Draw a model's shares with their intervals, in its colour and with its sign."""
    colour = colour_of(place)
    axis.vlines(centres, [each.low for each in bins], [each.high for each in bins], colors=colour)
    axis.plot(
        centres,
        [each.value for each in bins],
        marker=marker_of(place),
        ms=6,
        color=colour,
        label=shortened(name),
    )


def _by_margin(pairs: PairTable) -> list[Accuracy]:
    """Return the shares of right pairs in parts of equal size, by the size of the margin."""
    kept = pairs.where((pairs.labels != 0) & np.isfinite(pairs.margins))
    right = np.sign(kept.margins) == kept.labels
    return [share for _, share in right_parts(np.abs(kept.margins), right, kept.clusters)]


def _by_category(groups: Sequence[GroupResult], names: Sequence[str]) -> list[Accuracy | None]:
    clusters = cluster_numbers(groups)
    correct = np.array([np.nan if each.correct is None else each.correct for each in groups])
    category = np.array([group.category for group in groups], dtype=object)
    found: list[Accuracy | None] = []
    for name in names:
        kept = (category == name) & np.isfinite(correct)
        found.append(_interval(correct[kept], clusters[kept]) if kept.any() else None)
    return found


def _interval(values: Floats | Bools, clusters: Ints) -> Accuracy:
    """Return a share and its interval; without an interval, its ends are the share itself."""
    is_right = values == 1
    answers = is_right if bool((is_right | (values == 0)).all()) else values
    found = cluster_interval(answers, clusters, num_resamples=_NUM_RESAMPLES)
    value = float(values.mean())
    return Accuracy(
        value=value,
        low=value if found.low is None else found.low,
        high=value if found.high is None else found.high,
    )


def _category_words(model: str, names: Sequence[str], found: Sequence[Accuracy | None]) -> str:
    known = [
        (each.value, name or "none")
        for each, name in zip(found, names, strict=True)
        if each is not None
    ]
    best, worst = max(known), min(known)
    return (
        f"Share of right groups in {len(names)} categories; {model} is best in {best[1]} with "
        f"{100 * best[0]:.0f} % and worst in {worst[1]} with {100 * worst[0]:.0f} %."
    )


def _share_text(share: Accuracy | None) -> str:
    if share is None:
        return ""
    return f"{value_text(share.value, 'share')} ({interval_text(share.low, share.high, 'share')})"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
