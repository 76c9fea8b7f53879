"""The metrics of the released code, faults included: for matching published rows, nothing else.

Those of pairs and items; `as_released_groups` has those of groups. Shape letters: M pairs or items,
G groups.

Sources: EditReward's evaluation (`calc_accuracy.py`, `eval_bench.py`) and HPSv3 1.0.0
(`evaluate/`). What each does wrong stands with it; what to use instead stands in docs/metrics.md.
NaN and infinity are refused throughout: the released code gives no defined answer for them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import UsageError
from visreward.evaluation.metrics import pairs
from visreward.evaluation.metrics.arrays import (
    number_clusters,
    read_finite,
    read_pairs,
)
from visreward.evaluation.metrics.correlation import per_group, spearman


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCounts:
    """The five counts that the released accuracies are made of; they add up to M.

    Attributes:
        right: Ordered as people order them, C.
        wrong: Ordered otherwise, or a margin of 0 that is not called a tie, D.
        human_ties: Ties for people only, Th.
        model_ties: Ties for the model only, Tm.
        both_ties: Ties for both, Thm.
    """

    right: int
    wrong: int
    human_ties: int
    model_ties: int
    both_ties: int


def count_pairs(margin: ArrayLike, label: ArrayLike, *, tie_threshold: float | None) -> PairCounts:
    """Return the released counts.

    Args:
        margin: (M,) finite numbers.
        label: (M,) 1, 0 or -1, see `pairs`.
        tie_threshold: Pairs whose |margin| is at most this are ties for the model, or None: the
            release passes -1 for none.
    """
    margins, labels = _read(margin, label)
    is_tie = np.abs(margins) <= (-1.0 if tie_threshold is None else tie_threshold)
    is_right = labels * margins > 0
    return PairCounts(
        right=int((~is_tie & is_right).sum()),
        wrong=int((~is_tie & ~is_right & (labels != 0)).sum()),
        human_ties=int((~is_tie & (labels == 0)).sum()),
        model_ties=int((is_tie & (labels != 0)).sum()),
        both_ties=int((is_tie & (labels == 0)).sum()),
    )


def accuracy_with_ties(margin: ArrayLike, label: ArrayLike) -> float:
    """Return EditReward's `calc_accuracy_with_ties`: GenAI-Bench and AURORA-Bench, pairwise.

    It walks through the pairs by |margin| and calls one pair more a tie at each step. Faults:
    "no ties" is never tried, so the pair of the smallest |margin| is always a tie; inside a run
    of equal |margin| it takes the accuracy of a threshold that splits the run, which no threshold
    does, so that the result may be too high and depends on the order of the input. The
    threshold is fitted on the pairs that it is judged on. Right: `pairs.accuracy_with_ties`.

    Returns:
        Share of right pairs; -inf without pairs, as released.
    """
    margins, labels = _read(margin, label)
    if not len(margins):
        return -math.inf
    order = np.argsort(np.abs(margins), kind="stable")
    is_right = pairs.right_pairs(margins[order], labels[order], tie_threshold=None)
    gains = np.cumsum((labels[order] == 0).astype(np.int64) - is_right)
    return int(is_right.sum() + gains.max()) / len(margins)


def accuracy_without_ties(margin: ArrayLike, label: ArrayLike) -> float | None:
    """Return EditReward's `calc_accuracy_without_ties`: a margin of 0 is wrong; no fault.

    Returns:
        Share of right pairs among those that people order; None where there is none, where the
        release divides by 0.
    """
    counts = count_pairs(margin, label, tie_threshold=None)
    total = counts.right + counts.wrong
    return counts.right / total if total else None


def fit_tie_threshold(margin: ArrayLike, label: ArrayLike) -> tuple[float, float]:
    """Return the accuracy with ties of EditReward-Bench and its threshold.

    0 and each |margin| are tried, first best wins, on the pairs that are then judged. Fault: "no
    ties" is not tried, so a margin of exactly 0 is always a tie; that makes no difference to the
    accuracy, since without ties such a margin is wrong.

    Returns:
        Accuracy and threshold; 0 and 0 without pairs, as released.
    """
    margins, labels = _read(margin, label)
    if not len(margins):
        return 0.0, 0.0
    found = pairs.fit_tie_threshold(margins, labels)
    return found.accuracy, found.tie_threshold or 0.0


def mean_spearman(x: ArrayLike, y: ArrayLike, groups: Iterable[Hashable]) -> float | None:
    """Return AURORA-Bench pointwise: the plain mean of Spearman within groups; no fault."""
    return per_group(x, y, groups).mean.value


def tanh_of_mean(values: ArrayLike) -> float:
    """Return the average of ImagenHub's table, said to be through Fisher's z.

    Fault: the arctanh is missing, so this is tanh of the mean of r, which shrinks it: 0.42 becomes
    0.397. Right: `correlation.fisher_mean`.

    Args:
        values: (G,) correlations, one for each editing model, G at least 1.
    """
    array = read_finite(values, name="values")
    if not len(array):
        raise UsageError("There are 0 correlations. Give one or more.")
    return math.tanh(float(array.mean()))


def spearman_of_standard_scores(
    scores: ArrayLike, human: ArrayLike, prompts: Iterable[Hashable]
) -> float | None:
    """Return ImagenHub's second version: Spearman over all items, scores standardised by prompt.

    Fault: only the model's scores lose what differs between prompts; people's keep it, so that
    the two sides measure different things. Right: `correlation.per_group` by prompt.

    Args:
        scores: (M,) of the model, finite.
        human: (M,) of people, finite.
        prompts: (M,) what tells prompts apart. All scores of one prompt equal: 0.
    """
    values = read_finite(scores, name="scores")
    numbers = number_clusters(prompts, num=len(values))
    counts = np.bincount(numbers)
    centred = values - (np.bincount(numbers, weights=values) / counts)[numbers]
    spread = np.sqrt(np.bincount(numbers, weights=centred**2) / counts)[numbers]
    standard = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    return spearman(standard, read_finite(human, name="human")).value


def _read(margin: ArrayLike, label: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return read_pairs(read_finite(margin, name="margin"), label)
