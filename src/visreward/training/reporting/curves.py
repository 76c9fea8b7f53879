"""Learning curves of a run as one picture, drawn from its log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from visreward.core.whole_files import whole_file

CURVES: Final = "curves.png"
_PANELS: Final = ("loss", "accuracy", "margin", "learning_rate")
_INK, _TRAIN, _VALIDATION = "#1b2430", "#2f6fde", "#e07b39"
_OTHERS: Final = ("#178a4c", "#8a5bd6", "#b42318", "#6b7a8c", "#00829b", "#b0892c", "#d6499b")
_WINDOW: Final = 0.05
"""Share of all points that a smooth curve averages over."""


def draw_curves(log: Path, picture: Path) -> None:
    """Draw loss, accuracy, margin and learning rate over the steps of a run.

    Training is shown point by point, faintly, and as a running mean; validation as dots, whose
    metrics, but for the margin, are all in the panel of accuracy. Panels without figures are left
    out. The picture replaces an older one whole.

    Args:
        log: `log.jsonl` of a run.
        picture: PNG to write.
    """
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    train = [entry for entry in entries if entry["kind"] == "train"]
    validation = [entry for entry in entries if entry["kind"] == "validation"]
    panels = [name for name in _PANELS if any(name in each for each in (*train, *validation))]
    figure = Figure(figsize=(11, 3.6 * ((len(panels) + 1) // 2)), layout="constrained", dpi=110)
    axes = figure.subplots((len(panels) + 1) // 2, 2, squeeze=False).ravel()
    for axis, name in zip(axes, panels, strict=False):
        _draw_panel(axis, name, train, validation)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    with whole_file(picture) as part:
        figure.savefig(part, format="png")


def _draw_panel(
    axis: Axes,
    name: str,
    train: Sequence[dict[str, Any]],  # JSON values
    validation: Sequence[dict[str, Any]],
) -> None:
    steps, values = _points(train, name)
    if len(values):
        is_smooth = name != "learning_rate" and len(values) > 20
        axis.plot(steps, values, color=_TRAIN, alpha=0.25 if is_smooth else 1, lw=1)
        if is_smooth:
            axis.plot(steps, _smooth(values), color=_TRAIN, lw=1.8, label="training")
        else:
            axis.lines[-1].set_label("training")
    names = sorted({key for entry in validation for key in entry if _panel_of(key) == name})
    for number, key in enumerate(names):
        steps, values = _points(validation, key)
        colour = _VALIDATION if key == name else _OTHERS[number % len(_OTHERS)]
        label = "validation" if key == name else key.removesuffix(f"_{name}").replace("_", " ")
        axis.plot(steps, values, "o-", color=colour, lw=1.2, ms=4, label=label)
    axis.ticklabel_format(axis="y", useOffset=False)
    axis.set_title(name.replace("_", " "), loc="left", color=_INK, fontweight="bold")
    axis.set_xlabel("step")
    axis.grid(color="#dfe3e8", lw=0.7)
    axis.spines[["top", "right"]].set_visible(False)
    if len(axis.lines) > 1:
        axis.legend(frameon=False, fontsize="small")


def _panel_of(key: str) -> str:
    """Return the panel of a figure of validation; but for the margin, all are shares of right."""
    return key if key in ("kind", "step", "margin") else "accuracy"


def _points(
    entries: Sequence[dict[str, Any]],  # JSON values
    name: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = [(entry["step"], entry[name]) for entry in entries if name in entry]
    steps, values = np.array(found, dtype=float).reshape(-1, 2).T
    return steps, values


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the points around each, of fewer at both ends."""
    reach = max(1, round(_WINDOW * len(values) / 2))
    total = np.concatenate([[0], np.cumsum(values)])
    places = np.arange(len(values))
    start, stop = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    mean: NDArray[np.float64] = (total[stop] - total[start]) / (stop - start)
    return mean
