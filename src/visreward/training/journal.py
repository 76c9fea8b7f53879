"""What people see of a run: a progress bar, TensorBoard, and a JSONL log of every figure."""

from __future__ import annotations

import json
from types import TracebackType
from typing import IO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from visreward.training.config import TrainConfig


class Journal:
    """Show and write the figures of a run; silent in all processes but the main one."""

    def __init__(self, config: TrainConfig, *, console: Console, is_main: bool) -> None:
        self.config = config
        self.is_main = is_main
        self.console = console
        self.progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TextColumn("accuracy {task.fields[accuracy]:.3f}"),
            TextColumn("{task.fields[rate]:.0f} images/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not is_main or not console.is_terminal,
        )
        self.task = self.progress.add_task(
            "train", total=config.optim.steps, loss=float("nan"), accuracy=float("nan"), rate=0.0
        )
        self.log: IO[str] | None = None
        self.board: SummaryWriter | None = None
        self._images_per_s = 0.0

    def __enter__(self) -> Journal:
        if self.is_main:
            self.config.output.mkdir(parents=True, exist_ok=True)
            self.log = (self.config.output / "log.jsonl").open("a", encoding="utf-8")
            self.board = SummaryWriter(str(self.config.output / "tensorboard"))
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
        if self.board is not None:
            self.board.close()

    def step(
        self,
        step: int,
        *,
        loss: Tensor,
        accuracy: Tensor,
        learning_rate: float,
        grad_norm: float,
        num_images: int,
        seconds: float,
    ) -> None:
        """Take in one training step."""
        if not self.is_main:
            return
        rate = num_images / seconds
        self._images_per_s = rate if step <= 1 else 0.9 * self._images_per_s + 0.1 * rate
        self.progress.update(
            self.task,
            completed=step,
            loss=float(loss),
            accuracy=float(accuracy),
            rate=self._images_per_s,
        )
        if step % self.config.log_every == 0 or step == self.config.optim.steps:
            figures = {
                "loss": float(loss),
                "accuracy": float(accuracy),
                "learning_rate": learning_rate,
                "grad_norm": grad_norm,
                "images_per_s": self._images_per_s,
            }
            self._write("train", step, figures)

    def validation(self, step: int, metrics: dict[str, float]) -> None:
        """Take in the metrics of one validation."""
        if not self.is_main:
            return
        self._write("validation", step, metrics)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self.console.print(f"step {step}: {shown}", highlight=False)

    def _write(self, kind: str, step: int, figures: dict[str, float]) -> None:
        assert self.log is not None
        assert self.board is not None
        self.log.write(json.dumps({"kind": kind, "step": step, **figures}) + "\n")
        self.log.flush()
        for name, value in figures.items():
            self.board.add_scalar(f"{kind}/{name}", value, step)
