"""Accuracy on pairs against brute force over every threshold, one pair at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visreward.core.errors import NonFiniteError, ShapeError, UsageError
from visreward.evaluation.metrics.pairs import (
    TieFitting,
    accuracy_with_ties,
    accuracy_without_ties,
    fit_tie_threshold,
    right_pairs,
)

MARGINS = st.one_of(
    st.sampled_from([-2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0, math.nan]),
    st.floats(-3, 3),
)
PAIRS = st.lists(st.tuples(MARGINS, st.sampled_from([-1, 0, 1])), min_size=1, max_size=30)


def is_right(margin: float, label: int, threshold: float | None) -> bool:
    """Judge one pair from the definition."""
    if math.isnan(margin):
        return False
    if threshold is not None and abs(margin) <= threshold:
        return label == 0
    return (margin > 0 and label == 1) or (margin < 0 and label == -1)


@settings(deadline=None, max_examples=300)
@given(PAIRS)
def test_fit_tie_threshold_equals_brute_force_over_all_thresholds(
    pairs: list[tuple[float, int]],
) -> None:
    margin, label = map(list, zip(*pairs, strict=True))
    thresholds = [None, *(abs(each) for each in margin if not math.isnan(each))]
    best = max(
        sum(is_right(gap, wanted, threshold) for gap, wanted in pairs) for threshold in thresholds
    )
    found = fit_tie_threshold(margin, label)
    assert found.accuracy == best / len(pairs)
    # The threshold that is returned gives that accuracy, and no smaller one does.
    right = right_pairs(margin, label, tie_threshold=found.tie_threshold)
    assert right.mean() == found.accuracy
    for threshold in thresholds:
        is_smaller = found.tie_threshold is not None and (
            threshold is None or threshold < found.tie_threshold
        )
        if is_smaller:
            assert right_pairs(margin, label, tie_threshold=threshold).sum() < best


@settings(deadline=None, max_examples=200)
@given(PAIRS, st.one_of(st.none(), st.floats(0, 3)))
def test_right_pairs_each_pair_follows_the_definition(
    pairs: list[tuple[float, int]], threshold: float | None
) -> None:
    margin, label = map(list, zip(*pairs, strict=True))
    expected = [is_right(gap, wanted, threshold) for gap, wanted in pairs]
    assert right_pairs(margin, label, tie_threshold=threshold).tolist() == expected
    # Naming the two images the other way round changes nothing.
    swapped = right_pairs(
        [-gap for gap in margin], [-wanted for wanted in label], tie_threshold=threshold
    )
    assert swapped.tolist() == expected


def test_right_pairs_no_ties_and_a_threshold_of_zero_differ_on_zero_margins_only() -> None:
    margin, label = [0.0, 0.0, 0.5], [0, 1, 0]
    assert right_pairs(margin, label, tie_threshold=None).tolist() == [False, False, False]
    assert right_pairs(margin, label, tie_threshold=0.0).tolist() == [True, False, False]


def test_fit_tie_threshold_many_pairs_with_repeats_equals_brute_force() -> None:
    rng = np.random.default_rng(3)
    label = rng.integers(-1, 2, size=3000)
    margin = np.round(label + rng.normal(size=3000), 1)
    margin[::50] = math.nan
    thresholds = [None, *np.unique(np.abs(margin[~np.isnan(margin)])).tolist()]
    best = max(right_pairs(margin, label, tie_threshold=each).mean() for each in thresholds)
    assert fit_tie_threshold(margin, label).accuracy == pytest.approx(best, abs=1e-12)


def test_fit_tie_threshold_all_verdicts_missing_is_right_nowhere() -> None:
    found = fit_tie_threshold([math.nan, math.nan], [0, 1])
    assert (found.tie_threshold, found.accuracy) == (None, 0.0)


def test_accuracy_without_ties_counts_zero_margin_and_missing_as_wrong() -> None:
    found = accuracy_without_ties([1.0, 0.0, math.nan, -1.0, 5.0], [1, 1, 1, -1, 0])
    assert found.value == 2 / 4
    assert found.num == 4
    assert found.note.startswith("1 of 4 pairs have no verdict and count as wrong.")


@pytest.mark.parametrize(
    ("label", "reason"), [([], "no pairs"), ([0, 0], "people call all pairs equal")]
)
def test_accuracy_without_ties_nothing_to_order_is_none_with_a_note(
    label: list[int], reason: str
) -> None:
    found = accuracy_without_ties(np.ones(len(label)), label)
    assert (found.value, found.low, found.high) == (None, None, None)
    assert reason in found.note


def test_accuracy_with_ties_same_data_is_the_best_fit() -> None:
    rng = np.random.default_rng(1)
    label = rng.integers(-1, 2, size=200)
    margin = label + rng.normal(size=200)
    found = accuracy_with_ties(margin, label, fit="same-data")
    best = fit_tie_threshold(margin, label)
    assert found.accuracy.value == pytest.approx(best.accuracy)
    assert found.thresholds == (best.tie_threshold,)
    assert found.right is not None
    expected = right_pairs(margin, label, tie_threshold=best.tie_threshold)
    assert found.right.tolist() == expected.tolist()


def test_accuracy_with_ties_held_out_uses_only_other_clusters() -> None:
    rng = np.random.default_rng(2)
    label = rng.integers(-1, 2, size=120)
    margin = label + rng.normal(size=120)
    clusters = np.repeat(np.arange(40), 3)
    found = accuracy_with_ties(margin, label, clusters=clusters, num_folds=40)
    # As many folds as clusters: each cluster is judged with what fits all others best.
    assert len(found.thresholds) == 40
    expected = np.empty(120, dtype=bool)
    for cluster in range(40):
        held = clusters == cluster
        threshold = fit_tie_threshold(margin[~held], label[~held]).tie_threshold
        expected[held] = right_pairs(margin[held], label[held], tie_threshold=threshold)
        assert threshold in found.thresholds
    assert found.right is not None
    assert found.right.tolist() == expected.tolist()


def test_accuracy_with_ties_held_out_is_honest_where_same_data_flatters() -> None:
    # Scores that know nothing: no threshold is worth more than 1/2 on new pairs of two equally
    # common answers, yet on 20 pairs of its own some threshold always looks better.
    rng = np.random.default_rng(5)
    kept: dict[TieFitting, list[float]] = {"held-out": [], "same-data": []}
    for _ in range(100):
        label = rng.integers(0, 2, size=20)
        margin = np.abs(rng.normal(size=20))
        for fit, values in kept.items():
            value = accuracy_with_ties(margin, label, fit=fit).accuracy.value
            assert value is not None
            values.append(value)
    assert np.mean(kept["same-data"]) > 0.6
    assert np.mean(kept["held-out"]) < 0.52


def test_accuracy_with_ties_order_of_pairs_does_not_matter() -> None:
    rng = np.random.default_rng(6)
    label = rng.integers(-1, 2, size=90)
    margin = np.round(label + rng.normal(size=90), 1)
    clusters = np.repeat(np.arange(30), 3)
    order = rng.permutation(90)
    one = accuracy_with_ties(margin, label, clusters=clusters)
    other = accuracy_with_ties(margin[order], label[order], clusters=clusters[order])
    assert one.accuracy == other.accuracy
    assert one.thresholds == other.thresholds


def test_accuracy_with_ties_missing_verdicts_stay_in_and_are_noted() -> None:
    margin = [math.nan, 1.0, 1.0, -1.0]
    found = accuracy_with_ties(margin, [0, 1, 1, -1], fit="same-data")
    assert found.accuracy.value == 3 / 4
    assert found.accuracy.note.startswith("1 of 4 pairs")


@pytest.mark.parametrize(
    ("margin", "reason"),
    [
        ([0.0, 0.0], "orders none of 2 pairs, 0 for want of a verdict, 2 with a margin of 0"),
        ([math.nan, math.nan], "2 for want of a verdict, 0 with a margin of 0"),
        ([math.nan, 0.0], "1 for want of a verdict, 1 with a margin of 0"),
    ],
)
def test_accuracy_without_ties_model_that_orders_nothing_is_none_and_not_zero(
    margin: list[float], reason: str
) -> None:
    found = accuracy_without_ties(margin, [1, -1])
    assert (found.value, found.num) == (None, 2)
    assert reason in found.note


def test_accuracy_with_ties_constant_scores_are_ties_with_a_note() -> None:
    found = accuracy_with_ties([0.0] * 4, [0, 1, 0, -1], fit="same-data").accuracy
    assert found.value == 2 / 4
    assert "tells no pair apart" in found.note
    missing = accuracy_with_ties([math.nan] * 4, [0, 1, 0, -1])
    assert (missing.accuracy.value, missing.right) == (None, None)
    assert "no verdict on any pair" in missing.accuracy.note


def test_accuracy_with_ties_one_cluster_cannot_be_held_out() -> None:
    found = accuracy_with_ties([1.0, 2.0], [1, 0], clusters=["a", "a"])
    assert found.accuracy.value is None
    assert "one cluster" in found.accuracy.note
    assert found.right is None
    assert accuracy_with_ties([], []).accuracy.value is None


def test_pairs_bad_input_is_named() -> None:
    with pytest.raises(NonFiniteError, match="margin is infinite in 1 of 2 places, first in pl"):
        fit_tie_threshold([1.0, math.inf], [0, 1])
    with pytest.raises(UsageError, match=r"label is 2.0 in place 1"):
        fit_tie_threshold([1.0, 1.0], [0, 2])
    with pytest.raises(UsageError, match="label is nan"):
        fit_tie_threshold([1.0], [math.nan])
    with pytest.raises(ShapeError, match=r"label has shape \(3,\), expected \(2,\)"):
        accuracy_without_ties([1.0, 1.0], [0, 1, 1])
    with pytest.raises(ShapeError, match="margin is no array of numbers"):
        accuracy_without_ties([[1.0], [1.0, 2.0]], [0, 1])
    with pytest.raises(ShapeError, match=r"margin has shape \(1, 2\)"):
        accuracy_without_ties([[1.0, 1.0]], [0, 1])
    with pytest.raises(ShapeError, match="clusters has 1 entries, expected 2"):
        accuracy_without_ties([1.0, 1.0], [0, 1], clusters=["a"])
    with pytest.raises(UsageError, match="0 pairs"):
        fit_tie_threshold([], [])
    with pytest.raises(UsageError, match="num_folds is 1"):
        accuracy_with_ties([1.0], [1], num_folds=1)
    for threshold in (-1.0, math.nan, math.inf):
        with pytest.raises(UsageError, match="tie_threshold"):
            right_pairs([1.0], [1], tie_threshold=threshold)
