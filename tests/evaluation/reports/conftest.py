"""A benchmark of synthetic edits, answered by models that ship, for the pages about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from PIL import Image

from visreward import load_model
from visreward.core.types import ImageSource, Sample, Score
from visreward.data.base import Problem
from visreward.data.scenes.edits import Edit, plan_edit, render_edit
from visreward.evaluation.benchmarks.pairs import pair_table
from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult
from visreward.evaluation.benchmarks.results import BenchResult, MetricValue, PublishedRow
from visreward.evaluation.metrics.intervals import Estimate, cluster_interval
from visreward.evaluation.metrics.pairs import accuracy_with_ties, accuracy_without_ties

if TYPE_CHECKING:
    pass

NUM_GROUPS = 24
SIZE = 96
MODELS = ("editreward-mini", "clip-mini")


@dataclass(frozen=True, kw_only=True)
class MadeRun:
    """What a benchmark of made edits gave."""

    edits: tuple[Edit, ...]
    results: tuple[BenchResult, ...]
    samples: dict[str, tuple[GroupResult, ...]]

    def pictures(self, group: int, place: Literal["source"] | int) -> ImageSource | None:
        edit = self.edits[group]
        pixels = edit.source_image if place == "source" else edit.images[place]
        return Image.fromarray(pixels)


@pytest.fixture(scope="session")
def made_run() -> MadeRun:
    edits = tuple(
        render_edit(plan_edit(seed=7, split="test", index=index), size=SIZE)
        for index in range(NUM_GROUPS)
    )
    samples = {name: tuple(_answers(name, edits)) for name in MODELS}
    results = tuple(_result(name, samples[name]) for name in MODELS)
    return MadeRun(edits=edits, results=results, samples=samples)


def _answers(name: str, edits: Sequence[Edit]) -> list[GroupResult]:
    model = load_model(name)
    samples = [
        Sample(
            prompt=edit.instruction,
            image=Image.fromarray(image),
            source_image=Image.fromarray(edit.source_image) if model.facts.needs_source else None,
        )
        for edit in edits
        for image in edit.images
    ]
    scores = iter(model.score(samples))
    return [
        _group(index, edit, [next(scores) for _ in edit.images]) for index, edit in enumerate(edits)
    ]


def _group(index: int, edit: Edit, scores: Sequence[Score]) -> GroupResult:
    overall = [each.overall for each in edit.candidates]
    candidates = tuple(
        CandidateResult(
            image=f"{index}/{place}.png",
            generator=each.kind,
            rank=1 + sum(other > each.overall for other in overall),
            human=each.overall,
            value=score.value,
            sigma=score.sigma,
        )
        for place, (each, score) in enumerate(zip(edit.candidates, scores, strict=True))
    )
    group = GroupResult(
        id=f"edit-{index}",
        prompt=edit.instruction,
        sources=(f"{index}/source.png",),
        candidates=candidates,
        category=edit.kind,
    )
    pairs = pair_table([group])
    ordered = pairs.labels != 0
    right = np.sign(pairs.margins) == pairs.labels
    return replace(group, correct=float(right[ordered].mean()))


def _result(name: str, groups: Sequence[GroupResult]) -> BenchResult:
    pairs = pair_table(groups)
    correct = cluster_interval([each.correct or 0.0 for each in groups], None)
    without = accuracy_without_ties(pairs.margins, pairs.labels, clusters=pairs.clusters)
    ties = accuracy_with_ties(pairs.margins, pairs.labels, clusters=pairs.clusters).accuracy
    fitted = accuracy_with_ties(
        pairs.margins, pairs.labels, clusters=pairs.clusters, fit="same-data"
    ).accuracy
    return BenchResult(
        benchmark="made-edits",
        version=1,
        model=name,
        revision="0123456789ab",
        metrics=(
            _metric("pair_accuracy", "none", correct),
            _metric("accuracy_without_ties", "none", without),
            _metric("accuracy_with_ties", "held_out", ties),
            _metric("accuracy_with_ties", "as_released", fitted),
            MetricValue(name="spearman", value=None, unit="correlation", note="Nobody asked."),
        ),
        num_groups=len(groups),
        num_counted=len(groups),
        problems=(
            Problem(kind="ranking that cannot be read", count=3, examples=("row 4", "row 9")),
            Problem(kind="label twice", count=1, examples=("row 11",), is_warning=True),
        ),
        published=(
            PublishedRow(
                model="Somebody's model",
                values={"pair_accuracy,none": 0.71, "accuracy_with_ties,as_released": 0.55},
                source="made up for this test",
            ),
            PublishedRow(
                model="random", values={"pair_accuracy,none": 0.5}, source="made up for this test"
            ),
        ),
        config={"data": "scenes", "device": "cpu", "dtype": "float32", "seed": 7},
        date="2026-01-02T03:04:05+00:00",
    )


def _metric(name: str, variant: str, found: Estimate) -> MetricValue:
    return MetricValue(
        name=name, filter=variant, value=found.value, low=found.low, high=found.high, num=found.num
    )
