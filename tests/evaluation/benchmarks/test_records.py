"""The records that pass between benchmarks, judges and reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visreward.evaluation.benchmarks.records import Outcome, PairVerdict

OUTCOMES: tuple[Outcome, ...] = ("first", "second", "tie")
SWAPPED: dict[Outcome, Outcome] = {"first": "second", "second": "first", "tie": "tie"}


@given(st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=4))
def test_mean_of_a_verdict_turns_its_sign_when_the_candidates_change_places(
    outcomes: list[Outcome],
) -> None:
    verdict = PairVerdict(first=0, second=1, outcomes=tuple(outcomes))
    swapped = PairVerdict(first=1, second=0, outcomes=tuple(SWAPPED[each] for each in outcomes))
    assert verdict.mean is not None
    assert swapped.mean == -verdict.mean


@pytest.mark.parametrize(
    ("outcomes", "mean"),
    [
        (("first", "tie"), 0.5),
        (("first", "second"), 0),
        (("second",), -1),
        (("first", None), None),
        ((None, None), None),
        ((), None),
    ],
)
def test_mean_of_a_verdict_needs_every_order(
    outcomes: tuple[Outcome | None, ...], mean: float | None
) -> None:
    assert PairVerdict(first=0, second=1, outcomes=outcomes).mean == mean
