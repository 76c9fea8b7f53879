"""The serving benchmarks' own arithmetic, and each of them once against a real server, tiny."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import serving_fuzz
import serving_kill
import serving_overload
import serving_soak
import serving_throughput
from serving_load.accounts import account, milliseconds
from serving_load.clients import Reply, scored_per_s
from serving_load.damaged_images import damaged_images
from serving_load.schema_bodies import from_schema
from serving_load.workload import Plan, endless

MODEL = "hp-mini"
TINY = f"--model {MODEL} --candidates 2 --side 64 --distinct 2 --threads 1"

Measure = Callable[..., dict[str, Any]]


def reply(request_id: str, *, at: float = 0.0, status: int = 200, count: int = 1) -> Reply:
    return Reply(
        request_id=request_id,
        answered_id=request_id if status else None,
        status=status,
        sent_at=at,
        done_at=at + 1,
        num_scored=count if status == 200 else 0,
    )


def logged(*request_ids: str) -> list[dict[str, Any]]:
    return [{"request_id": each, "status": 200, "milliseconds": 1.0} for each in request_ids]


def test_account_each_answered_and_logged_once_is_whole() -> None:
    found = account([reply("a"), reply("b", status=429)], logged("a", "b", "of another phase"))

    assert found.is_whole
    assert found.by_status == {"200": 1, "429": 1}


@pytest.mark.parametrize(
    ("replies", "log", "field"),
    [
        ([reply("a", status=0)], logged("a"), "num_unanswered"),
        ([reply("a")], logged("a", "a"), "num_logged_twice"),
        ([reply("a")], logged(), "num_not_logged"),
    ],
)
def test_account_lost_or_doubled_request_is_not_whole(
    replies: list[Reply], log: list[dict[str, Any]], field: str
) -> None:
    found = account(replies, log)

    assert getattr(found, field) == 1
    assert not found.is_whole


def test_account_answer_of_another_request_is_not_whole() -> None:
    crossed = Reply(request_id="a", answered_id="b", status=200, sent_at=0, done_at=1)

    assert account([crossed], logged("a")).num_crossed == 1


def test_milliseconds_are_those_of_one_status() -> None:
    log = [{"status": 429, "milliseconds": each} for each in (1.0, 2.0, 9.0)]

    assert milliseconds(log, status=429) == {"median": 2.0, "p99": 9.0, "most": 9.0}
    assert milliseconds(log, status=200) == {}


@given(rate=st.floats(0.5, 50), count=st.integers(1, 6))
def test_scored_per_s_steady_answers_give_their_rate(rate: float, count: int) -> None:
    replies = [reply(str(number), at=number / rate, count=count) for number in range(200)]
    refused = [reply("late", at=1e6, status=429)]

    seconds = 199 / rate + 1  # each is answered after 1 s
    assert scored_per_s(replies + refused) == pytest.approx(200 * count / seconds)
    assert scored_per_s(refused) == 0
    in_time = sum(number / rate + 1 <= 199 / rate for number in range(200))
    under_load = scored_per_s(replies, only_under_load=True)
    assert under_load == pytest.approx(in_time * count / (199 / rate), rel=0.01)


def test_slope_per_hour_straight_line_is_its_slope_and_noise_has_zero_inside() -> None:
    seconds = np.arange(600.0)
    noise = np.random.default_rng(0).normal(0, 1, 600)

    rising = serving_soak.slope_per_hour(seconds, 100 + seconds / 60)
    flat = serving_soak.slope_per_hour(seconds, 100 + noise)

    still = serving_soak.slope_per_hour(seconds, np.zeros(600))

    assert rising["slope"] == pytest.approx(60)
    assert still == {"slope": 0.0, "low": 0.0, "high": 0.0}
    assert flat["low"] < 0 < flat["high"]


def test_endless_requests_differ_in_every_file_and_in_no_pixel() -> None:
    plan = Plan(model=MODEL, candidates=2, side=64, distinct=1, has_source=True)
    stream = endless(plan.works(), "tag")
    works = [next(stream) for _ in range(3)]

    for images in zip(*((work.source, *work.candidates) for work in works), strict=True):
        assert len(set(images)) == 3
        pixels = {Image.open(io.BytesIO(image or b"")).tobytes() for image in images}
        assert len(pixels) == 1


def test_damaged_images_are_the_same_for_a_seed_and_all_different() -> None:
    images = damaged_images(150, seed=3)

    assert images == damaged_images(150, seed=3)
    assert len(set(images)) > 140
    assert max(map(len, images)) < 500_000


@given(st.data())
def test_bodies_of_a_schema_have_what_it_requires(data: st.DataObject) -> None:
    whole = {
        "parts": {"Point": {"type": "object", "properties": {"x": {"type": "integer"}}}},
    }
    schema = {
        "type": "object",
        "required": ["name", "points"],
        "properties": {
            "name": {"enum": ["a", "b"]},
            "points": {"type": "array", "items": {"$ref": "#/parts/Point"}},
            "share": {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]},
        },
    }
    body = data.draw(from_schema(schema, whole, {}))

    assert body["name"] in ("a", "b")
    assert all(isinstance(point.get("x", 0), int) for point in body["points"])
    assert set(body) <= {"name", "points", "share"}


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Return what runs a benchmark and returns the figures that it wrote."""

    def run(main: Callable[[list[str]], None], arguments: str) -> dict[str, Any]:
        output = tmp_path / "figures.json"
        main([*arguments.split(), "--output", str(output)])
        results: dict[str, Any] = json.loads(output.read_text())["results"]
        return results

    return run


def test_throughput_measures_both_sides_in_turn(measure: Measure) -> None:
    results = measure(
        serving_throughput.main, f"{TINY} --clients 2 --seconds 2 --requests 2 --repeats 1"
    )

    (turn,) = results["throughput"]["turns"]
    assert turn["served"]["failed"] == []
    assert turn["served"]["num_scored"] > 0
    assert set(turn["served"]["cpu_ms_per_candidate"]) == {"http", "decoder", "model"}
    assert results["share"] > 0
    assert results["share_by_cpu"] > 0
    assert results["latency"]["num_requests"] > 0


def test_overload_refuses_the_rest_and_loses_nothing(measure: Measure) -> None:
    results = measure(
        serving_overload.main,
        f"{TINY} --clients 4 --peak-seconds 2 --seconds 3 --max-queue-items 4",
    )

    found = results["overload"]
    assert found["is_whole"]
    assert found["account"]["by_status"]["200"] > 0
    assert found["account"]["by_status"]["429"] > 0
    assert found["refusal_ms_at_server"]["median"] >= 0


def test_killed_model_comes_back_and_every_request_is_answered(measure: Measure) -> None:
    results = measure(serving_kill.main, f"{TINY} --clients 3 --kills 1 --pause-s 1")

    assert results["restarts"] == 1
    assert results["is_whole"]
    assert results["codes"] <= ["model_not_ready", "model_restarted"]
    (kill,) = results["kills"]
    assert 0 < kill["not_ready_s"] <= kill["ready_again_s"]


def test_fuzz_finds_no_fault(measure: Measure) -> None:
    results = measure(serving_fuzz.main, f"--models {MODEL} --images 60 --requests 100 --threads 1")

    assert sum(results["images"]["statuses"].values()) == 60
    assert sum(results["requests"]["statuses"].values()) >= 100
    assert results["images"]["num_faults"] == results["requests"]["num_faults"] == 0
    assert results["restarted"] == 0


def test_soak_reads_the_memory_of_every_process(measure: Measure) -> None:
    results = measure(serving_soak.main, f"{TINY} --minutes 0.1 --warm-seconds 2")

    assert results["is_whole"]
    assert set(results["slopes_mib_per_hour"]) == {"http", "decoder", "model", "pictures"}
    pictures = results["memory_mib"].pop("pictures")
    assert all(first > 0 for first, _, _ in results["memory_mib"].values())
    assert min(pictures) >= 0
