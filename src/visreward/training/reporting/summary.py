"""What is said at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from visreward.training.config import TrainConfig
from visreward.training.reporting.journal import memory_gb


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What came of a run.

    Attributes:
        seconds: From the first step of this call to the end.
        num_steps: How many steps this call took.
        metrics: Of the last validation.
        primary: Name of the metric that chooses the best model.
        best: Its best value so far.
        skipped: How many rows of each split could not be read.
    """

    seconds: float
    num_steps: int
    metrics: Mapping[str, float]
    primary: str
    best: float | None
    skipped: Mapping[str, int]


def say_summary(console: Console, config: TrainConfig, summary: RunSummary) -> None:
    """Print the summary as a table."""
    table = Table(title=f"{config.model.name} is trained", title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    minutes, seconds = divmod(round(summary.seconds), 60)
    rate = summary.num_steps * config.optim.batch_size / max(summary.seconds, 1e-9)
    table.add_row(
        "steps",
        f"{config.optim.steps:,} in all, {summary.num_steps:,} in this run: {minutes} min "
        f"{seconds} s, {rate:.3g} rows/s",
    )
    for name, value in summary.metrics.items():
        best = ""
        if name == summary.primary and summary.best is not None:
            best = f" (best {summary.best:.4f}, in best/)"
        table.add_row(name.replace("_", " "), f"{value:.4f}{best}")
    skipped = ", ".join(f"{num} of {split}" for split, num in summary.skipped.items() if num)
    table.add_row("rows skipped", skipped or "none")
    table.add_row("most memory", f"{memory_gb():.1f} GB")
    table.add_row("model", str(config.output / "model"))
    console.print(table)
