"""Pairs of candidates as arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from visreward.evaluation.benchmarks.pairs import cluster_numbers, pair_table
from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult, PairVerdict


def result(*candidates: dict[str, Any], **fields: Any) -> GroupResult:
    return GroupResult(
        id=fields.pop("id", "g"),
        prompt="p",
        sources=(),
        candidates=tuple(CandidateResult(image="i", **values) for values in candidates),
        **fields,
    )


def test_pair_table_ranks_give_labels_and_scores_give_margins() -> None:
    table = pair_table(
        [
            result({"rank": 2, "value": 0.5}, {"rank": 1, "value": 0.25}, cluster="a"),
            result({"rank": 1, "value": 1.0}, {"rank": 1, "value": 1.0}, cluster="b"),
            result(
                {"rank": 3, "value": 0.0},
                {"rank": 2, "value": 2.0},
                {"rank": 1, "value": 3.0},
                cluster="a",
            ),
        ]
    )
    assert table.labels.tolist() == [-1, 0, -1, -1, -1]
    assert table.margins.tolist() == [0.25, 0.0, -2.0, -3.0, -1.0]
    assert table.clusters.tolist() == [0, 1, 0, 0, 0]
    assert table.groups.tolist() == [0, 1, 2, 2, 2]
    assert list(zip(table.firsts, table.seconds, strict=True))[2:] == [(0, 1), (0, 2), (1, 2)]
    assert not table.has_verdicts
    some = table.where(table.groups == 2)
    assert len(some) == 3
    assert some.margins.tolist() == [-2.0, -3.0, -1.0]


def test_pair_table_human_scores_label_where_there_are_no_ranks() -> None:
    table = pair_table([result({"human": 3.0, "value": 1.0}, {"human": 1.0, "value": 0.0}, {})])
    assert table.labels.tolist() == [1]
    assert (table.firsts.tolist(), table.seconds.tolist()) == ([0], [1])


def test_pair_table_failed_and_infinite_scores_have_nan_margins() -> None:
    table = pair_table(
        [
            result(
                {"rank": 1, "value": None, "error": "no file"},
                {"rank": 2, "value": math.inf},
                {"rank": 3, "value": 1.0},
            )
        ]
    )
    assert np.isnan(table.margins).all()
    assert table.labels.tolist() == [1, 1, 1]


def test_pair_table_verdicts_are_averaged_over_orders_in_terms_of_the_pair() -> None:
    ranks = ({"rank": 1}, {"rank": 2}, {"rank": 3}, {"rank": 4})
    verdicts = (
        PairVerdict(first=0, second=1, outcomes=("first", "first")),
        PairVerdict(first=2, second=0, outcomes=("second", "tie")),
        PairVerdict(first=0, second=3, outcomes=("first", "second")),
        PairVerdict(first=1, second=2, outcomes=("second", None), errors=("cut",)),
        PairVerdict(first=1, second=3, outcomes=(None, None), errors=("cut", "cut")),
    )
    table = pair_table([result(*ranks, verdicts=verdicts)])
    np.testing.assert_array_equal(table.margins, [1.0, 0.5, 0.0, np.nan, np.nan, np.nan])
    assert table.has_verdicts


def test_pair_table_of_nothing_is_empty() -> None:
    table = pair_table([result({"human": 1.0, "value": 1.0})])
    assert (len(table), table.labels.shape, table.margins.shape) == (0, (0,), (0,))


def test_cluster_numbers_group_without_cluster_stands_alone() -> None:
    results = [result(cluster=name) for name in ("a", "", "a", "", "b")]
    assert cluster_numbers(results).tolist() == [0, 1, 0, 2, 3]
