"""Pages from results on disk, as the command line makes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from visreward.cli.main import app
from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult
from visreward.evaluation.benchmarks.result_files import (
    RESULTS_FILE,
    samples_file,
    write_result,
    write_samples,
)
from visreward.evaluation.benchmarks.results import BenchResult, MetricValue
from visreward.evaluation.reports.comparison import read_runs

GROUPS = tuple(
    GroupResult(
        id=f"g{number}",
        prompt=f"prompt {number}",
        sources=("source.png",),
        candidates=(
            CandidateResult(image="a.png", rank=1, value=float(number)),
            CandidateResult(image="b.png", rank=2, value=3.5),
        ),
        correct=float(number > 3),
    )
    for number in range(8)
)


def result(model: str, benchmark: str = "toys", *, version: int = 1) -> BenchResult:
    return BenchResult(
        benchmark=benchmark,
        version=version,
        model=model,
        revision="r1",
        metrics=(MetricValue(name="accuracy", value=0.5, low=0.4, high=0.6, num=8),),
        num_groups=8,
        num_counted=8,
    )


def saved(folder: Path, *results: BenchResult, has_samples: bool = True) -> str:
    folder.mkdir()
    for each in results:
        write_result(each, folder / RESULTS_FILE)
        if has_samples:
            write_samples(GROUPS, folder / samples_file(each.benchmark))
    return str(folder / RESULTS_FILE)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments])


def test_report_compares_runs_with_plots_and_pictures(tmp_path: Path) -> None:
    for name in ("a", "b", "source"):
        Image.new("RGB", (20, 20), "red").save(tmp_path / f"{name}.png")
    files = [saved(tmp_path / name, result(name)) for name in ("one", "two")]
    page = tmp_path / "page.html"
    done = run(*files, "--output", str(page), "--images", str(tmp_path))
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    assert "Models against each other" in text
    assert "data:image/jpeg" in text
    assert (tmp_path / "page-plots" / "scores.png").is_file()


def test_report_samples_that_are_missing_are_named_and_numbers_shown(tmp_path: Path) -> None:
    files = [
        saved(tmp_path / "one", result("one")),
        saved(tmp_path / "two", result("two"), has_samples=False),
    ]
    page = tmp_path / "page.html"
    done = run(*files, "--output", str(page))
    assert done.exit_code == 0
    assert "No samples of two" in done.output
    assert "Score distributions" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("second", "options", "sentence"),
    [
        (result("two", "others"), [], "2 benchmarks: others, toys"),
        (result("two", "others"), ["--benchmark", "none"], "0 results of 'none'"),
        (result("two", version=2), [], "by version 2 of 'toys'"),
        (result("two"), ["--leaderboard", "--benchmark", "toys"], "leave one of them out"),
    ],
)
def test_report_runs_that_do_not_compare_are_refused(
    tmp_path: Path, second: BenchResult, options: list[str], sentence: str
) -> None:
    files = [saved(tmp_path / "one", result("one")), saved(tmp_path / "two", second)]
    page = tmp_path / "page.html"
    done = run(*files, *options, "--output", str(page))
    assert done.exit_code == 2
    assert sentence in " ".join(done.output.split())
    assert not page.exists()


def test_report_chooses_a_benchmark_among_several(tmp_path: Path) -> None:
    files = [
        saved(tmp_path / name, result(name), result(name, "others")) for name in ("one", "two")
    ]
    page = tmp_path / "page.html"
    assert run(*files, "--benchmark", "others", "--output", str(page)).exit_code == 0
    assert "Benchmark others" in page.read_text(encoding="utf-8")


def test_report_leaderboard_shows_all_benchmarks(tmp_path: Path) -> None:
    files = [saved(tmp_path / "one", result("one"), result("one", "others"))]
    page = tmp_path / "page.html"
    assert run(*files, "--leaderboard", "--output", str(page)).exit_code == 0
    assert "<b>1</b> model · <b>2</b> benchmarks" in page.read_text(encoding="utf-8")


def test_report_file_of_another_kind_is_named(tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text("{}", encoding="utf-8")
    done = run(str(file), "--output", str(tmp_path / "page.html"))
    assert done.exit_code == 2
    assert "other.json" in done.output


def test_read_runs_of_one_model_are_told_apart_by_revision_then_by_folder(tmp_path: Path) -> None:
    given = {"a": result("toy"), "b": replace(result("toy"), revision="r2"), "c": result("toy")}
    files = [Path(saved(tmp_path / name, each)) for name, each in given.items()]
    names = [run.result.model for run in read_runs(files)]
    assert names == ["toy (r1) (a)", "toy (r2)", "toy (r1) (c)"]
    assert [run.result.model for run in read_runs(files[:2])] == ["toy (r1)", "toy (r2)"]
