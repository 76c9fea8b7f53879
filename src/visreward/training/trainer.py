"""The training loop, the same for every objective."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from rich.console import Console
from torch import Tensor

from visreward.core.errors import DataError, NonFiniteError, UsageError
from visreward.training.checkpoints.culprits import name_culprits
from visreward.training.checkpoints.keeper import Keeper, storing_run
from visreward.training.checkpoints.state import take_weights
from visreward.training.checkpoints.stop import StopSignals, stopped_error
from visreward.training.config import TrainConfig
from visreward.training.data.batches import Batch
from visreward.training.data.feeds import Feed
from visreward.training.distributed.processes import launch_warning
from visreward.training.distributed.strategies import make_parallel
from visreward.training.objectives.base import Objective, StepOutput
from visreward.training.objectives.step_shares import with_shares
from visreward.training.optim import set_rate
from visreward.training.reporting.journal import Journal, say
from visreward.training.reporting.pictures import shown_rows, write_pictures


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
        self.row_margins: dict[int, float] = {}
        objective.to(accelerator.device)
        self.signals = StopSignals(self._say)
        self.keeper = Keeper(config, accelerator)
        found, source = self.keeper.read(self._say), str(config.output)
        self.resumed = found is not None
        if found is not None:
            take_weights(objective, found, source=source)
        self.parallel = make_parallel(objective, config, accelerator)
        self.wrapped, self.state = self.parallel.module, self.parallel.state
        if found is not None:
            self.state.take(found, source=source)
            train_feed.count_skipped(found.skipped)
        self._check_steps()

    def _check_steps(self) -> None:
        if self.state.step > self.config.optim.steps:
            raise UsageError(
                f"The run in {self.config.output} is at step {self.state.step}, past optim.steps "
                f"{self.config.optim.steps}. Raise optim.steps, or give another output=FOLDER."
            )

    def run(self) -> dict[str, float]:
        """Train to the last step; return the last validation metrics.

        Raises:
            NonFiniteError: if a loss or a gradient is NaN or infinite, before the step is taken.
            DataError: if more images than `max_skip_fraction` allows cannot be read.
            StorageError: if the disk takes no more; the last checkpoint is intact.
            StoppedError: if SIGTERM or SIGINT asked for it, when the state is saved.
        """
        config = self.config
        self._announce()
        journal = Journal(
            config,
            console=self.console,
            is_main=self.accelerator.is_main_process,
            first_step=self.state.step,
        )
        with self.signals, storing_run(config), journal:
            self.wrapped.train()
            # A validation that a stop cut short.
            metrics = self._validate_if_due(journal)
            started = time.perf_counter()
            for batch in self.train_feed.steps(self.state.step, config.optim.steps):
                output, rate, norm = self._step(self._readable(batch))
                journal.step(
                    self.state.step,
                    output,
                    learning_rate=rate,
                    grad_norm=norm,
                    num_images=batch.num_images,
                    num_processes=self.accelerator.num_processes,
                    seconds=time.perf_counter() - started,
                )
                self._stop_if_asked()
                metrics = self._validate_if_due(journal)
                if self._is_due(config.save_every):
                    self._save_checkpoint()
                started = time.perf_counter()
        return metrics or self.validate()

    def _is_due(self, every: int) -> bool:
        return self.state.step == self.config.optim.steps or self.state.step % every == 0

    def _validate_if_due(self, journal: Journal) -> dict[str, float]:
        if self.state.step == self.state.validated or not self._is_due(self.config.validate_every):
            return {}
        metrics = self.validate()
        journal.validation(self.state.step, metrics)
        self.state.validated = self.state.step
        self._draw(metrics)
        self._keep_best(metrics)
        return metrics

    def _stop_if_asked(self) -> None:
        """Save and stop where a signal asked for it, of one process or of all.

        Raises:
            StoppedError: if so, in all processes.
        """
        asked = torch.tensor([self.signals.asked], device=self.accelerator.device)
        number = int(self.accelerator.gather(asked).max())
        if number:
            self._save_checkpoint()
            raise stopped_error(number, step=self.state.step)

    def _announce(self) -> None:
        warning = launch_warning(os.environ, self.accelerator.num_processes)
        if warning is not None:
            self._say(warning)
        trained, frozen = self.parallel.counts
        self._say(
            f"{self.config.model.name}: {trained / 1e6:.2f} M parameters trained, "
            f"{frozen / 1e6:.2f} M frozen, {len(self.train_feed.usable)} rows, "
            f"{self.config.optim.steps} steps of {self.config.optim.batch_size} rows, "
            f"{self.accelerator.num_processes} process(es) on {self.accelerator.device}"
            + (f", resumed at step {self.state.step}" if self.resumed else "")
        )
        if len(self.parallel.rates) > 1:
            self._say(f"learning rates: {', '.join(self.parallel.rates)}")
        for name, feed in (("training", self.train_feed), ("validation", self.validation_feed)):
            for note in feed.rows.left_out:
                self._say(f"{name}: left out, {note}")
            if feed.skipped:
                reason = next(iter(feed.skipped.values()))
                self._say(f"{len(feed.skipped)} {name} row(s) left out, such as: {reason}")

    def _readable(self, batch: Batch) -> Batch:
        """Count the rows that could not be read; leave as many rows as every process has."""
        num_rows, skipped = len(batch.rows), batch.skipped
        if self.train_feed.cache is None and self.accelerator.num_processes > 1:
            # All processes decide alike: one that stops alone would leave the others waiting.
            shares = gather_object([(num_rows, skipped)])
            num_rows = min(share for share, _ in shares)
            skipped = {row: reason for _, part in shares for row, reason in part.items()}
        self.train_feed.count_skipped(skipped)
        if num_rows == 0:
            raise DataError(
                f"No row of step {self.state.step + 1} could be read: "
                f"{next(iter(skipped.values()))} Correct the files, or raise optim.batch_size."
            )
        return batch.part(slice(num_rows))

    def _step(self, batch: Batch) -> tuple[StepOutput, float, float]:
        """Take one optimizer step; return what it said, its learning rate and gradient norm."""
        self._seed_step()
        rate = set_rate(self.state.optimizer, self.state.step, self.config.optim)
        self.state.optimizer.zero_grad()
        parts = with_shares(
            batch.to(self.accelerator.device).split(self.config.optim.accumulation),
            self.objective,
            self.accelerator.num_processes,
        )
        outputs = []
        for number, part in enumerate(parts, start=1):
            with self.accelerator.autocast():
                output = self.wrapped(part)
            self.parallel.backward(output.loss / len(parts), is_last=number == len(parts))
            outputs.append(output)
        norm = self.parallel.clip(self.config.optim.grad_clip)
        self._require_finite(parts, [output.loss.detach() for output in outputs], norm)
        self.parallel.step()
        self.objective.after_step()
        self.state.step += 1
        return StepOutput.mean(outputs).over_processes(self.accelerator), rate, float(norm)

    def _seed_step(self) -> None:
        """Make dropout depend on seed, step and process alone, so that a resumed run repeats it."""
        number = self.state.step * self.accelerator.num_processes + self.accelerator.process_index
        torch.manual_seed(self.config.seed * 1_000_000_007 + number)

    def _require_finite(self, parts: list[Batch], losses: list[Tensor], norm: Tensor) -> None:
        """Stop all processes where one has a loss or gradient that is not finite."""
        values = torch.stack([*losses, norm.to(losses[0])])
        if self.accelerator.gather(torch.isfinite(values)).all():
            return
        bad = [value for value in values.tolist() if not math.isfinite(value)]
        culprits = name_culprits(self.wrapped, parts, losses, self.config.data.path)
        raise NonFiniteError(
            f"Loss or gradient is {gather_object(bad)[0]} at step {self.state.step + 1}, "
            f"{culprits}. No step was taken; the last checkpoint is intact. "
            "Correct these samples, lower optim.learning_rate, or use precision=float32."
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return each validation metric's mean over the readable validation rows.

        Raises:
            DataError: if more images than `max_skip_fraction` allows cannot be read.
        """
        self.objective.eval()
        figures: dict[str, list[Tensor]] = {}
        margins: dict[int, float] = {}
        feed = self.validation_feed
        for batch in self._validation_batches():
            with self.accelerator.autocast():
                found = self.objective.validate(batch.to(self.accelerator.device))
            for name, values in found.items():
                figures.setdefault(name, []).append(values.double().cpu())
            if "margin" in found:
                rows = batch.row_ids.tolist()
                margins.update(zip(rows, found["margin"].tolist(), strict=True))
        self.parallel.rest()
        self.wrapped.train()
        if not figures:
            raise DataError(f"None of the {len(feed.rows)} validation rows can be read.")
        metrics = {name: float(torch.cat(parts).nanmean()) for name, parts in figures.items()}
        # Batch statistics differ between processes; what the main process saves is what counts.
        shared = broadcast_object_list([metrics, margins])
        self.row_margins = shared[1]
        return shared[0]  # type: ignore[no-any-return]

    def _draw(self, metrics: dict[str, float]) -> None:
        """Leave learning curves, and the rows of the last validation that people look at."""
        with self.accelerator.autocast():
            rows = shown_rows(
                self.objective,
                self.validation_feed,
                self.row_margins,
                device=self.accelerator.device,
            )
        if self.accelerator.is_main_process:
            write_pictures(self.config, rows, step=self.state.step, metrics=metrics)

    def _validation_batches(self) -> Iterator[Batch]:
        feed = self.validation_feed
        for batch in feed.steps(0, feed.batches_per_epoch):
            feed.count_skipped(batch.skipped)
            self._stop_if_asked()
            if batch.rows:
                yield batch

    def _keep_best(self, metrics: dict[str, float]) -> None:
        value = metrics[self.objective.primary]
        if self.state.best is not None and value <= self.state.best:
            return
        self.state.best = value
        self.save_model(self.config.output / "best")

    def save_model(self, folder: Path) -> None:
        """Write the model as a native folder; every process has to call this."""
        self.keeper.save_model(self.state, self.objective.model, folder)

    def _save_checkpoint(self) -> None:
        self.keeper.save(self.state, self.train_feed.skipped)

    def _say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            say(self.console, text)
