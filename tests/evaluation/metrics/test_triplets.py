from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from visreward.core.errors import NonFiniteError, ShapeError
from visreward.evaluation.metrics.intervals import wilson_interval
from visreward.evaluation.metrics.triplets import (
    TripletAccuracies,
    released_triplet_metrics,
    triplet_accuracies,
)

HALVES = [[1.0, 2.0, 3.0], [2.0, 1.0, 3.0], [1.0, 3.0, 2.0], [3.0, 2.0, 1.0]]


def get_values(accuracies: TripletAccuracies) -> list[float]:
    return [
        accuracies.winning_over_losing.value,
        accuracies.refined_over_winning.value,
        accuracies.refined_over_losing.value,
        accuracies.average.value,
    ]


def test_triplet_accuracies_four_triplets_match_hand_count() -> None:
    accuracies = triplet_accuracies(HALVES)
    assert get_values(accuracies) == pytest.approx([2 / 4, 2 / 4, 3 / 4, 7 / 12])
    assert accuracies.num_triplets == 4


def test_triplet_accuracies_equal_scores_count_as_wrong() -> None:
    accuracies = triplet_accuracies([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    assert get_values(accuracies) == pytest.approx([1 / 2, 0.0, 1 / 2, 1 / 3])


def test_triplet_accuracies_order_and_monotone_change_do_not_matter() -> None:
    scores = np.random.default_rng(0).normal(size=(50, 3))
    before = triplet_accuracies(scores)
    assert triplet_accuracies(scores[::-1]) == before
    assert triplet_accuracies(np.exp(3 * scores)) == before


def test_triplet_accuracies_negated_scores_give_the_complement() -> None:
    scores = np.random.default_rng(1).normal(size=(50, 3))
    before, after = triplet_accuracies(scores), triplet_accuracies(-scores)
    for first, second in zip(get_values(before), get_values(after), strict=True):
        assert first + second == pytest.approx(1.0)
    assert after.average.low == pytest.approx(1 - before.average.high)


def test_triplet_accuracies_columns_use_wilson_over_triplets() -> None:
    accuracies = triplet_accuracies(HALVES)
    assert accuracies.refined_over_losing == wilson_interval(3 / 4, num_trials=4)
    assert accuracies.average == wilson_interval(7 / 12, num_trials=4)


def test_triplet_accuracies_all_right_has_room_below() -> None:
    average = triplet_accuracies(np.tile([0.0, 1.0, 2.0], (100, 1))).average
    assert (average.value, average.high) == (1.0, 1.0)
    assert 0.95 < average.low < 1.0


def test_triplet_accuracies_average_interval_covers_the_truth() -> None:
    generator = np.random.default_rng(0)
    means = np.array([0.0, 0.5, 1.0])
    truth = triplet_accuracies(means + generator.normal(size=(400_000, 3))).average.value
    hits = 0
    for _ in range(400):
        average = triplet_accuracies(means + generator.normal(size=(200, 3))).average
        hits += average.low <= truth <= average.high
    assert hits / 400 > 0.95


@pytest.mark.parametrize("shape", [(3,), (4, 2), (0, 3), (2, 3, 1)])
def test_triplet_accuracies_wrong_shape_raises_shape_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"expected \(T, 3\)"):
        triplet_accuracies(np.zeros(shape))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_triplet_accuracies_non_finite_score_raises_with_row(bad: float) -> None:
    scores = np.zeros((4, 3))
    scores[2, 1] = bad
    with pytest.raises(NonFiniteError, match=r"scores hold NaN or infinity in 1 of 4 .* row 2"):
        triplet_accuracies(scores)


def test_released_triplet_metrics_reproduce_released_evaluation(shared_dir: Path) -> None:
    folder = shared_dir / "parity"
    document = json.loads((folder / "icthp_losses.json").read_text(encoding="utf-8"))
    arrays = np.load(folder / "icthp_losses.npz")
    assert document["evaluate"]
    for entry in document["evaluate"]:
        scores, logits = [], []
        for batch in range(len(entry["batch_sizes"])):
            prefix = f"eval{entry['index']}_batch{batch}_"
            text = normalise(arrays[prefix + "text_features"])
            images = [normalise(arrays[f"{prefix}image_{name}"]) for name in "01r"]
            scores.append(np.stack([(text * image).sum(axis=1) for image in images], axis=1))
            logits.append(np.hstack([arrays[f"{prefix}hp_{name}"] for name in "01r"]))
        metrics = released_triplet_metrics(
            ict_scores=np.concatenate(scores), hp_logits=np.concatenate(logits)
        )
        ours = {
            "accuracy": metrics.ict_hp.average.value,
            "num_samples": 3 * metrics.ict_hp.num_triplets,
            "agree_on_10": metrics.ict_hp.winning_over_losing.value,
            "agree_on_r0": metrics.ict_hp.refined_over_losing.value,
            "agree_on_r1": metrics.ict_hp.refined_over_winning.value,
            "hp_acc:": metrics.hp.average.value,
            "hp_10": metrics.hp.winning_over_losing.value,
            "hp_r0": metrics.hp.refined_over_losing.value,
            "hp_r1": metrics.hp.refined_over_winning.value,
            "hp_0": metrics.mean_hp_losing,
            "hp_1": metrics.mean_hp_winning,
            "hp_r": metrics.mean_hp_refined,
        }
        assert ours == pytest.approx(entry["metrics"], abs=1e-6)


def normalise(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    lengths: NDArray[np.float64] = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
    return wide / lengths


def test_released_triplet_metrics_large_logits_stay_finite() -> None:
    metrics = released_triplet_metrics(
        ict_scores=[[0.5, 0.5, 0.5]], hp_logits=[[-1000.0, 990.0, 1000.0]]
    )
    assert metrics.mean_hp_refined == pytest.approx(1.0, abs=1e-4)
    assert metrics.hp.refined_over_winning.value == 1.0


def test_released_triplet_metrics_shapes_differ_raises_shape_error() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 3\) but hp_logits \(3, 3\)"):
        released_triplet_metrics(ict_scores=np.zeros((2, 3)), hp_logits=np.zeros((3, 3)))


def test_released_triplet_metrics_nan_logit_names_the_input() -> None:
    with pytest.raises(NonFiniteError, match="hp_logits hold NaN"):
        released_triplet_metrics(ict_scores=[[0.1, 0.2, 0.3]], hp_logits=[[0.0, math.nan, 0.0]])
