"""Pages from results on disk: several runs of one benchmark, or all models on all benchmarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from visreward.core.errors import UsageError
from visreward.core.types import ImageSource
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.result_files import read_results, read_samples, samples_file
from visreward.evaluation.benchmarks.results import BenchResult
from visreward.evaluation.reports.bench_report import check_comparable, write_bench_report
from visreward.evaluation.reports.gallery import Place
from visreward.evaluation.reports.leaderboard import write_leaderboard


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A result, and the file that it was read from.

    Attributes:
        result: Of one model on one benchmark.
        file: Its `results.json`; samples lie beside it.
    """

    result: BenchResult
    file: Path


def read_runs(files: Sequence[Path]) -> list[Run]:
    """Return all results of some files.

    Runs of one model on one benchmark are told apart by their revisions, or by their folders
    where those are equal too.

    Raises:
        DataError: if a file is no file of results.
    """
    runs = [Run(result=result, file=file) for file in files for result in read_results(file)]
    runs = _told_apart(runs, [run.result.revision for run in runs])
    return _told_apart(runs, [run.file.absolute().parent.name for run in runs])


def compare_runs(
    runs: Sequence[Run], path: Path, *, benchmark: str | None = None, images: Path | None = None
) -> tuple[str, ...]:
    """Write a page of several runs of one benchmark.

    Args:
        runs: Of any benchmarks.
        path: The page; plots go beside it.
        benchmark: Whose results are compared; None takes the only one there is.
        images: The folder that names of images start at; None takes the working folder.

    Returns:
        Models whose samples are missing; then the page has no plots or pictures of answers.

    Raises:
        UsageError: if there are results of several benchmarks and none is chosen, none of the
            one that is, or results cannot be compared.
        DataError: if a file of samples cannot be read.
    """
    chosen = _of_benchmark(runs, benchmark)
    results = [run.result for run in chosen]
    check_comparable(results)
    files = {
        run.result.model: run.file.parent / samples_file(run.result.benchmark) for run in chosen
    }
    missing = tuple(model for model, file in files.items() if not file.is_file())
    samples: dict[str, tuple[GroupResult, ...]] = {}
    if not missing:
        samples = {model: tuple(read_samples(file)) for model, file in files.items()}
    first = samples.get(results[0].model, ())

    def picture(group: int, place: Place) -> ImageSource | None:
        names = (
            first[group].sources if place == "source" else (first[group].candidates[place].image,)
        )
        file = (images or Path()) / names[0] if names else None
        return file if file is not None and file.is_file() else None

    write_bench_report(results, samples, path, picture)
    return missing


def rank_runs(runs: Sequence[Run], path: Path) -> None:
    """Write a leaderboard of all runs; arguments and errors are those of `write_leaderboard`."""
    write_leaderboard([run.result for run in runs], path)


def _told_apart(runs: Sequence[Run], labels: Sequence[str]) -> list[Run]:
    """Return runs with a label behind the names of models that two of one benchmark share."""
    keys = [(run.result.benchmark, run.result.model) for run in runs]
    times = Counter(keys)
    return [
        replace(run, result=replace(run.result, model=f"{run.result.model} ({label})"))
        if times[key] > 1 and label
        else run
        for run, key, label in zip(runs, keys, labels, strict=True)
    ]


def _of_benchmark(runs: Sequence[Run], benchmark: str | None) -> list[Run]:
    names = sorted({run.result.benchmark for run in runs})
    if benchmark is None and len(names) > 1:
        raise UsageError(
            f"The results are of {len(names)} benchmarks: {', '.join(names)}. Choose one with "
            "--benchmark NAME, or show all with --leaderboard."
        )
    chosen = [run for run in runs if benchmark in (None, run.result.benchmark)]
    if not chosen:
        raise UsageError(
            f"There are 0 results of '{benchmark}', but of: {', '.join(names) or 'none'}. Choose "
            "one of those."
        )
    return chosen
