"""One HTML page of what models reached on a benchmark, with plots and pictures of single groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

import visreward
from visreward.core.errors import UsageError
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.results import BenchResult, MetricValue
from visreward.evaluation.reports.agreement import Measured, measured
from visreward.evaluation.reports.calibration_plot import reliability_plot
from visreward.evaluation.reports.drawing import SERIES, Plot, save_plot
from visreward.evaluation.reports.gallery import Pictures, gallery_sections
from visreward.evaluation.reports.page import page_head, text
from visreward.evaluation.reports.plots import category_plot, margin_plot, overview_plot
from visreward.evaluation.reports.score_plots import confusion_plot, distribution_plot, human_plot
from visreward.evaluation.reports.tables import (
    metrics_section,
    paired_section,
    problems_section,
    published_section,
    section,
    settings_section,
    table,
)
from visreward.evaluation.reports.wording import (
    clipped,
    interval_text,
    key_of,
    metric_by_key,
    unit_text,
    value_text,
    words_of,
)
from visreward.scoring.text_output import text_output

MAX_MODELS: Final = len(SERIES)
"""Models on a page: as many as there are colours that can be told apart."""


def write_bench_report(
    results: Sequence[BenchResult],
    samples: Mapping[str, Sequence[GroupResult]],
    path: Path,
    pictures: Pictures,
) -> None:
    """Write one self-contained HTML page, below 10 MB, and its plots as PNG and SVG beside it.

    The page loads nothing from anywhere and runs no script. The same input makes the same bytes.
    Plots go to the folder `NAME-plots` beside the page `NAME.html`.

    Args:
        results: What each model reached on one version of one benchmark; of more than
            `MAX_MODELS`, the best are shown, and the page says so.
        samples: The answers of each model, by its name: the same groups in the same order. Without
            any, the page has numbers only.
        path: The page, replaced where it exists; its folder is made.
        pictures: Gives pictures: called with the place of a group and "source", or the place of a
            candidate. None where there is no picture.

    Raises:
        UsageError: if the results are of several benchmarks or versions, two models share a name,
            or the samples of a model are missing or are of other groups.
        MissingExtraError: if matplotlib or scipy is not installed.
        OSError: if a file cannot be written.
    """
    check_comparable(results)
    shown = sorted(results, key=_main_value, reverse=True)[:MAX_MODELS]
    shown = [result for result in results if result in shown]
    models = [measured(each, _answers(each, samples, results[0])) for each in shown if samples]
    path.parent.mkdir(parents=True, exist_ok=True)
    plots = _plots(shown, models, path.with_name(f"{path.stem}-plots"))
    parts = {
        "metrics": metrics_section(shown),
        "published": published_section(shown),
        "paired": paired_section(models),
        "problems": problems_section(shown),
        "plots": section("plots", "Plots", f'<div class="plots">\n{plots}</div>\n')
        if plots
        else "",
        "galleries": gallery_sections(models, pictures) if models else "",
        "settings": settings_section(shown),
    }
    with text_output(path) as page:
        page.write(_head(shown, len(results), _links(parts)))
        page.write(_key_numbers(shown))
        for part in parts.values():
            page.write(part)
        page.write(page_foot())


def check_comparable(results: Sequence[BenchResult]) -> None:
    """Stop unless results are of one version of one benchmark, by models of different names.

    Raises:
        UsageError: if they are not, or there is none.
    """
    if not results:
        raise UsageError("There are 0 results. Give one for each model.")
    first = results[0]
    for other in results[1:]:
        if other.benchmark != first.benchmark:
            raise UsageError(
                f"'{other.model}' was measured on '{other.benchmark}', but '{first.model}' on "
                f"'{first.benchmark}'. Compare results of one benchmark."
            )
        if other.version != first.version:
            raise UsageError(
                f"'{other.model}' was measured by version {other.version} of '{other.benchmark}', "
                f"but '{first.model}' by version {first.version}. Run the older one again."
            )
    names = [result.model for result in results]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"Two results are of '{twice}'. Give each model once.")


def page_foot(words: str = "") -> str:
    """Return the end of a page; `words` is HTML."""
    return f"""</main>
<footer>{words}Scores compare within one model and one revision only.
Made by visreward {visreward.__version__}.</footer>
</body>
</html>
"""


def bench_style() -> str:
    """Return the rules of pages about benchmarks, beside those of all pages."""
    folder = files("visreward.evaluation.reports")
    return folder.joinpath("bench.css").read_text(encoding="utf-8")


def plot_panel(plot: Plot, folder: Path | None) -> str:
    """Return a plot's part of a page: drawing, how to read it, and its numbers as a table."""
    rows = [[text(cell) for cell in row] for row in plot.rows]
    numbers = table([text(name) for name in plot.columns], rows, label=f"Numbers: {plot.title}")
    return (
        f'<div class="panel">\n<h3>{text(plot.title)}</h3>\n{save_plot(plot, folder)}'
        f'<p class="caption">{text(plot.caption)}</p>\n'
        f"<details><summary>Numbers</summary>\n{numbers}</details>\n</div>\n"
    )


def _main_value(result: BenchResult) -> float:
    value = result.metrics[0].value if result.metrics else None
    return float("-inf") if value is None else value


def _answers(
    result: BenchResult, samples: Mapping[str, Sequence[GroupResult]], first: BenchResult
) -> Sequence[GroupResult]:
    """Return a model's samples, or stop where they are missing or of other groups."""
    found, wanted = samples.get(result.model), samples.get(first.model)
    if found is None or wanted is None:
        name = result.model if found is None else first.model
        raise UsageError(f"There are no samples of '{name}'. Give the samples of every model.")
    if [group.id for group in found] != [group.id for group in wanted]:
        raise UsageError(
            f"The samples of '{result.model}' ({len(found)} groups) and '{first.model}' "
            f"({len(wanted)} groups) are not of the same groups in the same order. Run both on "
            "the same data."
        )
    return found


def _plots(results: Sequence[BenchResult], models: Sequence[Measured], folder: Path) -> str:
    makers = (
        reliability_plot,
        margin_plot,
        distribution_plot,
        confusion_plot,
        category_plot,
        human_plot,
    )
    plots = [overview_plot(results), *(make(models) for make in makers if models)]
    return "".join(plot_panel(plot, folder) for plot in plots if plot is not None)


def _head(results: Sequence[BenchResult], num_all: int, links: str) -> str:
    first = results[0]
    names = ", ".join(result.model for result in results)
    line = [f"<b>{text(clipped(names))}</b>", f"{first.num_groups:,} groups"]
    line.append(f"protocol version {first.version}")
    if num_all > len(results):
        line.append(f"the best {len(results)} of {num_all} models")
    return page_head(
        f"{first.benchmark}: {clipped(names, 100)}",
        heading=f"Benchmark {first.benchmark}",
        line=" · ".join(line),
        note=links,
        style=bench_style(),
    )


def _links(parts: Mapping[str, str]) -> str:
    words = {
        "metrics": "Metrics",
        "published": "Beside published rows",
        "paired": "Models against each other",
        "problems": "Problems found",
        "plots": "Plots",
        "settings": "How it was run",
    }
    links = "".join(f'<a href="#{name}">{words[name]}</a>' for name in words if parts[name])
    for name in ("agreement", "disagreement-0"):
        if f'id="{name}"' in parts["galleries"]:
            word = "Best agreement" if name == "agreement" else "Worst disagreement"
            links += f'<a href="#{name}">{word}</a>'
    return f'<nav aria-label="Parts of this page">{links}</nav>'


def _key_numbers(results: Sequence[BenchResult]) -> str:
    """Return the main metric of each model, large."""
    if not results[0].metrics:
        return ""
    key = key_of(results[0].metrics[0])
    cards = "".join(_key_number(result, metric_by_key(result, key), key) for result in results)
    return f'<ul class="key-numbers">\n{cards}</ul>\n'


def _key_number(result: BenchResult, metric: MetricValue | None, key: str) -> str:
    if metric is None or metric.value is None:
        value, interval = "–", "not defined" if metric is None else metric.note or "not defined"
    else:
        value = value_text(metric.value, metric.unit)
        value += f" <small>{unit_text(metric.unit)}</small>" if unit_text(metric.unit) else ""
        interval = interval_text(metric.low, metric.high, metric.unit)
        interval = f"95 % interval {interval}" if interval else "no interval"
    return (
        f'<li><span class="of">{text(clipped(result.model, 80))}</span><b>{value}</b>'
        f"<small>{text(words_of(key))}<br>{text(clipped(interval))}</small></li>\n"
    )
