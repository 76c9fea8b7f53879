"""The outcomes of an experiment over its seeds: means with intervals, a table, and a chart.

Shape letters: S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from experiments.runs import Outcome
from visreward.data.base import load_optional

COLUMNS: Final = {
    "ablation": ("accuracy", "following", "quality", "ties_apart"),
    "noise": (
        "accuracy",
        "error",
        "doubt",
        "calibration_error",
        "noisy_calibration_error",
        "deviation",
        "doubt_finds_errors",
        "sigma_finds_errors",
    ),
    "ties": ("accuracy", "following", "quality", "ties_apart", "calibration_error"),
    "filtering": ("accuracy", "following", "quality", "kept_right"),
}
"""The figures in the table of each experiment."""

TITLES: Final = {
    "accuracy": "pairs in the right order",
    "following": "following",
    "quality": "quality",
    "ties_apart": "ties have the smaller gap",
    "error": "error",
    "doubt": "doubt",
    "calibration_error": "calibration error",
    "noisy_calibration_error": "calibration error, noisy labels",
    "deviation": "sigma of a pair",
    "doubt_finds_errors": "doubt finds errors",
    "sigma_finds_errors": "sigma finds errors",
    "kept_right": "right ratings among the kept",
}
NO_SHARES: Final = ("deviation",)


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over S seeds with its 95 % interval.

    Attributes:
        value: The mean.
        low: Lower end, from Student's t with S - 1 degrees of freedom; that of one seed is NaN.
        high: Upper end.
        deviation: Standard deviation over the seeds.
        values: The figure of each seed.
    """

    value: float
    low: float
    high: float
    deviation: float
    values: tuple[float, ...]


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of the figures of S seeds."""
    found = np.asarray(values, np.float64)
    mean, num = float(found.mean()), len(found)
    deviation = float(found.std(ddof=1)) if num > 1 else math.nan
    reach = math.nan
    if num > 1:
        stats = load_optional("scipy.stats", extra="bench")
        reach = float(stats.t.ppf(0.975, num - 1)) * deviation / math.sqrt(num)
    return Mean(
        value=mean,
        low=mean - reach,
        high=mean + reach,
        deviation=deviation,
        values=tuple(found.tolist()),
    )


def summed_up(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:  # JSON values
    """Return each arm with its means, and with what it differs in from the first arm.

    Differences are taken seed by seed, as runs of a seed share first weights, labels and order; of
    an arm with noisy labels, from the first arm at the same share.
    """
    by_arm: dict[tuple[str, float], list[Outcome]] = {}
    for outcome in sorted(outcomes, key=lambda each: each.seed):
        by_arm.setdefault((outcome.arm, outcome.noise), []).append(outcome)
    first = outcomes[0].arm
    found = []
    for (arm, noise), own in by_arm.items():
        figures = {name: [each.figures[name] for each in own] for name in own[0].figures}
        base = by_arm[first, noise]
        differences = {
            name: [value - each.figures[name] for value, each in zip(values, base, strict=True)]
            for name, values in figures.items()
            if arm != first and name in base[0].figures
        }
        found.append(
            {
                "arm": arm,
                "noise": noise,
                "figures": {name: asdict(mean_of(values)) for name, values in figures.items()},
                "from_first": {name: asdict(mean_of(v)) for name, v in differences.items()},
                "curve": _mean_curve(own),
            }
        )
    return found


def table(experiment: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of a Markdown table; shares in per cent, with intervals over seeds."""
    names = [name for name in COLUMNS[experiment] if any(name in each["figures"] for each in rows)]
    has_noise = experiment == "noise"
    head = ["arm", *(["wrong labels"] if has_noise else []), *(TITLES[name] for name in names)]
    head.append("accuracy, from the first")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [row["arm"], *([f"{100 * row['noise']:.0f}"] if has_noise else [])]
        cells += [_cell(row["figures"].get(name), is_share=name not in NO_SHARES) for name in names]
        cells.append(_cell(row["from_first"].get("accuracy"), is_share=True, has_sign=True))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(mean: dict[str, Any] | None, *, is_share: bool, has_sign: bool = False) -> str:
    if mean is None:
        return ""
    scale, digits = (100, 1) if is_share else (1, 2)
    sign = "+" if has_sign else ""
    value, low, high = (
        f"{scale * mean[name]:{sign}.{digits}f}" for name in ("value", "low", "high")
    )
    return value if math.isnan(mean["low"]) else f"{value} ({low} to {high})"


def _mean_curve(outcomes: Sequence[Outcome]) -> dict[int, float]:
    """Return the mean training accuracy of an arm by step."""
    steps = outcomes[0].curve
    return {step: float(np.mean([each.curve[step] for each in outcomes])) for step in steps}


def draw(experiment: str, rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw the accuracy of all arms; with noise, over the share of wrong labels, doubt beside it.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    figure_class = load_optional("matplotlib.figure", extra="bench").Figure
    file.parent.mkdir(parents=True, exist_ok=True)
    if experiment == "noise":
        figure = figure_class(figsize=(11, 4), layout="constrained")
        for axes, name in zip(
            figure.subplots(1, 3), ("accuracy", "calibration_error", "deviation"), strict=True
        ):
            _draw_lines(axes, rows, name)
    else:
        figure = figure_class(figsize=(8, 1 + 0.5 * len(rows)), layout="constrained")
        _draw_bars(figure.subplots(), rows)
    figure.savefig(file, dpi=110)


def _draw_lines(axes: Any, rows: Sequence[dict[str, Any]], name: str) -> None:  # noqa: ANN401
    scale = 1 if name in NO_SHARES else 100
    for number, arm in enumerate(dict.fromkeys(row["arm"] for row in rows)):
        own = [row for row in rows if row["arm"] == arm and name in row["figures"]]
        means = [row["figures"][name] for row in own]
        if means:
            axes.errorbar(
                [100 * row["noise"] for row in own],
                [scale * mean["value"] for mean in means],
                yerr=_reaches(means, scale),
                label=arm,
                marker="o",
                color=f"C{number}",
                capsize=3,
            )
    axes.set_xlabel("wrong labels in training, %")
    axes.set_title(TITLES[name] + ("" if name in NO_SHARES else ", %"))
    axes.legend(fontsize="small")


def _draw_bars(axes: Any, rows: Sequence[dict[str, Any]]) -> None:  # noqa: ANN401  of matplotlib
    means = [row["figures"]["accuracy"] for row in rows]
    axes.barh(
        [row["arm"] for row in rows],
        [100 * mean["value"] for mean in means],
        xerr=_reaches(means, 100),
        capsize=3,
        color="#8aa6c1",
    )
    lowest = min(100 * min(mean["values"]) for mean in means)
    axes.set_xlim(max(0, lowest - 10), 100)
    axes.invert_yaxis()
    axes.set_xlabel(TITLES["accuracy"] + ", %")


def _reaches(means: Sequence[dict[str, Any]], scale: float) -> list[float]:
    """Return half the width of each interval, 0 where there is one seed alone."""
    return [float(np.nan_to_num(scale * (mean["high"] - mean["value"]))) for mean in means]
