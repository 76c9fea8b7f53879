"""The offline benchmarks: what they paint, and their numbers for answers that are known."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from visreward.data.preferences import ImageBytes
from visreward.data.scenes.grammar import SWAP_KINDS
from visreward.evaluation.benchmarks.base import Benchmark
from visreward.evaluation.benchmarks.group_files import write_groups
from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult
from visreward.evaluation.benchmarks.results import MetricValue
from visreward.evaluation.benchmarks.runner import score_groups
from visreward.evaluation.benchmarks.scenes import NUM_SWAPS, NUM_TRIPLETS, ScenesBench
from visreward.evaluation.benchmarks.scenes_edit import NUM_EDITS, ScenesEditBench
from visreward.evaluation.benchmarks.scorers import RandomScorer

Metrics = dict[tuple[str, str], Any]


def results_of(bench: Benchmark, places: Sequence[int]) -> list[GroupResult]:
    """Return some groups, scored by chance."""
    data = bench.read(None)
    return list(score_groups([data.groups[place] for place in places], RandomScorer()).results)


def answered(
    results: Sequence[GroupResult], value: Callable[[CandidateResult], float | None]
) -> list[GroupResult]:
    return [
        replace(
            result,
            candidates=tuple(replace(each, value=value(each)) for each in result.candidates),
        )
        for result in results
    ]


@pytest.fixture(scope="module")
def scenes() -> list[GroupResult]:
    """Return two triplets and one swap of each kind."""
    swaps = [NUM_TRIPLETS + NUM_SWAPS * kind for kind in range(len(SWAP_KINDS))]
    return results_of(ScenesBench(), [0, 1, *swaps])


@pytest.fixture(scope="module")
def edits() -> list[GroupResult]:
    return results_of(ScenesEditBench(), range(3))


def test_scenes_groups_are_the_same_every_time_and_hold_pictures() -> None:
    groups = ScenesBench().read(None).groups
    assert len(groups) == NUM_TRIPLETS + NUM_SWAPS * len(SWAP_KINDS)
    assert groups[3] == groups[3]
    image = groups[3].row.images[1].image
    assert isinstance(image, ImageBytes)
    assert Image.open(io.BytesIO(image.data)).size == (128, 128)
    assert [group.category for group in groups[NUM_TRIPLETS - 1 : NUM_TRIPLETS + 1]] == [
        "triplet",
        SWAP_KINDS[0],
    ]


def test_scenes_right_answers_are_all_right(
    scenes: list[GroupResult], by_name: Callable[[Sequence[MetricValue]], Metrics]
) -> None:
    found = ScenesBench().evaluate(answered(scenes, lambda each: -float(each.rank or 0)))
    metrics = by_name(found.metrics)
    assert all(metric.value == 1.0 for metric in metrics.values())
    assert metrics["pair_accuracy", "none"].num == 6
    assert metrics["swap_accuracy", "none"].num == len(SWAP_KINDS)
    assert set(found.correct) == {1.0}
    assert found.problems == ()


def test_scenes_only_the_winner_above_the_loser_is_a_third(
    scenes: list[GroupResult], by_name: Callable[[Sequence[MetricValue]], Metrics]
) -> None:
    order = {"refined": 0.0, "losing": 1.0, "winning": 2.0, "right": 0.0, "swapped": 0.0}
    found = ScenesBench().evaluate(answered(scenes, lambda each: order[each.generator or ""]))
    metrics = by_name(found.metrics)
    assert metrics["pair_accuracy", "none"].value == pytest.approx(1 / 3)
    assert metrics["pair_accuracy", "winning over losing"].value == 1.0
    assert metrics["pair_accuracy", "refined over winning"].value == 0.0
    assert metrics["swap_accuracy", "none"].value == 0.0  # equal scores are wrong
    assert found.correct[0] == pytest.approx(1 / 3)


def test_scenes_constant_and_missing_scores_are_named(scenes: list[GroupResult]) -> None:
    constant = ScenesBench().evaluate(answered(scenes, lambda _: 1.0))
    assert constant.metrics[0].value == 0.0
    assert [problem.kind for problem in constant.problems] == ["constant scores"]
    missing = ScenesBench().evaluate(answered(scenes, lambda _: None))
    assert missing.metrics[0].value == 0.0
    assert missing.problems[0].count == 6 + 2 * len(SWAP_KINDS)


def test_scenes_part_without_groups_has_no_value(
    scenes: list[GroupResult], by_name: Callable[[Sequence[MetricValue]], Metrics]
) -> None:
    metrics = by_name(ScenesBench().evaluate(scenes[:2]).metrics)
    assert metrics["swap_accuracy", "none"].value is None
    assert metrics["swap_accuracy", "none"].note
    assert metrics["pair_accuracy", "none"].value is not None


def test_scenes_exported_groups_are_read_back(tmp_path: Path) -> None:
    bench = ScenesBench()
    groups = bench.read(None).groups[:2]
    write_groups(groups, tmp_path / "g.jsonl")
    data = bench.read(tmp_path / "g.jsonl")
    for before, after in zip(groups, data.groups, strict=True):
        assert (after.row.id, after.category) == (before.row.id, before.category)
        for one, other in zip(before.row.images, after.row.images, strict=True):
            assert isinstance(one.image, ImageBytes)
            assert isinstance(other.image, Path)
            assert other.image.read_bytes() == one.image.data


def test_scenes_edit_groups_have_source_and_six_candidates() -> None:
    groups = ScenesEditBench().read(None).groups
    assert len(groups) == NUM_EDITS
    group = groups[0]
    assert len(group.row.images) == 6
    assert len(group.row.sources) == 1
    assert min(image.rank or 9 for image in group.row.images) == 1


def test_scenes_edit_human_scores_are_all_right(
    edits: list[GroupResult], by_name: Callable[[Sequence[MetricValue]], Metrics]
) -> None:
    found = ScenesEditBench().evaluate(answered(edits, lambda each: each.human))
    metrics = by_name(found.metrics)
    for key in (
        ("pair_accuracy", "none"),
        ("pair_accuracy", "instruction_following"),
        ("pair_accuracy", "visual_quality"),
        ("accuracy_with_ties", "none"),
    ):
        assert metrics[key].value == 1.0, key
    assert metrics["accuracy_with_ties", "none"].num == 3 * 15
    assert ("dimension_accuracy", "visual_quality") not in metrics


def test_scenes_edit_dimensions_are_judged_by_pairs_that_differ_in_them_alone(
    edits: list[GroupResult], by_name: Callable[[Sequence[MetricValue]], Metrics]
) -> None:
    """A model whose visual quality is right and whose instruction following is upside down."""
    following = {"right": 4, "over-edited": 3, "half done": 2, "wrong object": 1, "untouched": 1}
    following["flawed"] = 4
    backwards = [
        replace(
            result,
            candidates=tuple(
                replace(
                    each,
                    value=0.0,
                    dimensions={
                        "instruction_following": -float(following[each.generator or ""]),
                        "visual_quality": 2 * (each.human or 0) - following[each.generator or ""],
                    },
                )
                for each in result.candidates
            ),
        )
        for result in edits
    ]
    metrics = by_name(ScenesEditBench().evaluate(backwards).metrics)
    assert metrics["dimension_accuracy", "instruction_following"].value == 0.0
    assert metrics["dimension_accuracy", "visual_quality"].value == 1.0
