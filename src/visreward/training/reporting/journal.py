"""What people see of a run while it goes on: a progress bar, and a JSONL log of every figure."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from visreward.training.checkpoints.storage import write_text
from visreward.training.config import TrainConfig
from visreward.training.objectives.base import StepOutput
from visreward.training.reporting.tracking import Tracker, open_trackers

LOG = "log.jsonl"
Shown = Callable[[int, int], None]


class Journal:
    """Show and write the figures of a run; silent in all processes but the main one."""

    def __init__(
        self, config: TrainConfig, *, console: Console, is_main: bool, first_step: int = 0
    ) -> None:
        """Prepare the progress bar; files are opened on entry.

        Args:
            config: What is trained.
            console: Where the bar is shown.
            is_main: Whether this process is the one that shows and writes.
            first_step: Steps done before; figures of later ones, which will come again, are
                taken out of the log.
        """
        self.config = config
        self.is_main = is_main
        self.console = console
        self.first_step = first_step
        self.progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TextColumn("accuracy {task.fields[accuracy]:.3f}{task.fields[margin]}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[memory]:.1f} GB"),
            console=console,
            disable=not is_main or not console.is_terminal,
        )
        self.task = self.progress.add_task(
            "train",
            total=config.optim.steps,
            completed=first_step,
            loss=float("nan"),
            accuracy=float("nan"),
            margin="",
            rate="",
            memory=0.0,
        )
        self.log: IO[str] | None = None
        self.trackers: list[Tracker] = []
        self._seconds: float | None = None

    def __enter__(self) -> Journal:
        if self.is_main:
            self.config.output.mkdir(parents=True, exist_ok=True)
            path = self.config.output / LOG
            _keep_until(path, self.first_step)
            self.log = path.open("a", encoding="utf-8")
            self.trackers = open_trackers(self.config, first_step=self.first_step)
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()
        if self.log is not None:
            self.log.close()
        for tracker in self.trackers:
            tracker.close()

    def step(
        self,
        step: int,
        output: StepOutput,
        *,
        learning_rate: float,
        grad_norm: float,
        num_images: int,
        num_processes: int,
        seconds: float,
    ) -> None:
        """Take in one training step.

        Args:
            step: How many are done.
            output: What this process computed.
            learning_rate: Of the step.
            grad_norm: Before clipping.
            num_images: Of this process.
            num_processes: All of which do as much.
            seconds: Since the step before, with the wait for its images.
        """
        if not self.is_main:
            return
        known = self._seconds
        self._seconds = seconds if known is None else 0.9 * known + 0.1 * seconds
        figures = {"loss": float(output.loss), "accuracy": float(output.accuracy)}
        if output.margin is not None and output.num_pairs:
            figures["margin"] = float(output.margin)
        figures |= {
            "learning_rate": learning_rate,
            "grad_norm": grad_norm,
            "images_per_s": num_images * num_processes / self._seconds,
        }
        if output.num_pairs:
            figures["pairs_per_s"] = output.num_pairs * num_processes / self._seconds
        figures["memory_gb"] = memory_gb()
        kind = "pairs" if output.num_pairs else "images"
        self.progress.update(
            self.task,
            completed=step,
            loss=figures["loss"],
            accuracy=figures["accuracy"],
            margin=f" margin {figures['margin']:+.3f}" if "margin" in figures else "",
            rate=f"{figures[f'{kind}_per_s']:.3g} {kind}/s",
            memory=figures["memory_gb"],
        )
        if step % self.config.log_every == 0 or step == self.config.optim.steps:
            self._write("train", step, figures)

    def validation(self, step: int, metrics: dict[str, float]) -> None:
        """Take in the metrics of one validation."""
        if not self.is_main:
            return
        self._write("validation", step, metrics)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        say(self.console, f"step {step}: {shown}")

    def _write(self, kind: str, step: int, figures: dict[str, float]) -> None:
        assert self.log is not None
        self.log.write(json.dumps({"kind": kind, "step": step, **figures}) + "\n")
        self.log.flush()
        for tracker in self.trackers:
            tracker.add({f"{kind}/{name}": value for name, value in figures.items()}, step)


def memory_gb() -> float:
    """Return the most memory that this process has held so far, in GB: of the GPU if it has one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _keep_until(log: Path, last_step: int) -> None:
    """Take the lines of later steps, and lines that were cut, out of a log."""
    if not log.is_file():
        return
    kept = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        with suppress(ValueError):
            if line.endswith("\n") and json.loads(line)["step"] <= last_step:
                kept.append(line)
    write_text(log, "".join(kept))


def say(console: Console, text: str) -> None:
    """Print a line as it is: unbroken, and with brackets that are no markup."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def shown(console: Console, title: str) -> Iterator[Shown]:
    """Show a progress bar for one piece of preparation, from its first report on.

    Of several processes only the one that does the work reports.
    """
    progress = Progress(
        TextColumn(title),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = progress.add_task(title, total=None)

    def report(done: int, total: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=total)

    try:
        yield report
    finally:
        progress.stop()
