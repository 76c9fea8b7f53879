"""Results on disk: `results.json` of a model, and a line a group in `samples_{benchmark}.jsonl`.

`results.json` has the sections of lm-evaluation-harness 0.4, each by benchmark: `results`,
`group_subtasks`, `configs`, `versions`, `n-shot`, `n-samples`, `higher_is_better`, and beside them
`model_name`, `date`, `git_hash`, `transformers_version` and `config` of the latest run. Ours are
`metrics` (unit, number of answers and note of each number), `problems` and `published`. A file
holds all benchmarks that a model was run on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from visreward import __version__
from visreward.core.errors import DataError
from visreward.core.source_commit import git_commit
from visreward.core.whole_files import whole_file
from visreward.data.base import Problem
from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult, PairVerdict
from visreward.evaluation.benchmarks.results import BenchResult, MetricValue, PublishedRow

RESULTS_FILE: Final = "results.json"

_SECTIONS: Final = (
    "results",
    "configs",
    "versions",
    "n-samples",
    "higher_is_better",
    "metrics",
    "problems",
    "published",
)
_SAME_FOR_ALL: Final[Mapping[str, Any]] = {"group_subtasks": [], "n-shot": 0}  # JSON values
"""Sections of lm-evaluation-harness in which all our benchmarks say the same."""

_MODEL_ARGUMENTS: Final = ("dtype", "attention", "batch_invariant")

_UNSAFE: Final = re.compile(r"[\"<>:/\\|?*\[\]\s]+")


def safe_name(name: str) -> str:
    """Return the name of a model as that of a folder, as lm-evaluation-harness does."""
    return _UNSAFE.sub("__", name).strip(".") or "_"


def samples_file(benchmark: str) -> str:
    """Return the name of the file of groups of a benchmark."""
    return f"samples_{benchmark}.jsonl"


def result_to_json(result: BenchResult) -> dict[str, Any]:  # JSON values
    """Return the document of one result; `result_from_json` undoes it."""
    name = result.benchmark
    numbers: dict[str, float | str | None] = {"alias": name}
    for metric in result.metrics:
        numbers[_key(metric)] = metric.value
        for part in ("stderr", "low", "high"):
            numbers[_key(metric, part)] = getattr(metric, part)
    own: dict[str, Any] = {
        "results": numbers,
        "configs": {
            "task": name,
            "revision": result.revision,
            "date": result.date,
            "run": dict(result.config),
        },
        "versions": result.version,
        "n-samples": {"original": result.num_groups, "effective": result.num_counted},
        "higher_is_better": {
            metric.name: True
            for metric in result.metrics
            if metric.unit in ("share", "correlation")
        },
        "metrics": [
            {
                "name": metric.name,
                "filter": metric.filter,
                "unit": metric.unit,
                "num": metric.num,
                "note": metric.note,
            }
            for metric in result.metrics
        ],
        "problems": [
            {**asdict(problem), "examples": list(problem.examples)} for problem in result.problems
        ],
        "published": [
            {"model": row.model, "values": dict(row.values), "source": row.source}
            for row in result.published
        ],
    }
    sections = {section: {name: own[section]} for section in _SECTIONS}
    sections |= {section: {name: value} for section, value in _SAME_FOR_ALL.items()}
    arguments = [f"{key}={result.config[key]}" for key in _MODEL_ARGUMENTS if key in result.config]
    return sections | {
        "model_source": "visreward",
        "model_name": result.model,
        "model_name_sanitized": safe_name(result.model),
        "config": {
            "model": result.model,
            "model_args": ",".join((f"revision={result.revision}", *arguments)),
            **result.config,
        },
        "date": result.date,
        "git_hash": git_commit(),
        "visreward_version": __version__,
        "transformers_version": version("transformers"),
    }


def results_from_json(document: Mapping[str, Any]) -> tuple[BenchResult, ...]:  # JSON values
    """Return all results of a document, in its order.

    Raises:
        DataError: if it is no document of results; it names what is missing.
    """
    try:
        return tuple(_result(document, name) for name in document["results"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"This is no file of results: {type(error).__name__}: {error}. Give a results.json "
            "that 'visreward bench' wrote."
        ) from error


def result_from_json(document: Mapping[str, Any]) -> BenchResult:  # JSON values
    """Return the only result of a document.

    Raises:
        DataError: if it is no document of results, or holds another number of them.
    """
    results = results_from_json(document)
    if len(results) != 1:
        raise DataError(
            f"The document holds {len(results)} results, expected 1. Read it with "
            "results_from_json."
        )
    return results[0]


def _result(document: Mapping[str, Any], name: str) -> BenchResult:
    own = {section: document[section][name] for section in _SECTIONS}
    numbers, config = own["results"], own["configs"]
    return BenchResult(
        benchmark=name,
        version=own["versions"],
        model=document["model_name"],
        revision=config["revision"],
        metrics=tuple(_metric(numbers, details) for details in own["metrics"]),
        num_groups=own["n-samples"]["original"],
        num_counted=own["n-samples"]["effective"],
        problems=tuple(
            Problem(**{**each, "examples": tuple(each["examples"])}) for each in own["problems"]
        ),
        published=tuple(PublishedRow(**row) for row in own["published"]),
        config=config["run"],
        date=config["date"],
    )


def _metric(numbers: Mapping[str, Any], details: Mapping[str, Any]) -> MetricValue:
    bare = MetricValue(value=None, **details)
    return MetricValue(
        value=numbers[_key(bare)],
        low=numbers[_key(bare, "low")],
        high=numbers[_key(bare, "high")],
        stderr=numbers[_key(bare, "stderr")],
        **details,
    )


def _key(metric: MetricValue, part: str = "") -> str:
    return f"{metric.name}{'_' if part else ''}{part},{metric.filter}"


def read_results(path: Path) -> tuple[BenchResult, ...]:
    """Return all results of a file.

    Raises:
        DataError: if it cannot be read, or is no file of results.
    """
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read as results: {error}. Check the path.") from error
    try:
        return results_from_json(document)
    except DataError as error:
        raise DataError(f"'{path}': {error}") from error


def write_result(result: BenchResult, path: Path) -> None:
    """Write a result, beside those of other benchmarks that the file holds already.

    Raises:
        DataError: if there is a file of another kind.
    """
    others = [
        other
        for other in (read_results(path) if path.exists() else ())
        if (other.benchmark, other.model) != (result.benchmark, result.model)
    ]
    document = result_to_json(result)
    for other in others:
        earlier = result_to_json(other)
        for section in (*_SECTIONS, *_SAME_FOR_ALL):
            document[section] |= earlier[section]
    for section in (*_SECTIONS, *_SAME_FOR_ALL):
        document[section] = dict(sorted(document[section].items()))
    with whole_file(path) as part:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2)
        part.write_text(text + "\n", encoding="utf-8")


def write_samples(results: Iterable[GroupResult], path: Path) -> None:
    """Write groups, one a line; the file appears whole or not at all."""
    with whole_file(path) as part, part.open("w", encoding="utf-8") as stream:
        for result in results:
            stream.write(json.dumps(asdict(result), ensure_ascii=False, allow_nan=False) + "\n")


def read_samples(path: Path) -> Iterator[GroupResult]:
    """Yield the groups that `write_samples` wrote.

    Raises:
        DataError: at a line that is no group; it names the line.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                yield _group_result(line, f"Line {number} of '{path}'")
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}. Check the path.") from error


def _group_result(line: str, place: str) -> GroupResult:
    try:
        values = json.loads(line)
        values["sources"] = tuple(values["sources"])
        values["candidates"] = tuple(CandidateResult(**each) for each in values["candidates"])
        values["verdicts"] = tuple(
            PairVerdict(
                **{
                    **each,
                    "outcomes": tuple(each["outcomes"]),
                    "errors": tuple(each["errors"]),
                }
            )
            for each in values["verdicts"]
        )
        return GroupResult(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{place} is no group of a sample file: {type(error).__name__}: {error}. Run the "
            "benchmark again."
        ) from error
