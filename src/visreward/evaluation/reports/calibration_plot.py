"""The reliability diagram: are models right as often as their scores say?

Shape letters: M pairs that people do not call a tie and the model judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from visreward.core.errors import DataError
from visreward.core.preference import Calibration
from visreward.core.types import Score
from visreward.evaluation.calibration import fit_calibration, read_chance
from visreward.evaluation.metrics.reliability import expected_calibration_error
from visreward.evaluation.reports.agreement import Bools, Floats, Ints, Measured, pair_deviations
from visreward.evaluation.reports.drawing import (
    SOFT,
    Plot,
    legend_below,
    share_axis,
)
from visreward.evaluation.reports.plots import NUM_BINS, curve, right_parts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUM_FOLDS: Final = 5
_MOST_FITTED: Final = 2000
"""Pairs that one fit looks at: it finds two numbers."""
_FEWEST: Final = 40


@dataclass(frozen=True, kw_only=True)
class Chances:
    """What scores say, read as probabilities with a scale fitted on other clusters.

    Attributes:
        chance: (M,) that the candidate with the higher score is the better one, in [0.5, 1].
        is_right: (M,) whether people say so.
        cluster: (M,) what is drawn whole.
    """

    chance: Floats
    is_right: Bools
    cluster: Ints


def chances_of(model: Measured) -> Chances | None:
    """Return a model's chances by cross-fitting over clusters; deterministic.

    P(a beats b) = E[sigmoid(scale (m + sigma_scale s u))], see `evaluation.calibration`; scale and
    sigma_scale of a fold are fitted on the other folds. None for judges that compare, where there
    are few pairs, or where all of a fit's pairs are right, or wrong, so that no scale fits best.
    """
    pairs = model.pairs
    kept = (pairs.labels != 0) & np.isfinite(pairs.margins) & (pairs.margins != 0)
    clusters = np.unique(pairs.clusters[kept], return_inverse=True)[1]
    num_clusters = int(clusters.max(initial=-1)) + 1
    if pairs.has_verdicts or kept.sum() < _FEWEST or num_clusters < _NUM_FOLDS:
        return None
    margin, deviation = pairs.margins[kept], pair_deviations(model)[kept]
    right = np.sign(margin) == pairs.labels[kept]
    fold = (np.random.default_rng(0).permutation(num_clusters) % _NUM_FOLDS)[clusters]
    chance = np.empty(len(margin))
    for number in range(_NUM_FOLDS):
        held = fold == number
        try:
            reading = _fitted(np.abs(margin[~held]), deviation[~held], right[~held])
        except DataError:
            return None
        chance[held] = read_chance(np.abs(margin[held]), deviation[held], reading)
    return Chances(chance=chance, is_right=right, cluster=clusters)


def _fitted(size: Floats, deviation: Floats, right: Bools) -> Calibration:
    """Return how differences of a size become probabilities, where some are right."""
    some = np.random.default_rng(1).permutation(len(size))[:_MOST_FITTED]
    ahead = np.where(right, size, -size)[some].tolist()
    chosen = [
        Score(value=value, sigma=sigma)
        for value, sigma in zip(ahead, deviation[some].tolist(), strict=True)
    ]
    return fit_calibration(chosen, [Score(value=0.0)] * len(chosen)).calibration


def reliability_plot(models: Sequence[Measured]) -> Plot | None:
    """Return how often models are right beside how often their scores say so."""
    found = {}
    errors = []
    for place, model in enumerate(models):
        chances = chances_of(model)
        parts = right_parts(chances.chance, chances.is_right, chances.cluster) if chances else []
        if chances is not None and parts:
            means = [float(chances.chance[part].mean()) for part, _ in parts]
            found[place] = (means, [share for _, share in parts])
            errors.append(f"{model.name} {_error_words(chances)}")
    if not found:
        return None

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        axis.plot([0.5, 1], [0.5, 1], color=SOFT, lw=1, ls=(0, (4, 3)))
        for place, (means, shares) in found.items():
            curve(axis, means, shares, place=place, name=models[place].name)
        lowest = min(each.low for _, shares in found.values() for each in shares)
        share_axis(axis, is_x=True, low=0.5)
        share_axis(axis, low=min(0.5, lowest))
        axis.set_xlabel("chance that the scores give")
        axis.set_ylabel("right")
        legend_below(figure, axis, [models[place].name for place in found])

    rows = [
        (models[place].name, f"{100 * mean:.1f}", f"{100 * share.value:.1f}")
        for place, (means, shares) in found.items()
        for mean, share in zip(means, shares, strict=True)
    ]
    return Plot(
        name="reliability",
        title="Reliability",
        caption="Pairs that people do not call a tie, in equal parts by the chance that the scores "
        "give the candidate ahead. The scale that turns scores into chances is fitted on other "
        "groups. On the dashed line a model is right as often as it says; below it, it is too "
        f"sure of itself. Expected calibration error: {'; '.join(errors)}.",
        alt="Share of right pairs over the chance that scores give. "
        + " ".join(
            f"{models[place].name}: right in {100 * shares[-1].value:.0f} % where it says "
            f"{100 * means[-1]:.0f} %."
            for place, (means, shares) in found.items()
        ),
        columns=("model", "chance, %", "right, %"),
        rows=tuple(rows),
        height=3.3,
        draw=draw,
    )


def _error_words(chances: Chances) -> str:
    """Return the expected calibration error, and what chance alone would make of it."""
    found = expected_calibration_error(
        chances.chance, chances.is_right, num_bins=NUM_BINS, binning="equal-count"
    )
    assert found.value is not None
    assert found.expected is not None
    return f"{100 * found.value:.1f} %, of which chance makes {100 * found.expected:.1f}"
