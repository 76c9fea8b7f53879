"""How far models and people agree, against plain loops; and p values that hold together."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult
from visreward.evaluation.benchmarks.results import BenchResult
from visreward.evaluation.reports.agreement import Measured, agreement_of, measured
from visreward.evaluation.reports.calibration_plot import chances_of
from visreward.evaluation.reports.tables import holm

RESULT = BenchResult(
    benchmark="toys",
    version=1,
    model="toy",
    revision="",
    metrics=(),
    num_groups=0,
    num_counted=0,
)
CANDIDATE = st.tuples(st.integers(1, 3), st.one_of(st.none(), st.integers(-3, 3)))


def model(groups: list[list[tuple[int, float | None]]]) -> Measured:
    return measured(
        RESULT,
        [
            GroupResult(
                id=f"g{number}",
                prompt="",
                sources=(),
                candidates=tuple(
                    CandidateResult(image="", rank=rank, value=value) for rank, value in group
                ),
            )
            for number, group in enumerate(groups)
        ],
    )


@given(st.lists(st.lists(CANDIDATE, min_size=2, max_size=4), min_size=1, max_size=6))
def test_agreement_is_that_of_the_worst_pair(
    groups: list[list[tuple[int, float | None]]],
) -> None:
    gaps = [
        [
            (second[0] - first[0], first[1] - second[1])
            for first, second in itertools.combinations(group, 2)
            if first[1] is not None and second[1] is not None
        ]
        for group in groups
    ]
    margins = [margin for group in gaps for _, margin in group]
    scale = math.sqrt(sum(m * m for m in margins) / len(margins)) if any(margins) else 1.0
    found = agreement_of(model(groups))
    for group, value in zip(gaps, found.tolist(), strict=True):
        strict = [math.copysign(1, order) * m for order, m in group if order]
        expected = strict or [-abs(m) for _, m in group]
        if expected:
            assert value == pytest.approx(min(expected) / scale)
        else:
            assert math.isnan(value)


def test_agreement_of_candidates_scored_alone_is_the_gap_of_their_places() -> None:
    groups = [
        GroupResult(
            id=f"g{number}",
            prompt="",
            sources=(),
            candidates=(CandidateResult(image="", human=human, value=value),),
        )
        for number, (human, value) in enumerate([(1.0, 10.0), (2.0, 30.0), (3.0, 20.0)])
    ]
    assert agreement_of(measured(RESULT, groups)).tolist() == [0.0, -0.5, -0.5]


def test_chances_of_scores_that_follow_bradley_terry_are_right_on_average() -> None:
    rng = np.random.default_rng(0)
    gaps = rng.normal(scale=8.0, size=1500)
    first_wins = rng.random(1500) < 1 / (1 + np.exp(-gaps / 4))
    chances = chances_of(
        model(
            [
                [(1 if wins else 2, float(gap)), (2 if wins else 1, 0.0)]
                for gap, wins in zip(gaps, first_wins, strict=True)
            ]
        )
    )
    assert chances is not None
    assert np.abs(chances.chance - 1 / (1 + np.exp(-np.abs(gaps) / 4))).max() < 0.06
    assert abs(chances.chance.mean() - chances.is_right.mean()) < 0.03


def test_chances_of_few_pairs_or_only_right_ones_are_none() -> None:
    assert chances_of(model([[(1, 2.0), (2, 1.0)]] * 10)) is None
    assert chances_of(model([[(1, 2.0 + n), (2, 1.0)] for n in range(100)])) is None


def test_holm_matches_the_steps_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
