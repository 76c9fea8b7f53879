"""Are preference probabilities right as often as they say?

Shape letters: M pairs.

A pair may be given in either order, so both are folded: the confidence of a pair is the larger of
P and 1 - P, and it is right where people prefer that side. So the numbers do not depend on which
image stands first, and data that list the chosen image first are no trap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import UsageError
from visreward.evaluation.metrics.arrays import read_finite
from visreward.evaluation.metrics.intervals import Accuracy, wilson_interval
from visreward.evaluation.metrics.resampling import check_resamples

NUM_BINS: Final = 10

Binning: TypeAlias = Literal["equal-width", "equal-count"]
"""Bins of confidence from 0.5 to 1 of one width, or with one number of pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """The pairs of one range of confidence.

    Attributes:
        low: Where the range begins.
        high: Where it ends.
        confidence: Mean confidence of the pairs.
        right: Share of them that people order so, with the Wilson interval.
        num: How many they are, at least 1.
    """

    low: float
    high: float
    confidence: float
    right: Accuracy
    num: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationError:
    """How far confidence and accuracy are apart, and how far chance alone would put them.

    Attributes:
        value: Expected calibration error in [0, 1]; None without pairs.
        expected: Its mean if the probabilities were right: above 0, since bins are finite.
        p_value: How often it would be at least this large then.
        overconfidence: Mean confidence minus share of right pairs; above 0 if too sure.
        num: How many pairs.
        note: Why there is no value, or "".
    """

    value: float | None
    expected: float | None = None
    p_value: float | None = None
    overconfidence: float | None = None
    num: int = 0
    note: str = ""


def reliability_bins(
    probabilities: ArrayLike,
    outcomes: ArrayLike,
    *,
    num_bins: int = NUM_BINS,
    binning: Binning = "equal-width",
) -> tuple[ReliabilityBin, ...]:
    """Return the bins of a reliability diagram, those without pairs left out.

    Args:
        probabilities: (M,) P(first beats second), in [0, 1].
        outcomes: (M,) 1 where people prefer the first, 0 where the second, between for a share of
            votes or a tie (0.5).
        num_bins: How many bins, at least 1.
        binning: How they are cut.

    Returns:
        Bins from low to high confidence; none without pairs. Deterministic.

    Raises:
        ShapeError: if the arrays are not both (M,).
        NonFiniteError: if a number is NaN or infinite.
        UsageError: if a number is outside [0, 1], or there is no bin.
    """
    confidence, right = _fold(probabilities, outcomes)
    if not len(confidence):
        return ()
    places, edges = _cut(confidence, num_bins, binning)
    found = []
    for place in np.unique(places).tolist():
        kept = places == place
        num = int(kept.sum())
        share = min(max(float(right[kept].mean()), 0.0), 1.0)
        found.append(
            ReliabilityBin(
                low=float(edges[place]),
                high=float(edges[place + 1]),
                confidence=float(confidence[kept].mean()),
                right=wilson_interval(share, num_trials=num),
                num=num,
            )
        )
    return tuple(found)


def expected_calibration_error(
    probabilities: ArrayLike,
    outcomes: ArrayLike,
    *,
    num_bins: int = NUM_BINS,
    binning: Binning = "equal-width",
    num_resamples: int = 1000,
    seed: int = 0,
) -> CalibrationError:
    """Return the expected calibration error: sum over bins of num / M |confidence - right|.

    Source: Naeini, Cooper and Hauskrecht, AAAI 2015; Guo et al., "On Calibration of Modern Neural
    Networks", ICML 2017, Eq. 3. It is above 0 even for probabilities that are right; `expected` and
    `p_value` draw outcomes from the probabilities themselves, after Broecker and Smith,
    "Increasing the Reliability of Reliability Diagrams", Weather and Forecasting 22 (2007).
    They take pairs as independent, and outcomes as 0 or 1: with ties or shares of votes, which
    vary less, they are cautious.

    Args:
        probabilities: As in `reliability_bins`.
        outcomes: As in `reliability_bins`.
        num_bins: As in `reliability_bins`.
        binning: As in `reliability_bins`.
        num_resamples: How many draws, at least 1.
        seed: Of the draws.

    Returns:
        The error; None with a note without pairs. Deterministic.

    Raises:
        ShapeError: if the arrays are not both (M,).
        NonFiniteError: if a number is NaN or infinite.
        UsageError: if a number is outside [0, 1], or there is no bin or draw.
    """
    check_resamples(num_resamples)
    confidence, right = _fold(probabilities, outcomes)
    num = len(confidence)
    if not num:
        return CalibrationError(value=None, note="Not defined: there are no pairs.")
    places, _ = _cut(confidence, num_bins, binning)
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    confidence, right = confidence[order], right[order]

    def error(answers: NDArray[np.float64]) -> float:
        return float(np.abs(np.add.reduceat(confidence - answers, starts)).sum()) / num

    value = error(right)
    rng = np.random.default_rng(seed)
    drawn = np.array(
        [error((rng.random(num) < confidence).astype(float)) for _ in range(num_resamples)]
    )
    return CalibrationError(
        value=value,
        expected=float(drawn.mean()),
        p_value=(1 + int((drawn >= value - 1e-12).sum())) / (1 + num_resamples),
        overconfidence=float((confidence - right).mean()),
        num=num,
    )


def _fold(
    probabilities: ArrayLike, outcomes: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the confidence of each pair, and whether it is right: 0.5 for a tie or P = 0.5."""
    chances = read_finite(probabilities, name="probabilities")
    wanted = read_finite(outcomes, name="outcomes", length=len(chances))
    for name, numbers in (("probabilities", chances), ("outcomes", wanted)):
        is_outside = (numbers < 0) | (numbers > 1)
        if is_outside.any():
            place = int(is_outside.argmax())
            raise UsageError(
                f"{name} is {numbers[place]} in place {place}, outside [0, 1]. Pass chances, such "
                "as those of preference_probability, and not margins."
            )
    right = np.where(chances > 0.5, wanted, 1 - wanted)
    right[chances == 0.5] = 0.5
    return np.maximum(chances, 1 - chances), right


def _cut(
    confidence: NDArray[np.float64], num_bins: int, binning: Binning
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the bin of each pair, and the edges of bins."""
    if num_bins < 1:
        raise UsageError(f"num_bins is {num_bins}. Give 1 or more.")
    if binning == "equal-count":
        edges = np.unique(np.quantile(confidence, np.linspace(0, 1, num_bins + 1)))
        edges = edges if len(edges) > 1 else np.repeat(edges, 2)
    else:
        edges = np.linspace(0.5, 1, num_bins + 1)
    places = np.searchsorted(edges[1:-1], confidence, side="right")
    return places.astype(np.intp), edges
