"""The training loop, the same for every objective."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.console import Console
from torch import Tensor

from visreward.core.errors import NonFiniteError, UsageError
from visreward.models.weights import save_native
from visreward.training.checkpoint import TrainState, load_checkpoint, save_checkpoint
from visreward.training.config import TrainConfig
from visreward.training.feeds import Batch, Feed
from visreward.training.journal import Journal
from visreward.training.objectives import Objective, StepOutput
from visreward.training.optim import count_parameters, make_optimizer, make_schedule

WEIGHTS_DTYPES = {"float32": torch.float32, "float16": torch.float16}


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Return accelerate's view of this process, its device and its precision."""
    return Accelerator(
        cpu=config.device == "cpu" or (config.device == "auto" and not torch.cuda.is_available()),
        mixed_precision="bf16" if config.precision == "bfloat16" else "no",
    )


class Trainer:
    """Run one configuration from its last checkpoint to its last step."""

    def __init__(
        self,
        config: TrainConfig,
        objective: Objective,
        *,
        train_feed: Feed,
        validation_feed: Feed,
        accelerator: Accelerator,
        console: Console,
    ) -> None:
        self.config = config
        self.train_feed = train_feed
        self.validation_feed = validation_feed
        self.accelerator = accelerator
        self.console = console
        self.objective = objective
        set_seed(config.seed)
        optimizer = make_optimizer(objective, config.optim)
        self.state = TrainState(
            module=objective, optimizer=optimizer, schedule=make_schedule(optimizer, config.optim)
        )
        objective.to(accelerator.device)
        self.resumed = load_checkpoint(self.state, config.output)
        # accelerate wraps for DDP, FSDP or DeepSpeed; the state keeps the bare module.
        self.wrapped, self.optimizer = accelerator.prepare(objective, optimizer)
        self._check_shares()

    def _check_shares(self) -> None:
        parts = self.accelerator.num_processes * self.config.optim.accumulation
        if self.config.optim.batch_size % parts:
            raise UsageError(
                f"optim.batch_size {self.config.optim.batch_size} is not a multiple of "
                f"{self.accelerator.num_processes} process(es) x {self.config.optim.accumulation} "
                "accumulation steps. Choose a multiple."
            )

    def run(self) -> dict[str, float]:
        """Train to the last step; return the last validation metrics.

        Raises:
            NonFiniteError: if a loss or a gradient is NaN or infinite, before the step is taken.
        """
        config = self.config
        trained, frozen = count_parameters(self.objective)
        self._say(
            f"{config.model.name}: {trained / 1e6:.2f} M parameters trained, {frozen / 1e6:.2f} M "
            f"frozen, {len(self.train_feed.usable)} rows, {config.optim.steps} steps of "
            f"{config.optim.batch_size} rows, {self.accelerator.num_processes} process(es) on "
            f"{self.accelerator.device}"
            + (f", resumed at step {self.state.step}" if self.resumed else "")
        )
        metrics: dict[str, float] = {}
        with Journal(
            config, console=self.console, is_main=self.accelerator.is_main_process
        ) as journal:
            for batch in self._batches():
                started = time.perf_counter()
                output, rate, norm = self._step(batch)
                journal.step(
                    self.state.step,
                    loss=output.loss,
                    accuracy=output.accuracy,
                    learning_rate=rate,
                    grad_norm=norm,
                    num_images=self._images_per_step(),
                    seconds=time.perf_counter() - started,
                )
                is_last = self.state.step == config.optim.steps
                if is_last or self.state.step % config.validate_every == 0:
                    metrics = self.validate()
                    journal.validation(self.state.step, metrics)
                    self._keep_best(metrics)
                if is_last or self.state.step % config.save_every == 0:
                    self._save_last()
        if not metrics:
            metrics = self.validate()
        return metrics

    def _batches(self) -> Iterator[Batch]:
        workers = 0 if self.config.data.cache_pixels else self.config.data.num_workers
        return self.train_feed.steps(self.state.step, self.config.optim.steps, num_workers=workers)

    def _images_per_step(self) -> int:
        return self.config.optim.batch_size * len(self.train_feed.rows[0].images)

    def _step(self, batch: Batch) -> tuple[StepOutput, float, float]:
        """Take one optimizer step; return what it said, its learning rate and gradient norm."""
        self.wrapped.train()
        self.optimizer.zero_grad()
        parts = batch.split(self.config.optim.accumulation)
        losses, accuracies = [], []
        for part in parts:
            with self.accelerator.autocast():
                output = self.wrapped(part)
            self._require_finite(output.loss, part)
            self.accelerator.backward(output.loss / len(parts))
            losses.append(output.loss.detach())
            accuracies.append(output.accuracy)
        limit = self.config.optim.grad_clip
        norm = self.accelerator.clip_grad_norm_(
            self.wrapped.parameters(), float("inf") if limit is None else limit
        )
        self._require_finite(norm, batch)
        rate = float(self.state.schedule.get_last_lr()[0])
        self.optimizer.step()
        self.state.schedule.step()
        self.objective.after_step()
        self.state.step += 1
        mean = StepOutput(loss=torch.stack(losses).mean(), accuracy=torch.stack(accuracies).mean())
        return mean, rate, float(norm)

    def _require_finite(self, value: Tensor, batch: Batch) -> None:
        if torch.isfinite(value).all():
            return
        raise NonFiniteError(
            f"Loss or gradient is {value.item()} at step {self.state.step + 1}, rows "
            f"{batch.row_ids.tolist()}. No step was taken; the last checkpoint is intact. "
            "Lower optim.learning_rate, or use precision=float32."
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return each validation metric's mean over the validation rows."""
        self.objective.eval()
        sums: dict[str, Tensor] = {}
        num_rows = 0
        feed = self.validation_feed
        for batch in feed.steps(0, feed.batches_per_epoch):
            with self.accelerator.autocast():
                indicators = self.objective.validate(batch)
            num_rows += len(batch.prompts)
            for name, values in indicators.items():
                sums[name] = sums.get(name, torch.zeros(())) + values.sum().cpu()
        return {name: float(total) / num_rows for name, total in sums.items()}

    def _keep_best(self, metrics: dict[str, float]) -> None:
        value = metrics[self.objective.primary]
        if self.state.best is not None and value <= self.state.best:
            return
        self.state.best = value
        if self.accelerator.is_main_process:
            self.save_model(self.config.output / "best")

    def _save_last(self) -> None:
        if self.accelerator.is_main_process:
            save_checkpoint(self.state, self.config.output)
        self.accelerator.wait_for_everyone()

    def save_model(self, folder: Path) -> None:
        """Write the model as a native folder."""
        save_native(self.objective.model, folder, dtype=WEIGHTS_DTYPES[self.config.weights_dtype])

    def _say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            self.console.print(text, highlight=False)
