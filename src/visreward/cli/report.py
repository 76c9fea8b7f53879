"""visreward report: pages from results of benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS.json...", help="Files that 'visreward bench' wrote."),
    ],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The HTML page to write.")
    ] = Path("report.html"),
    benchmark: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which benchmark, where the files hold several."),
    ] = None,
    leaderboard: Annotated[
        bool, typer.Option("--leaderboard", help="Rank all models on all benchmarks instead.")
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the images are that samples name."),
    ] = None,
) -> None:
    """Compare results of one benchmark on one HTML page, or rank models over all benchmarks."""
    from visreward.cli.console import notes_console
    from visreward.core.errors import UsageError
    from visreward.evaluation.reports.comparison import compare_runs, rank_runs, read_runs

    if leaderboard and benchmark is not None:
        raise UsageError(
            f"--leaderboard and --benchmark {benchmark} are both given. A leaderboard shows all "
            "benchmarks: leave one of them out."
        )
    runs = read_runs(files)
    console = notes_console()
    if leaderboard:
        rank_runs(runs, output)
    else:
        for model in compare_runs(runs, output, benchmark=benchmark, images=images):
            console.print(
                f"No samples of {model} beside its results: no plots of answers.", markup=False
            )
    console.print(f"Wrote {output}", markup=False)
