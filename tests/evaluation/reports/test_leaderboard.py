"""The leaderboard: ranks, which of them are sure, and sorting without a script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visreward.core.errors import UsageError
from visreward.evaluation.benchmarks.results import BenchResult, MetricValue
from visreward.evaluation.reports.leaderboard import Standing, standings, write_leaderboard

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def metric(value: float | None, error: float | None = 0.01) -> MetricValue:
    return MetricValue(name="accuracy", value=value, stderr=error, num=100)


def result(model: str, benchmark: str, value: float | None, version: int = 1) -> BenchResult:
    return BenchResult(
        benchmark=benchmark,
        version=version,
        model=model,
        revision="r1",
        metrics=(metric(value),),
        num_groups=100,
        num_counted=100,
    )


@pytest.fixture
def board(tmp_path: Path) -> Path:
    values = {
        "small": {"low": 0.5, "middle": 0.6, "high": 0.8},
        "large": {"low": 0.9, "middle": 0.6, "high": 0.605},
    }
    results = [
        result(model, name, value)
        for name, column in values.items()
        for model, value in column.items()
    ]
    path = tmp_path / "board.html"
    write_leaderboard([*results, result("lone", "small", 0.99)], path)
    return path


def test_standings_models_within_their_errors_share_a_range() -> None:
    # 1.96 sqrt(2) 0.01 = 0.0277 is what two models must be apart.
    found = standings({"a": metric(0.9), "b": metric(0.88), "c": metric(0.86), "d": metric(0.5)})
    assert found == {
        "a": Standing(rank=1, best=1, worst=2),
        "b": Standing(rank=2, best=1, worst=3),
        "c": Standing(rank=3, best=2, worst=3),
        "d": Standing(rank=4, best=4, worst=4),
    }
    assert found["d"].is_sure
    assert not found["a"].is_sure


def test_standings_equal_values_share_a_rank() -> None:
    found = standings({"a": metric(0.9), "b": metric(0.9), "c": metric(0.1)})
    assert [found[name].rank for name in "abc"] == [1, 1, 3]


def test_standings_without_an_error_nothing_is_sure_and_without_a_value_nothing_stands() -> None:
    found = standings({"a": metric(0.9, None), "b": metric(0.1, None), "c": metric(None)})
    assert found == {"a": Standing(rank=1, best=1, worst=2), "b": Standing(rank=2, best=1, worst=2)}


def test_standings_an_interval_stands_in_for_a_missing_error() -> None:
    wide = MetricValue(name="accuracy", value=0.9, low=0.5, high=1.0)
    found = standings({"a": wide, "b": metric(0.8)})
    assert not found["a"].is_sure


def test_leaderboard_marks_ranks_that_are_open_and_benchmarks_not_run(board: Path) -> None:
    text = board.read_text(encoding="utf-8")
    rows = re.findall(r'scope="row">(\w+)</th>.*?<b>([\d.]+)</b>(.*?)</tr>', text)
    assert [(name, mean) for name, mean, _ in rows] == [
        ("high", "2.00"),
        ("low", "2.50"),
        ("middle", "3.00"),
        ("lone", "1.00"),
    ]
    cells = {name: cell for name, _, cell in rows}
    assert '<span class="open">rank 2 to 3</span>' in cells["high"]
    assert "<small>rank 1</small>" in cells["low"]
    assert "1 of 2 benchmarks" in cells["lone"]
    assert "not run" in cells["lone"]


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ([], "0 results"),
        ([result("a", "x", 0.5), result("b", "x", 0.5, version=2)], "by version 2 of 'x'"),
        ([result("a", "x", 0.5), result("a", "x", 0.6)], "Two results are of 'a' on 'x'"),
    ],
)
def test_leaderboard_results_that_do_not_compare_are_refused(
    tmp_path: Path, results: list[BenchResult], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        write_leaderboard(results, tmp_path / "board.html")


def test_leaderboard_names_from_strangers_are_escaped(tmp_path: Path) -> None:
    evil = "</style><script>alert(1)</script>"
    write_leaderboard([result(evil, evil, 0.5)], tmp_path / "board.html")
    assert "<script" not in (tmp_path / "board.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_leaderboard_in_a_browser_sorts_by_the_chosen_column(
    browser: Browser, board: Path, width: int, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(board.as_uri())

    def order() -> list[str]:
        names: list[str] = page.evaluate(
            "[...document.querySelectorAll('tbody th')]"
            ".sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)"
            ".map(cell => cell.textContent)"
        )
        return names

    assert order() == ["high", "low", "middle", "lone"]
    page.get_by_label("small").check()
    assert order() == ["lone", "high", "middle", "low"]
    page.get_by_label("large").check()
    assert order() == ["low", "high", "middle", "lone"]
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
