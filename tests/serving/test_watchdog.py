"""When a model's process counts as hung, in plain numbers and against a process that hangs."""

from __future__ import annotations

import base64
import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import httpx2
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visreward.core.errors import UsageError
from visreward.serving.settings import ModelSetup
from visreward.serving.watchdog import TICK_S, Watchdog

if TYPE_CHECKING:
    from tests.serving.conftest import Server

IMAGE_MODEL = "hp-mini"


def ticks_until_hung(watchdog: Watchdog, *, tokens: int, elapsed_s: float = TICK_S) -> int:
    for count in range(100_000):
        if watchdog.is_hung(1, tokens=tokens, elapsed_s=elapsed_s):
            return count
    raise AssertionError("it never hangs")


def test_limit_before_any_answer_is_ten_times_the_shortest() -> None:
    assert Watchdog(3.0).limit_s(10**9) == 30.0


@given(
    batches=st.lists(
        st.tuples(st.integers(1, 10**6), st.floats(1e-3, 1e3)), min_size=1, max_size=16
    ),
    tokens=st.integers(1, 10**6),
)
def test_limit_is_ten_times_what_the_slowest_batch_would_take(
    batches: list[tuple[int, float]], tokens: int
) -> None:
    watchdog = Watchdog(3.0)
    for batch in batches:
        watchdog.answered(*batch)

    slowest_s = max(tokens * seconds / num for num, seconds in batches)
    assert watchdog.limit_s(tokens) == pytest.approx(max(3.0, 10 * slowest_s))


def test_watchdog_same_batch_for_too_long_is_hung() -> None:
    watchdog = Watchdog(3.0)
    watchdog.answered(100, 0.1)

    assert ticks_until_hung(watchdog, tokens=100) == 3.0 / TICK_S + 1


def test_watchdog_idle_or_going_on_is_never_hung() -> None:
    watchdog = Watchdog(1.0)
    watchdog.answered(100, 0.1)

    assert not any(watchdog.is_hung(None, tokens=0, elapsed_s=TICK_S) for _ in range(50))
    assert not any(watchdog.is_hung(number, tokens=1, elapsed_s=TICK_S) for number in range(50))


def test_watchdog_second_batch_starts_to_count_when_the_first_is_answered() -> None:
    watchdog = Watchdog(1.0)
    watchdog.answered(1, 1e-3)
    for batch in range(5):
        assert not watchdog.is_hung(batch, tokens=1, elapsed_s=TICK_S)
        assert not watchdog.is_hung(batch, tokens=1, elapsed_s=TICK_S)
        watchdog.answered(1, 1e-3)


def test_watchdog_batch_that_hangs_is_seen_though_others_are_answered() -> None:
    watchdog = Watchdog(1.0)
    seen = []
    for _ in range(5):
        watchdog.answered(1, 1e-3)
        seen.append(watchdog.is_hung(1, tokens=1, elapsed_s=TICK_S))
    assert seen == [False, False, False, True, True]


def test_watchdog_server_that_was_stopped_itself_blames_no_model() -> None:
    watchdog = Watchdog(3.0)
    watchdog.answered(100, 0.1)
    watchdog.is_hung(1, tokens=1, elapsed_s=TICK_S)

    assert not watchdog.is_hung(1, tokens=1, elapsed_s=3600.0)


@pytest.mark.parametrize("hang_s", [0.0, -1.0, float("nan")])
def test_hang_s_that_is_no_time_is_refused(hang_s: float) -> None:
    with pytest.raises(UsageError, match="hang_s"):
        ModelSetup(name="hp-mini", hang_s=hang_s)


def test_hung_model_is_killed_its_requests_get_503_and_it_comes_back(
    start_server: Callable[..., AbstractContextManager[Server]],
    png: Callable[[int, int], bytes],
    until: Callable[..., Any],
) -> None:
    body = {"candidates": [base64.b64encode(png(8, 8)).decode()]}
    with start_server("--model", IMAGE_MODEL, "--hang-s", "4") as server:
        with server.http() as http:
            before = http.post("/v1/score", json=body).json()["results"]
        pid = server.model_pid(IMAGE_MODEL)
        os.kill(pid, signal.SIGSTOP)
        answers: list[httpx2.Response] = []

        def ask() -> None:
            with server.http() as http:
                answers.append(http.post("/v1/score", json=body))

        asking = [threading.Thread(target=ask) for _ in range(3)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert [answer.status_code for answer in answers] == [503] * 3
        assert {answer.json()["error"]["code"] for answer in answers} == {"model_restarted"}
        assert not server.is_ready()
        until(lambda: not psutil.pid_exists(pid))
        (line,) = server.events("model process hangs")
        assert (line["model"], line["model_pid"]) == (IMAGE_MODEL, pid)
        until(server.is_ready)
        assert server.model_pid(IMAGE_MODEL) != pid
        with server.http() as http:
            assert http.post("/v1/score", json=body).json()["results"] == before
        assert server.metric(f'visreward_model_hangs_total{{model="{IMAGE_MODEL}"}}') == 1
        assert server.metric(f'visreward_model_restarts_total{{model="{IMAGE_MODEL}"}}') == 1
