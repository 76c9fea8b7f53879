"""Results and samples on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visreward.core.errors import DataError
from visreward.core.source_commit import git_commit
from visreward.data.base import Problem
from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult, PairVerdict
from visreward.evaluation.benchmarks.result_files import (
    read_results,
    read_samples,
    result_from_json,
    result_to_json,
    results_from_json,
    safe_name,
    write_result,
    write_samples,
)
from visreward.evaluation.benchmarks.results import BenchResult, MetricValue, PublishedRow

RESULT = BenchResult(
    benchmark="scenes",
    version=2,
    model="ict-hp-mini",
    revision="abc",
    metrics=(
        MetricValue(name="accuracy", value=0.5, low=0.25, high=0.75, stderr=0.1, num=8),
        MetricValue(name="accuracy", filter="K=2, easy", value=None, note="no such pair"),
        MetricValue(name="spearman", value=-0.5, unit="correlation", num=4),
        MetricValue(name="mean_score", value=3.25, unit="number", num=4),
    ),
    num_groups=9,
    num_counted=8,
    problems=(Problem(kind="duplicate id", count=2, examples=("a", "b"), is_warning=True),),
    published=(PublishedRow(model="CLIP", values={"accuracy,none": 0.6}, source="a table"),),
    config={"data": "here", "batch_size": 4, "images": None},
    date="2030-01-02T03:04:05+00:00",
)


def test_result_has_the_sections_of_the_harness() -> None:
    document = result_to_json(RESULT)
    assert document["results"]["scenes"]["accuracy,none"] == 0.5
    assert document["results"]["scenes"]["accuracy_stderr,none"] == 0.1
    assert document["results"]["scenes"]["accuracy_low,none"] == 0.25
    assert document["versions"] == {"scenes": 2}
    assert document["n-samples"] == {"scenes": {"original": 9, "effective": 8}}
    assert document["higher_is_better"] == {"scenes": {"accuracy": True, "spearman": True}}
    assert document["group_subtasks"] == {"scenes": []}
    assert document["n-shot"] == {"scenes": 0}
    assert document["config"]["model"] == document["model_name"] == "ict-hp-mini"
    assert document["config"]["model_args"] == "revision=abc"
    assert document["transformers_version"][0].isdigit()
    assert document["git_hash"] == git_commit()


def test_result_round_trip_through_json_text_is_equal() -> None:
    text = json.dumps(result_to_json(RESULT))
    assert result_from_json(json.loads(text)) == RESULT


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
metrics = st.builds(
    MetricValue,
    name=st.sampled_from(["accuracy", "spearman", "rate"]),
    filter=st.text(min_size=1, max_size=9),
    value=numbers,
    low=numbers,
    high=numbers,
    stderr=numbers,
    unit=st.sampled_from(["share", "correlation", "count", "number"]),
    num=st.integers(0, 10**6),
    note=st.text(max_size=9),
)


@given(
    st.lists(metrics, max_size=5, unique_by=lambda metric: (metric.name, metric.filter)),
)
def test_result_round_trip_any_metrics_is_equal(found: list[MetricValue]) -> None:
    result = replace(RESULT, metrics=tuple(found))
    assert result_from_json(json.loads(json.dumps(result_to_json(result)))) == result


def test_write_result_keeps_other_benchmarks_and_replaces_its_own(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    other = replace(RESULT, benchmark="pick-high")
    newer = replace(RESULT, num_groups=100)
    for result in (RESULT, other, newer):
        write_result(result, path)
    assert read_results(path) == (other, newer)
    with pytest.raises(DataError, match="2 results, expected 1"):
        result_from_json(json.loads(path.read_text()))


@pytest.mark.parametrize("text", ["{}", "[]", "nonsense", '{"results": {"a": {}}}'])
def test_read_results_other_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"results\.json"):
        read_results(path)
    with pytest.raises(DataError):
        write_result(RESULT, path)


def test_results_from_json_unknown_field_is_an_error() -> None:
    document = result_to_json(RESULT)
    document["metrics"]["scenes"][0]["colour"] = "red"
    with pytest.raises(DataError, match="colour"):
        results_from_json(document)


def test_samples_round_trip_is_equal(tmp_path: Path) -> None:
    groups = [
        GroupResult(
            id="g\u2028",
            prompt="ein roter W\u00fcrfel",
            sources=("s.png",),
            candidates=(
                CandidateResult(
                    image="a.png", rank=1, value=0.1, sigma=0.2, dimensions={"ict": 0.5}
                ),
                CandidateResult(image="b.png", generator="x", human=2.0, error="missing"),
            ),
            category="c",
            cluster="k",
            verdicts=(PairVerdict(first=0, second=1, outcomes=("first", None), errors=("cut",)),),
            correct=0.5,
        ),
        GroupResult(id="h", prompt="p", sources=(), candidates=()),
    ]
    path = tmp_path / "samples.jsonl"
    write_samples(groups, path)
    assert list(read_samples(path)) == groups


def test_read_samples_torn_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    write_samples([GroupResult(id="h", prompt="p", sources=(), candidates=())], path)
    path.write_text(path.read_text() + '{"id": "to', encoding="utf-8")
    with pytest.raises(DataError, match="Line 2 of"):
        list(read_samples(path))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_samples(tmp_path / "no.jsonl"))


@pytest.mark.parametrize(
    ("name", "folder"),
    [("ict-hp", "ict-hp"), ("runs/a b/best", "runs__a__b__best"), ("..", "_"), ("a:b", "a__b")],
)
def test_safe_name_is_one_folder(name: str, folder: str) -> None:
    assert safe_name(name) == folder
