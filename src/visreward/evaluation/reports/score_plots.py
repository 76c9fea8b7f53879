"""Plots of the scores themselves: spread, ties, chances, and scores beside people's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from visreward.evaluation.benchmarks.pairs import PairTable
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.metrics.pairs import fit_tie_threshold
from visreward.evaluation.reports.agreement import Floats, Ints, Measured, scored_alone
from visreward.evaluation.reports.drawing import (
    INK,
    SERIES,
    Plot,
    colour_of,
    marker_of,
    shortened,
)
from visreward.scoring.table import number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_BINS: Final = 32
_PANEL: Final = 1.25
"""Inches of a model's panel."""
_OUTCOMES: Final = ("first", "tie", "second")
_MOST_POINTS: Final = 1500
_NUM_PARTS: Final = 10


def distribution_plot(models: Sequence[Measured]) -> Plot | None:
    """Return how scores spread, for what people find best and for the rest."""
    parts = {place: _best_and_rest(model.groups) for place, model in enumerate(models)}
    parts = {place: (best, rest) for place, (best, rest) in parts.items() if len(best) + len(rest)}
    if not parts:
        return None
    has_both = any(len(best) and len(rest) for best, rest in parts.values())

    def draw(figure: Figure) -> None:
        axes = figure.subplots(len(parts), 1, squeeze=False)[:, 0]
        for axis, (place, (best, rest)) in zip(axes, parts.items(), strict=True):
            _histogram(axis, best, rest)
            if len(models) > 1:
                axis.set_title(shortened(models[place].name, 44))
            axis.set_yticks([])
            axis.spines["left"].set_visible(False)
        axes[-1].set_xlabel("score")
        if has_both:
            figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=2)

    rows = tuple(
        (models[place].name, kind, f"{len(values):,}", *_quantiles(values))
        for place, both in parts.items()
        for kind, values in zip(("best by people", "others"), both, strict=True)
        if len(values)
    )
    return Plot(
        name="scores",
        title="Score distributions",
        caption="All candidates that have a score. The further the two lie apart, the better one "
        "score tells good from bad across prompts; models are trained to do so within a prompt."
        if has_both
        else "All candidates that have a score.",
        alt="Distributions of scores. "
        + " ".join(f"{row[0]}, {row[1]}: median {row[4]}." for row in rows[:4]),
        columns=("model", "candidates", "number", "lower quarter", "median", "upper quarter"),
        rows=rows,
        height=0.8 + _PANEL * len(parts) + 0.2 * has_both,
        draw=draw,
    )


def confusion_plot(models: Sequence[Measured]) -> Plot | None:
    """Return what models call a tie and what people do; None where people call none."""
    found = {place: _confusion(model.pairs) for place, model in enumerate(models)}
    shown = {place: each for place, each in found.items() if each is not None}
    if not shown:
        return None
    columns = min(2, len(shown))
    lines = math.ceil(len(shown) / columns)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for axis, (place, (counts, _)) in zip(axes, shown.items(), strict=False):
            _matrix(axis, counts)
            if len(models) > 1:
                axis.set_title(shortened(models[place].name, 24))
        for axis in axes[len(shown) :]:
            axis.set_visible(False)

    thresholds = ", ".join(
        f"{models[place].name}: " + ("none" if threshold is None else number_text(threshold))
        for place, (_, threshold) in shown.items()
    )
    rows = tuple(
        (models[place].name, f"people: {_OUTCOMES[number]}", *(f"{n:,}" for n in line))
        for place, (counts, _) in shown.items()
        for number, line in enumerate(counts.tolist())
    )
    first = next(iter(shown.values()))[0]
    tied = first[1].sum()
    return Plot(
        name="ties",
        title="Ties",
        caption="What people say of pairs, and what the model says: which candidate is better, in "
        "the order of the files, or neither. Gaps up to the tie threshold that fits these very "
        f"pairs best count as a tie ({thresholds}); pairs without a verdict are left out here.",
        alt=f"{models[next(iter(shown))].name} finds {first[1, 1]:,} of the {tied:,} pairs that "
        "people call a tie.",
        columns=("model", "pairs", *(f"model: {name}" for name in _OUTCOMES)),
        rows=rows,
        height=0.75 + (2.2 if columns == 2 else 2.8) * lines,
        draw=draw,
    )


def human_plot(models: Sequence[Measured]) -> Plot | None:
    """Return scores beside people's own, where people scored candidates alone."""
    found = {place: scored_alone(model.groups) for place, model in enumerate(models)}
    found = {place: each for place, each in found.items() if len(each[0]) > 1}
    if not found:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots(len(found), 1, squeeze=False, sharex=True)[:, 0]
        for axis, (place, (_, human, value)) in zip(axes, found.items(), strict=True):
            some = slice(None, None, max(1, len(human) // _MOST_POINTS))
            axis.plot(
                human[some],
                value[some],
                marker_of(place),
                color=colour_of(place),
                alpha=0.35,
                ms=4,
                mew=0,
                rasterized=False,
            )
            levels, means = _means(human, value)
            axis.plot(levels, means, color=INK, lw=1.6)
            axis.set_ylabel("score")
            if len(models) > 1:
                axis.set_title(shortened(models[place].name, 44))
        axes[-1].set_xlabel("score by people")

    rows = []
    for place, (_, human, value) in found.items():
        levels, means = _means(human, value)
        rows += [
            (models[place].name, f"{level:.3g}", number_text(mean))
            for level, mean in zip(levels.tolist(), means.tolist(), strict=True)
        ]
    return Plot(
        name="people",
        title="Scores beside people's",
        caption="Each point is a candidate that people scored alone. Line: mean score of those "
        "that people score alike, in at most ten parts.",
        alt="Scores of models over scores by people, for "
        + ", ".join(models[place].name for place in found)
        + ".",
        columns=("model", "score by people", "mean score"),
        rows=tuple(rows),
        height=0.6 + 1.9 * len(found),
        draw=draw,
    )


def _best_and_rest(groups: Sequence[GroupResult]) -> tuple[Floats, Floats]:
    """Return the scores of candidates that people find best in their group, and of the others.

    Where people call all equal, or said nothing, none is best.
    """
    best: list[float] = []
    rest: list[float] = []
    for group in groups:
        ranks = [each.rank for each in group.candidates]
        known = [rank for rank in ranks if rank is not None]
        top = min(known) if known and min(known) < max(known) else None
        for candidate in group.candidates:
            if candidate.value is not None and math.isfinite(candidate.value):
                is_best = top is not None and candidate.rank == top
                (best if is_best else rest).append(candidate.value)
    return np.array(best), np.array(rest)


def _histogram(axis: Axes, best: Floats, rest: Floats) -> None:
    everything = np.concatenate([best, rest])
    low, high = everything.min(), everything.max()
    edges = np.linspace(low, high if high > low else low + 1.0, NUM_BINS + 1).tolist()
    if len(rest):
        axis.hist(rest, edges, density=True, color=SERIES[1], alpha=0.35, label="others")
        axis.hist(rest, edges, density=True, histtype="step", color=SERIES[1], ls=(0, (3, 1.5)))
    if len(best):
        axis.hist(best, edges, density=True, color=SERIES[0], alpha=0.35, label="best by people")
        axis.hist(best, edges, density=True, histtype="step", color=SERIES[0])
    axis.grid(visible=False, axis="y")


def _quantiles(values: Floats) -> tuple[str, ...]:
    return tuple(number_text(float(each)) for each in np.quantile(values, (0.25, 0.5, 0.75)))


def _confusion(pairs: PairTable) -> tuple[Ints, float | None] | None:
    """Return (3, 3) counts, people by model in the order first, tie, second, and the threshold."""
    known = np.isfinite(pairs.margins)
    label, margin = pairs.labels[known], pairs.margins[known]
    if not (label == 0).any():
        return None
    threshold = 0.0 if pairs.has_verdicts else fit_tie_threshold(margin, label).tie_threshold
    said = np.sign(margin).astype(np.int64)
    if threshold is not None:
        said[np.abs(margin) <= threshold] = 0
    counts = np.zeros((3, 3), dtype=np.int64)
    np.add.at(counts, (1 - label, 1 - said), 1)
    return counts, threshold


def _matrix(axis: Axes, counts: Ints) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for line in range(3):
        for column in range(3):
            share = float(shares[line, column])
            colour = SERIES[0] if line == column else SERIES[1]
            axis.fill_between(
                [column - 0.48, column + 0.48],
                line - 0.48,
                line + 0.48,
                color=colour,
                alpha=0.05 + 0.4 * share,
                lw=0,
            )
            axis.text(
                column,
                line,
                f"{100 * share:.0f} %\n{counts[line, column]:,}",
                ha="center",
                va="center",
                fontsize=9,
            )
    axis.set_xticks(range(3), _OUTCOMES)
    axis.set_yticks(range(3), _OUTCOMES)
    axis.set_xlim(-0.5, 2.5)
    axis.set_ylim(2.5, -0.5)
    axis.set_xlabel("model")
    axis.set_ylabel("people")
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)


def _means(human: Floats, value: Floats) -> tuple[Floats, Floats]:
    """Return the mean of both scores in parts of candidates that people score alike."""
    edges = np.unique(human)
    if len(edges) > _NUM_PARTS:  # equal scores stay in one part
        edges = np.unique(np.quantile(human, np.linspace(0, 1, _NUM_PARTS + 1)))[:-1]
    places = np.searchsorted(edges, human, side="right")
    parts = [np.flatnonzero(places == place) for place in np.unique(places)]
    return (
        np.array([human[part].mean() for part in parts]),
        np.array([value[part].mean() for part in parts]),
    )
