"""Waits between tries: bounds, growth and what an endpoint asks for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visreward.evaluation.judges.config import RetryConfig
from visreward.evaluation.judges.waits import seconds_asked_for, wait_s

NOW = datetime(2020, 5, 17, 12, 0, 0, tzinfo=UTC)
RETRY = RetryConfig(first_wait_s=1, max_wait_s=60, max_retry_after_s=300)


@given(num_tries=st.integers(1, 5000), drawn=st.floats(0, 1))
def test_wait_doubles_up_to_its_cap_and_jitters_over_its_upper_half(
    num_tries: int, drawn: float
) -> None:
    wait = wait_s(num_tries, asked_for_s=None, retry=RETRY, drawn=drawn)
    longest = min(60, 2 ** (num_tries - 1))
    assert wait is not None
    assert longest / 2 <= wait <= longest


@given(asked_for_s=st.floats(0, 1000), drawn=st.floats(0, 1), num_tries=st.integers(1, 9))
def test_wait_is_never_shorter_than_asked_for_and_gives_up_beyond_the_limit(
    asked_for_s: float, drawn: float, num_tries: int
) -> None:
    wait = wait_s(num_tries, asked_for_s=asked_for_s, retry=RETRY, drawn=drawn)
    assert (wait is None) == (asked_for_s > 300)
    assert wait is None or wait >= asked_for_s


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("5", 5.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Sun, 17 May 2020 12:01:30 GMT", 90.0),
        ("Sun, 17 May 2020 11:00:00 GMT", 0.0),
        ("Sun, 17 May 2020 12:01:30 -0000", 90.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header: str | None, seconds: float | None) -> None:
    assert seconds_asked_for(header, now=NOW) == seconds
