"""Pick-High: is the refined image better than the winning one, and that better than the losing?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from visreward.core.errors import DataError
from visreward.data.base import ProblemLog
from visreward.data.pick_high import PickHigh, PickHighSplit
from visreward.data.preferences import PreferenceRow
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.group_files import is_group_file, read_groups
from visreward.evaluation.benchmarks.layouts import require_path
from visreward.evaluation.benchmarks.lazy_groups import LazyGroups
from visreward.evaluation.benchmarks.pairs import pair_table
from visreward.evaluation.benchmarks.published import published_rows
from visreward.evaluation.benchmarks.records import BenchGroup, GroupResult
from visreward.evaluation.benchmarks.results import MetricValue, PublishedRow
from visreward.evaluation.benchmarks.score_problems import score_problems
from visreward.evaluation.benchmarks.triplets import (
    COMPARISONS,
    comparison_metrics,
    right_or_none,
    triplet_images,
)
from visreward.evaluation.metrics.triplets import TripletAccuracies, released_triplet_metrics

BASIC: Final = "basic prompt"
REFINED: Final = "refined prompt"

_SPLITS: Final = ("test", "val", "train")
_PARTS: Final = ("ict", "hp")
"""Dimensions of ICT-HP."""


class PickHighBench(Benchmark):
    """Pick-High (arXiv 2507.19002): triplets, each judged under its basic and its refined prompt.

    The main metric is the paper's average: three comparisons under the basic prompt; equal scores
    are wrong. Of ICT the release prints six accuracies, three under either prompt, and their mean.
    Of ICT-HP both parts are judged alone as well, and `as_released` is the product that the
    released validation uses: ICT times the softmax of HP over the three images.
    """

    name: ClassVar[str] = "pick-high"
    summary: ClassVar[str] = "triplets of a losing, a winning and a refined image (ICT & HP)"
    published: ClassVar[tuple[PublishedRow, ...]] = published_rows("pick-high")

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return two groups for each triplet of the test split, or of the first one there is."""
        path = require_path(path, benchmark=self.name)
        if is_group_file(path):
            return read_groups(path, images=images)
        data = PickHigh(path, images=images)
        name = next((each for each in _SPLITS if each in data.splits), data.splits[0])
        split = data.split(name)
        problems, rows = ProblemLog(), []
        for row in range(len(split)):
            try:
                _ = split[row]
            except DataError as error:
                problems.add("malformed row", [str(error)])
            else:
                rows.append(row)
        return BenchData(groups=_TripletGroups(split, rows), problems=problems.problems())

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return the share of right comparisons; see `Benchmark.evaluate`."""
        basic = [result for result in results if result.category != REFINED]
        refined = [result for result in results if result.category == REFINED]
        table = pair_table(basic)
        metrics = comparison_metrics(table)
        if refined:
            metrics += comparison_metrics(pair_table(refined), variant=REFINED)
            metrics.append(replace(comparison_metrics(pair_table(results))[0], filter="six"))
        for part in _PARTS:
            if _has_part(basic, part):
                alone = pair_table([result.by_dimension(part) for result in basic])
                metrics += comparison_metrics(alone, name=f"{part}_accuracy")
        if all(_has_part(basic, part) for part in _PARTS):
            metrics += _as_released(basic)
        correct = list(right_or_none(pair_table(results), num_groups=len(results)))
        for place, result in enumerate(results):
            if result.category == REFINED:
                correct[place] = None
        return Evaluation(
            metrics=tuple(metrics), correct=tuple(correct), problems=score_problems(results)
        )


class _TripletGroups(LazyGroups):
    """Each triplet under its basic prompt, then under its refined one."""

    def __init__(self, split: PickHighSplit, rows: Sequence[int]) -> None:
        self._split, self._rows = split, rows

    def __len__(self) -> int:
        return 2 * len(self._rows)

    def group(self, number: int) -> BenchGroup:
        triplet = self._split[self._rows[number // 2]]
        is_refined = number % 2 == 1
        return BenchGroup(
            row=PreferenceRow(
                id=f"{triplet.id}/{'refined' if is_refined else 'basic'}",
                prompt=triplet.refined_prompt if is_refined else triplet.basic_prompt,
                images=triplet_images(
                    triplet.losing_image, triplet.winning_image, triplet.refined_image
                ),
            ),
            category=REFINED if is_refined else BASIC,
            cluster=triplet.basic_prompt,
        )


def _has_part(results: Sequence[GroupResult], part: str) -> bool:
    return any(result.has_dimension(part) for result in results)


def _as_released(results: Sequence[GroupResult]) -> list[MetricValue]:
    """Return what the released validation of ICT-HP prints.

    HP's raw output is taken from its sigmoid. A triplet with a missing score, or an HP score of
    exactly 0 or 1, is left out: the release has neither.
    """
    scores = np.array(
        [
            [[each.dimensions.get(part, np.nan) for part in _PARTS] for each in result.candidates]
            for result in results
            if len(result.candidates) == len(COMPARISONS)
        ]
    ).reshape(-1, len(COMPARISONS), len(_PARTS))
    hp = scores[..., 1]
    is_whole = (np.isfinite(scores).all(axis=2) & (hp > 0) & (hp < 1)).all(axis=1)
    note = "" if is_whole.all() else f"{int((~is_whole).sum())} triplets are left out."
    if not is_whole.any():
        return [_released_value("pair_accuracy", "as_released", None, 0, note)]
    hp = hp[is_whole]
    found = released_triplet_metrics(
        ict_scores=scores[is_whole, :, 0], hp_logits=np.log(hp) - np.log1p(-hp)
    )
    num = len(hp)
    metrics = []
    for name, each in (("pair_accuracy", found.ict_hp), ("hp_accuracy", found.hp)):
        metrics += [
            _released_value(name, variant, value, num, note)
            for variant, value in _released_values(each).items()
        ]
    for role, share in (
        ("losing", found.mean_hp_losing),
        ("winning", found.mean_hp_winning),
        ("refined", found.mean_hp_refined),
    ):
        metrics.append(_released_value("mean_hp_share", f"as_released: {role}", share, num, note))
    return metrics


def _released_values(found: TripletAccuracies) -> dict[str, float]:
    return {
        "as_released": found.average.value,
        "as_released: winning over losing": found.winning_over_losing.value,
        "as_released: refined over winning": found.refined_over_winning.value,
        "as_released: refined over losing": found.refined_over_losing.value,
    }


def _released_value(
    name: str, variant: str, value: float | None, num: int, note: str
) -> MetricValue:
    return MetricValue(name=name, filter=variant, value=value, num=num, note=note)
