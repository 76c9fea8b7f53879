"""The released metrics of groups, faults included: EditReward-Bench, and HPSv3's ranking mode.

Shape letters: M pairs, G groups, K candidates.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import ShapeError, UsageError
from visreward.evaluation.metrics.arrays import read_finite, read_finite_table
from visreward.evaluation.metrics.as_released import accuracy_without_ties, fit_tie_threshold

_NETWORK_OF_FOUR: Final = ((0, 1), (2, 3), (0, 3), (1, 2), (0, 1), (2, 3))
"""The places that numpy's vector sort of four numbers compares and swaps, in turn (bitonic)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedGroups:
    """Groups of one size on EditReward-Bench.

    Attributes:
        pairwise: Accuracy on pairs: with ties for K = 2, without for more.
        right: (G,) bool, the strict verdict on each group.
        tie_threshold: What was fitted on these very groups for K = 2; None for more.
    """

    pairwise: float
    right: NDArray[np.bool_]
    tie_threshold: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedEditRewardBench:
    """The released summary of EditReward-Bench.

    Attributes:
        sizes: K to its column.
        pairwise: Accuracy with ties on all pairs of all sizes, one threshold for all.
        overall: Right groups of all sizes over groups of all sizes.
    """

    sizes: dict[int, ReleasedGroups]
    pairwise: float
    overall: float


def predicted_ranks(scores: ArrayLike) -> NDArray[np.intp]:
    """Return EditReward-Bench's predicted ranks, (G, K) from 1 = best.

    The release reverses numpy's default argsort. Fault: equal scores get an order all the same,
    so that an undecided model can be right by luck: the later candidate comes first, but among
    four numpy's sort is the network below on processors with AVX2 or AVX-512, which may turn that
    round (and is not on others). Right: `groups.is_exact_order`.

    Args:
        scores: (G, K) finite numbers, K from 2 to 4, higher is better.
    """
    values = read_finite_table(scores, name="scores")
    if values.shape[1] > 4:
        raise ShapeError(
            f"scores have shape {values.shape}. The released benchmark has groups of 2 to 4; use "
            "groups.is_exact_order for larger ones."
        )
    if values.shape[1] == 4:
        order = np.tile(np.arange(4), (len(values), 1))
        rows = np.arange(len(values))
        for one, other in _NETWORK_OF_FOUR:
            is_swapped = values[rows, order[:, one]] > values[rows, order[:, other]]
            swapped = order[is_swapped]
            swapped[:, [one, other]] = swapped[:, [other, one]]
            order[is_swapped] = swapped
    else:
        order = np.argsort(values, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order[:, ::-1], np.arange(1, values.shape[1] + 1)[None], axis=1)
    return ranks


def edit_reward_bench(
    groups: Iterable[tuple[Sequence[float], Sequence[int]]],
) -> ReleasedEditRewardBench:
    """Return EditReward-Bench's columns from the scores of candidates judged alone.

    K = 2: where people say tie, right if |difference| is at most the threshold; else right if the
    order is, whatever the threshold. More: right if the predicted order is the ranking. Faults:
    the threshold is fitted on the test set; those of `predicted_ranks`; a pair's verdict on a
    human tie and on an order come from two rules, so that one difference may count as both. In a
    group of more than two a tie is always wrong, yet its pairs are labelled by place.

    Args:
        groups: Scores and ranks (1 = best, equal for a tie) of each group, in any order.

    Raises:
        UsageError: if there is no group.
    """
    by_size: dict[int, list[tuple[Sequence[float], Sequence[int]]]] = {}
    for scores, ranks in groups:
        by_size.setdefault(len(scores), []).append((scores, ranks))
    if not by_size:
        raise UsageError("There are 0 groups. Give one or more.")
    sizes, margins, labels = {}, [], []
    for size in sorted(by_size):
        values = read_finite_table([scores for scores, _ in by_size[size]], name="scores")
        places = read_finite_table([ranks for _, ranks in by_size[size]], name="ranks")
        margin, label = _all_pairs(values, places)
        sizes[size] = _judge_size(values, places, margin, label)
        margins.append(margin)
        labels.append(label)
    right = np.concatenate([each.right for each in sizes.values()])
    return ReleasedEditRewardBench(
        sizes=sizes,
        pairwise=fit_tie_threshold(np.concatenate(margins), np.concatenate(labels))[0],
        overall=int(right.sum()) / len(right),
    )


def hpsv3_ranking_accuracy(
    groups: Iterable[tuple[Sequence[float], Sequence[int]]],
) -> float | None:
    """Return HPSv3's ranking mode: share of right pairs among those that people order.

    Equal scores are wrong, human ties are left out, and all pairs weigh the same: a group of nine
    counts 36 times as much as a pair. HPSv3's pair mode is the same for groups of two.

    Args:
        groups: Scores and ranks (1 = best) of each group.

    Returns:
        The share; None where people order no pair.
    """
    right = total = 0
    for scores, ranks in groups:
        both = zip(
            itertools.combinations(read_finite(scores, name="scores"), 2),
            itertools.combinations(read_finite(ranks, name="ranks", length=len(scores)), 2),
            strict=True,
        )
        for (score, other_score), (rank, other_rank) in both:
            total += rank != other_rank
            right += (other_rank - rank) * (score - other_score) > 0
    return int(right) / int(total) if total else None


def _judge_size(
    scores: NDArray[np.float64],
    ranks: NDArray[np.float64],
    margin: NDArray[np.float64],
    label: NDArray[np.float64],
) -> ReleasedGroups:
    is_right = (predicted_ranks(scores) == ranks).all(axis=1)
    if scores.shape[1] > 2:
        pairwise = accuracy_without_ties(margin, label)
        assert pairwise is not None, "pairs of larger groups are never labelled as ties"
        return ReleasedGroups(pairwise=pairwise, right=is_right, tie_threshold=None)
    pairwise, threshold = fit_tie_threshold(margin, label)
    right = np.where(label == 0, np.abs(margin) <= threshold, is_right)
    return ReleasedGroups(pairwise=pairwise, right=right, tie_threshold=threshold)


def _all_pairs(
    scores: NDArray[np.float64], ranks: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return margins and labels of all pairs of each group; ties are for K = 2 only."""
    if scores.shape != ranks.shape:
        raise ShapeError(
            f"scores have shape {scores.shape} but ranks {ranks.shape}. Give a rank per candidate."
        )
    first, second = np.array(list(itertools.combinations(range(scores.shape[1]), 2))).T
    label = np.sign(ranks[:, second] - ranks[:, first])
    if scores.shape[1] > 2:
        label[label == 0] = 1
    return (scores[:, first] - scores[:, second]).ravel(), label.ravel()
