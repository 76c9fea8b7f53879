"""scenes: triplets and one-attribute swaps of the synthetic world, offline in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from visreward.data.preferences import JudgedImage, PreferenceRow
from visreward.data.scenes.families import make_swap_pair
from visreward.data.scenes.grammar import SWAP_KINDS
from visreward.data.scenes.triplets import make_triplet
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.group_files import read_groups
from visreward.evaluation.benchmarks.painted import SEED, SIZE, SPLIT, PaintedGroups, encoded
from visreward.evaluation.benchmarks.pair_metrics import share
from visreward.evaluation.benchmarks.pairs import PairTable, pair_table
from visreward.evaluation.benchmarks.records import BenchGroup, GroupResult
from visreward.evaluation.benchmarks.results import MetricValue
from visreward.evaluation.benchmarks.score_problems import score_problems
from visreward.evaluation.benchmarks.triplets import (
    comparison_metrics,
    right_or_none,
    triplet_images,
)
from visreward.evaluation.metrics.pairs import right_pairs

TRIPLET: Final = "triplet"

NUM_TRIPLETS: Final = 60
NUM_SWAPS: Final = 10
"""Of each kind."""


class ScenesBench(Benchmark):
    """Pictures of the synthetic world, whose right answers are known; equal scores are wrong.

    Triplets are those of Pick-High in small: a losing, a winning and a refined picture under the
    basic prompt. A swap is two pictures that differ in one attribute, of which one is as asked
    for. It says nothing of photographs, and stands in for no published number.
    """

    name: ClassVar[str] = "scenes"
    summary: ClassVar[str] = "synthetic pictures with known right answers; needs no data"
    needs_data: ClassVar[bool] = False

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups; `path` is a JSONL that they were exported to, or None."""
        if path is not None:
            return read_groups(path, images=images)
        makers = [(NUM_TRIPLETS, _triplet)]
        makers += [(NUM_SWAPS, partial(_swap, kind=kind)) for kind in SWAP_KINDS]
        return BenchData(groups=PaintedGroups(makers))

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return the share of right comparisons; see `Benchmark.evaluate`."""
        table = pair_table(results)
        categories = np.array([result.category for result in results])[table.groups]
        is_triplet = categories == TRIPLET
        metrics = comparison_metrics(table.where(is_triplet))
        metrics.append(_swap_metric(table.where(~is_triplet), variant="none"))
        for kind in SWAP_KINDS:
            metrics.append(_swap_metric(table.where(categories == kind), variant=kind))
        correct = right_or_none(table, num_groups=len(results))
        return Evaluation(metrics=tuple(metrics), correct=correct, problems=score_problems(results))


def _swap_metric(table: PairTable, *, variant: str) -> MetricValue:
    right = right_pairs(table.margins, table.labels, tie_threshold=None)
    return MetricValue.of("swap_accuracy", share(right, table.clusters), variant=variant)


def _triplet(number: int) -> BenchGroup:
    triplet = make_triplet(seed=SEED, split=SPLIT, index=number, size=SIZE)
    name = f"{TRIPLET}/{number}"
    pictures = (
        encoded(triplet.losing_image, f"{name}/losing"),
        encoded(triplet.winning_image, f"{name}/winning"),
        encoded(triplet.refined_image, f"{name}/refined"),
    )
    row = PreferenceRow(id=name, prompt=triplet.basic_prompt, images=triplet_images(*pictures))
    return BenchGroup(row=row, category=TRIPLET, cluster=name)


def _swap(number: int, *, kind: str) -> BenchGroup:
    pair = make_swap_pair(seed=SEED, split=SPLIT, index=number, kind=kind, size=SIZE)
    name = f"{kind}/{number}"
    images = (
        JudgedImage(image=encoded(pair.right_image, f"{name}/right"), rank=1, generator="right"),
        JudgedImage(
            image=encoded(pair.swapped_image, f"{name}/swapped"), rank=2, generator="swapped"
        ),
    )
    row = PreferenceRow(id=name, prompt=pair.prompt, images=images)
    return BenchGroup(row=row, category=kind, cluster=name)
