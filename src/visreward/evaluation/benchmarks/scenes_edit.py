"""scenes-edit: candidate edits of the synthetic world, offline in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from visreward.data.preferences import JudgedImage, PreferenceRow
from visreward.data.scenes.edits import CANDIDATE_KINDS, FOLLOWING, plan_edit, render_edit
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.group_files import read_groups
from visreward.evaluation.benchmarks.painted import SEED, SIZE, SPLIT, PaintedGroups, encoded
from visreward.evaluation.benchmarks.pair_metrics import mean_by_group, ordered_pairs, share
from visreward.evaluation.benchmarks.pairs import PairTable, pair_table
from visreward.evaluation.benchmarks.records import BenchGroup, CandidateResult, GroupResult
from visreward.evaluation.benchmarks.results import MetricValue
from visreward.evaluation.benchmarks.score_problems import score_problems
from visreward.evaluation.metrics.pairs import accuracy_with_ties, right_pairs

NUM_EDITS: Final = 24

DIMENSIONS: Final = ("instruction_following", "visual_quality")

_PAIRS: Final = "pair_accuracy"


class ScenesEditBench(Benchmark):
    """Six candidates for each edit of a synthetic picture, with a known score on both dimensions.

    Two candidates are compared by the mean of both; where it is equal, that is a tie. The filters
    with a dimension's name take pairs that differ in that dimension only; models with such a
    dimension are judged by it under `dimension_accuracy` as well. It says nothing of photographs,
    and stands in for no published number.
    """

    name: ClassVar[str] = "scenes-edit"
    summary: ClassVar[str] = "edits of synthetic pictures with known right answers; needs no data"
    needs_data: ClassVar[bool] = False

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        """Return the groups; `path` is a JSONL that they were exported to, or None."""
        if path is not None:
            return read_groups(path, images=images)
        return BenchData(groups=PaintedGroups([(NUM_EDITS, _edit)]))

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        """Return the share of right pairs; see `Benchmark.evaluate`."""
        table = pair_table(results)
        metrics = [ordered_pairs(table, name=_PAIRS)]
        metrics += _by_dimension(results, table)
        metrics.append(_with_ties(table))
        right = right_pairs(table.margins, table.labels, tie_threshold=None).astype(np.float64)
        right[table.labels == 0] = np.nan
        correct = mean_by_group(right, table.groups, num_groups=len(results))
        return Evaluation(
            metrics=tuple(metrics),
            correct=correct,
            problems=score_problems(results, correct=correct),
        )


def _edit(number: int) -> BenchGroup:
    edit = render_edit(plan_edit(seed=SEED, split=SPLIT, index=number), size=SIZE)
    name = f"edit/{number}"
    scores = [candidate.overall for candidate in edit.candidates]
    images = tuple(
        JudgedImage(
            image=encoded(picture, f"{name}/{candidate.kind}"),
            rank=1 + sum(other > candidate.overall for other in scores),
            overall=candidate.overall,
            generator=candidate.kind,
        )
        for candidate, picture in zip(edit.candidates, edit.images, strict=True)
    )
    row = PreferenceRow(
        id=name,
        prompt=edit.instruction,
        images=images,
        sources=(encoded(edit.source_image, f"{name}/source"),),
    )
    return BenchGroup(row=row, category=edit.kind, cluster=name)


def _with_ties(table: PairTable) -> MetricValue:
    if table.has_verdicts:
        right = right_pairs(table.margins, table.labels, tie_threshold=0.0)
        return MetricValue.of("accuracy_with_ties", share(right, table.clusters))
    found = accuracy_with_ties(table.margins, table.labels, clusters=table.clusters)
    return MetricValue.of("accuracy_with_ties", found.accuracy)


def _by_dimension(results: Sequence[GroupResult], table: PairTable) -> list[MetricValue]:
    """Return accuracy on pairs that differ in one dimension only, by score and by dimension."""
    labels = _dimension_labels(results, table)
    metrics = []
    for place, name in enumerate(DIMENSIONS):
        differs, other = labels[:, place] != 0, labels[:, 1 - place] == 0
        metrics.append(ordered_pairs(table.where(differs & other), name=_PAIRS, variant=name))
    for place, name in enumerate(DIMENSIONS):
        if any(result.has_dimension(name) for result in results):
            alone = pair_table([result.by_dimension(name) for result in results])
            chosen = (labels[:, place] != 0) & (labels[:, 1 - place] == 0)
            found = ordered_pairs(alone.where(chosen), name="dimension_accuracy", variant=name)
            metrics.append(found)
    return metrics


def _dimension_labels(results: Sequence[GroupResult], table: PairTable) -> NDArray[np.int64]:
    """Return (M, 2): which candidate of a pair is labelled higher on each dimension.

    Instruction following is known from what a candidate is, visual quality from the mean.
    """
    scores = [[_scores(each) for each in result.candidates] for result in results]
    first, second = (
        np.array([scores[group][place] for group, place in zip(table.groups, places, strict=True)])
        for places in (table.firsts, table.seconds)
    )
    signs: NDArray[np.int64] = np.sign(first - second).astype(np.int64)
    return signs.reshape(-1, len(DIMENSIONS))


def _scores(candidate: CandidateResult) -> tuple[float, float]:
    if candidate.generator not in CANDIDATE_KINDS or candidate.human is None:
        return 0.0, 0.0
    following = FOLLOWING[candidate.generator]
    return following, 2 * candidate.human - following
