"""Endpoints that misbehave, over real sockets: what is tried again, what fails, what stops."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visreward.core.errors import BudgetError, JudgeError, UsageError
from visreward.core.types import Sample
from visreward.evaluation.judges.scores import ScoreJudge
from visreward.evaluation.judges.tries import MAX_RESPONSE_BYTES

if TYPE_CHECKING:
    from tests.evaluation.judges.conftest import Ask, JudgeServer, Reply

LoadJudge = Callable[..., ScoreJudge]
MakeSamples = Callable[[int], list[Sample]]

ONCE: list[dict[str, Any]] = [  # fields of a reply
    {"status": 429},
    {"status": 429, "headers": {"Retry-After": "0"}},
    {"status": 500},
    {"status": 503, "headers": {"Retry-After": "nonsense"}},
    {"status": 529},
    {"raw": b'{"choices": [{"mess'},
    {"raw": b"<html>bad gateway</html>"},
    {"raw": b'{"error": {"message": "overloaded"}}'},
    {"raw": b'{"choices": []}'},
    {"raw": b"[]"},
    {"raw": b'{"choices": [{"message": {"content": 7}}]}'},
    {"cut_after": 20},
    {"reset": True},
]


def fail_first(server: JudgeServer, **fields: Any) -> Callable[[Ask], Reply]:
    return lambda ask: server.Reply(**fields) if ask.num == 1 else server.Reply()


@pytest.mark.parametrize("fields", ONCE, ids=str)
def test_trouble_that_passes_is_asked_again_and_answered(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples, fields: dict[str, Any]
) -> None:
    server.answers = fail_first(server, **fields)
    judge = score_judge()
    (item,) = judge.run(samples(1))
    assert item.score is not None
    assert item.score.value == 5
    assert len(server.asks) == 2
    assert (judge.counts.num_retries, judge.counts.num_failed) == (1, 0)
    assert judge.counts.num_answers == 1


@pytest.mark.parametrize("status", [500, 429])
def test_trouble_that_stays_fails_the_item_after_the_stated_number_of_tries(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples, status: int
) -> None:
    server.answers = lambda ask: server.Reply(status=status, raw=b"too  busy\x1b")
    (item,) = score_judge().run(samples(1))
    assert str(item.error).startswith(f"Status {status}")
    assert "too busy" in str(item.error)
    assert "\x1b" not in str(item.error)
    assert "asked 4 times" in str(item.error)
    assert len(server.asks) == 4


@pytest.mark.parametrize("status", [400, 403, 413, 422, 204, 302])
def test_other_statuses_fail_the_item_at_once_and_the_rest_goes_on(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples, status: int
) -> None:
    def answers(ask: Ask) -> Reply:
        bad = server.Reply(status=status, headers={"Location": "/x"}, raw=b"")
        return bad if "prompt 1" in ask.text else server.Reply()

    server.answers = answers
    items = list(score_judge().run(samples(3)))
    assert [item.score is None for item in items] == [False, True, False]
    assert f"Status {status}" in str(items[1].error)
    assert len(server.asks) == 3


def test_retry_after_in_seconds_is_waited_out(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples
) -> None:
    times: list[float] = []

    def answers(ask: Ask) -> Reply:
        times.append(time.monotonic())
        busy = server.Reply(status=429, headers={"Retry-After": "0.4"})
        return busy if ask.num == 1 else server.Reply()

    server.answers = answers
    (item,) = score_judge().run(samples(1))
    assert item.score is not None
    assert times[1] - times[0] >= 0.4


def test_retry_after_holds_back_all_requests(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples
) -> None:
    times: list[float] = []
    judge = score_judge(endpoint={"concurrency": 2})

    def answers(ask: Ask) -> Reply:
        times.append(time.monotonic())
        if ask.total == 1:
            return server.Reply(status=429, headers={"Retry-After": "0.5"})
        # The other slot becomes free only once the judge knows that it is to wait.
        while not judge.counts.num_retries:
            server.stopping.wait(0.005)
        return server.Reply()

    server.answers = answers
    assert all(item.score for item in judge.run(samples(4)))
    # The second request was under way already, or came before the first one's answer.
    refused_at, _, *later = times
    assert len(later) == 3
    assert min(later) - refused_at >= 0.5


def test_retry_after_as_a_far_date_fails_the_item_without_waiting(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples
) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    server.answers = lambda ask: server.Reply(status=429, headers={"Retry-After": later})
    (item,) = score_judge().run(samples(1))
    assert "max_retry_after_s" in str(item.error)
    assert len(server.asks) == 1


def test_slow_response_ends_at_the_deadline_though_bytes_keep_coming(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples
) -> None:
    server.answers = fail_first(server, hangs=True)
    (item,) = score_judge(endpoint={"timeout_s": 0.5}).run(samples(1))
    assert item.score is not None
    assert len(server.asks) == 2


def test_endless_response_is_given_up(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples
) -> None:
    server.answers = fail_first(server, raw=b" " * (MAX_RESPONSE_BYTES + 10))
    (item,) = score_judge().run(samples(1))
    assert item.score is not None
    assert len(server.asks) == 2


def test_no_server_fails_the_item_with_the_kind_of_trouble(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples
) -> None:
    judge = score_judge(endpoint={"base_url": "http://127.0.0.1:9/v1"})
    (item,) = judge.run(samples(1))
    assert "ConnectError" in str(item.error)
    assert judge.counts.num_retries == 3


@pytest.mark.parametrize(
    ("fields", "reason", "num_refused"),
    [
        ({"text": "I would say seven."}, "not of the form", 0),
        ({"text": ""}, "0 lines", 0),
        ({"text": "[[5]]", "finish_reason": "length"}, "cut at the limit", 0),
        ({"text": None, "finish_reason": "length"}, "cut at the limit", 0),
        ({"text": None, "refusal": "I cannot rate people."}, "I cannot rate people.", 1),
        ({"text": "[[5]]", "refusal": "No."}, "refused: No.", 1),
        ({"text": None, "finish_reason": "content_filter"}, "content_filter", 1),
        ({"text": "I'm sorry, I can't help with that."}, "not of the form", 0),
    ],
)
def test_answer_without_a_score_is_unparsed_counted_and_not_asked_again(
    server: JudgeServer,
    score_judge: LoadJudge,
    samples: MakeSamples,
    fields: dict[str, Any],
    reason: str,
    num_refused: int,
) -> None:
    server.answers = lambda ask: server.Reply(**fields)
    judge = score_judge()
    for _ in range(2):
        (item,) = judge.run(samples(1))
        assert item.score is None
        assert str(item.error).startswith("unparsed: ")
        assert reason in str(item.error)
    assert len(server.asks) == 1
    assert (judge.counts.num_unparsed, judge.counts.num_refused) == (2, 2 * num_refused)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "many",
        {},
        {"prompt_tokens": -1, "completion_tokens": 3},
        {"prompt_tokens": "100", "completion_tokens": 3},
        {"prompt_tokens": True, "completion_tokens": 3},
        {"prompt_tokens": 1.5, "completion_tokens": 3},
    ],
    ids=str,
)
def test_wrong_usage_leaves_the_score_and_is_counted(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples, usage: object
) -> None:
    server.answers = lambda ask: server.Reply(usage=usage)
    prices = {"input_per_million": 1, "output_per_million": 1}
    judge = score_judge(endpoint={"prices": prices})
    (item,) = judge.run(samples(1))
    assert item.score is not None
    assert judge.counts.num_without_usage == 1
    assert judge.counts.cost == 0


def test_concurrency_is_reached_and_never_passed_at_the_server(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples
) -> None:
    all_open = asyncio.Event()

    def answers(ask: Ask) -> Reply:
        if server.most_open >= 5:
            all_open.set()
        for _ in range(200):
            if all_open.is_set() or server.stopping.wait(0.02):
                break
        # A moment for a sixth request to come, if there were one.
        server.stopping.wait(0.02)
        return server.Reply()

    server.answers = answers
    judge = score_judge(endpoint={"concurrency": 5}, dimensions=["overall", "visual_quality"])
    assert all(item.score for item in judge.run(samples(15)))
    assert server.most_open == 5


def test_tokens_and_cost_are_those_of_the_answers(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples
) -> None:
    prices = {"input_per_million": 2.5, "output_per_million": 10}
    judge = score_judge(endpoint={"prices": prices})
    list(judge.run(samples(6)))
    list(judge.run(samples(6)))
    counts = judge.counts
    assert (counts.num_answers, counts.num_cached) == (6, 6)
    assert (counts.prompt_tokens, counts.completion_tokens) == (600, 60)
    assert counts.cost == pytest.approx(6 * (100 * 2.5 + 10 * 10) / 1e6)


def test_cap_stops_the_run_before_it_is_passed_and_the_next_goes_on(
    server: JudgeServer, write_judge: Callable[..., Path], samples: MakeSamples
) -> None:
    from visreward.evaluation.judges import load_judge

    # 100 + 10 tokens are 1.1 each; the dearest course is 100 + 20 tokens, 1.2.
    endpoint = {
        "prices": {"input_per_million": 10_000, "output_per_million": 10_000},
        "parameters": {"max_tokens": 20},
        "max_cost": 7,
        "concurrency": 3,
    }
    path = write_judge("scores", endpoint=endpoint, cache="answers.sqlite")
    judge = load_judge(path)
    assert isinstance(judge, ScoreJudge)
    with pytest.raises(BudgetError, match="max_cost = 7"):
        list(judge.run(samples(20)))
    cost = judge.counts.cost
    assert cost is not None
    # With 5 answers 1.2 more would fit into 7; with 6 (6.6) it would not.
    assert judge.counts.num_answers == len(server.asks) == 6
    assert cost == pytest.approx(6.6)

    again = load_judge(path)
    assert isinstance(again, ScoreJudge)
    with pytest.raises(BudgetError):
        list(again.run(samples(20)))
    assert again.counts.num_cached >= 6
    assert len(server.asks) == 12
    assert server.asked_twice == 0


def test_cap_without_usage_stops_at_the_first_answer(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples
) -> None:
    server.answers = lambda ask: server.Reply(usage=None)
    prices = {"input_per_million": 1, "output_per_million": 1}
    judge = score_judge(endpoint={"prices": prices, "max_cost": 5})
    with pytest.raises(BudgetError, match="usage is missing"):
        list(judge.run(samples(5)))
    assert len(server.asks) == 1


def test_cap_counts_an_answer_without_usage_as_the_dearest(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples
) -> None:
    server.answers = lambda ask: server.Reply() if ask.total == 1 else server.Reply(usage=None)
    endpoint = {
        "prices": {"input_per_million": 0, "output_per_million": 10_000},
        "parameters": {"max_tokens": 50},
        "max_cost": 5,
        "concurrency": 1,
    }
    judge = score_judge(endpoint=endpoint)
    assert all(item.score for item in judge.run(samples(3)))
    assert judge.counts.cost == pytest.approx(0.1 + 0.5 + 0.5)


@pytest.mark.parametrize(("status", "advice"), [(401, "api_key_env"), (404, "base_url")])
def test_endpoint_that_can_answer_nothing_stops_the_run_at_once(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples, status: int, advice: str
) -> None:
    server.answers = lambda ask: server.Reply(status=status, raw=b"no")
    with pytest.raises(JudgeError, match=advice):
        list(score_judge(endpoint={"concurrency": 2}).run(samples(50)))
    assert len(server.asks) <= 2


def test_failures_in_a_row_stop_the_run_and_answers_in_between_do_not(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples
) -> None:
    server.answers = lambda ask: server.Reply(status=200 if ask.total % 3 == 0 else 400)
    endpoint = {"stop_after_failures": 3, "concurrency": 1}
    assert len(list(score_judge(endpoint=endpoint).run(samples(9)))) == 9
    server.answers = lambda ask: server.Reply(status=400)
    with pytest.raises(JudgeError, match="3 questions in a row"):
        list(score_judge(endpoint=endpoint, name="other.yaml").run(samples(50)))


def test_stop_keeps_the_answers_that_are_under_way(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples
) -> None:
    def answers(ask: Ask) -> Reply:
        if "prompt 0" in ask.text:
            while len(server.asks) < 4:
                server.stopping.wait(0.01)
            return server.Reply(status=401)
        server.stopping.wait(0.2)
        return server.Reply()

    server.answers = answers
    judge = score_judge()
    with pytest.raises(JudgeError, match="401"):
        list(judge.run(samples(4)))
    assert judge.counts.num_answers == 3


def test_key_is_sent_and_stands_nowhere_else(
    server: JudgeServer,
    write_judge: Callable[..., Path],
    samples: MakeSamples,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from visreward.evaluation.judges import load_judge

    key = "sk-secret-0123456789"
    monkeypatch.setenv("TEST_JUDGE_KEY", key)
    replies = [
        server.Reply(text=f"Your key is {key}."),
        server.Reply(status=400, raw=("x" * 290 + f" {key} is wrong").encode()),
        server.Reply(text=None, refusal=f"Not for {key}."),
    ]
    server.answers = lambda ask: replies[ask.total - 1]
    path = write_judge(
        "scores",
        endpoint={"api_key_env": "TEST_JUDGE_KEY", "concurrency": 1},
        cache="answers.sqlite",
    )
    with caplog.at_level(logging.DEBUG):
        judge = load_judge(path)
        assert isinstance(judge, ScoreJudge)
        items = list(judge.run(samples(3)))
    assert {ask.headers["Authorization"] for ask in server.asks} == {f"Bearer {key}"}
    printed = capfd.readouterr()
    shown = f"{items} {judge.counts} {judge.name} {judge.revision} {printed} {caplog.text}"
    assert "sk-secret" not in shown
    assert "[key]" in shown
    for file in tmp_path.iterdir():
        assert b"sk-secret" not in file.read_bytes(), file.name


@pytest.mark.parametrize("key", ["", "   ", "a b", "line\nbreak", "é"])
def test_key_that_cannot_be_sent_is_refused_without_showing_it(
    score_judge: LoadJudge, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("TEST_JUDGE_KEY", key)
    with pytest.raises(UsageError, match="TEST_JUDGE_KEY") as caught:
        score_judge(endpoint={"api_key_env": "TEST_JUDGE_KEY"})
    assert not key.strip() or key not in str(caught.value)


def test_parameters_of_the_endpoint_are_sent_as_they_are(
    server: JudgeServer, score_judge: LoadJudge, samples: MakeSamples
) -> None:
    parameters = {"max_completion_tokens": 9, "reasoning": {"effort": "low"}, "seed": 3}
    list(score_judge(endpoint={"parameters": parameters}).run(samples(1)))
    body = server.asks[0].body
    assert {name: body[name] for name in parameters} == parameters
    assert set(body) == {"model", "messages", *parameters}
    json.dumps(body)
