"""Triplets of a losing, a winning and a refined image: the comparisons that Pick-High makes.

Shape letters: M pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from visreward.data.preferences import ImageBytes, JudgedImage
from visreward.evaluation.benchmarks.pair_metrics import mean_by_group, share
from visreward.evaluation.benchmarks.results import MetricValue
from visreward.evaluation.metrics.pairs import right_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from visreward.evaluation.benchmarks.pairs import PairTable

ACCURACY: Final = "pair_accuracy"

COMPARISONS: Final = {
    "winning over losing": (0, 1),
    "refined over winning": (1, 2),
    "refined over losing": (0, 2),
}
"""Places of the two candidates of each comparison, the worse one first."""


def triplet_images(
    losing: Path | ImageBytes, winning: Path | ImageBytes, refined: Path | ImageBytes
) -> tuple[JudgedImage, ...]:
    """Return the candidates of a triplet, whose roles stand for what made them."""
    return (
        JudgedImage(image=losing, rank=3, generator="losing"),
        JudgedImage(image=winning, rank=2, generator="winning"),
        JudgedImage(image=refined, rank=1, generator="refined"),
    )


def comparison_metrics(
    table: PairTable, *, name: str = ACCURACY, variant: str = ""
) -> list[MetricValue]:
    """Return accuracy on all comparisons of triplets, then on each of the three.

    All: the mean of the three, as each triplet has all of them. Equal scores are wrong.

    Args:
        table: Pairs of triplets only.
        name: Of the metric.
        variant: What filters begin with, such as the prompt.
    """
    right = right_pairs(table.margins, table.labels, tie_threshold=None)
    found = [MetricValue.of(name, share(right, table.clusters), variant=variant or "none")]
    for comparison, (worse, better) in COMPARISONS.items():
        chosen = (table.firsts == worse) & (table.seconds == better)
        accuracy = share(right[chosen], table.clusters[chosen])
        label = f"{variant}: {comparison}" if variant else comparison
        found.append(MetricValue.of(name, accuracy, variant=label))
    return found


def right_or_none(table: PairTable, *, num_groups: int) -> tuple[float | None, ...]:
    """Return the share of right pairs of each group, None where it has none."""
    right = right_pairs(table.margins, table.labels, tie_threshold=None)
    return mean_by_group(right.astype(np.float64), table.groups, num_groups=num_groups)
