"""The training loop, the same for every objective."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, broadcast_object_list, gather_object
from rich.console import Console
from torch import Tensor

from visreward.core.errors import DataError, NonFiniteError, UsageError
from visreward.models.devices import find_device, is_native
from visreward.models.weights import save_native
from visreward.training.batches import Batch
from visreward.training.checkpoint import (
    TrainState,
    load_checkpoint,
    replace_folder,
    save_checkpoint,
)
from visreward.training.config import TrainConfig
from visreward.training.feeds import Feed
from visreward.training.journal import Journal, say
from visreward.training.native_weights import native_weights
from visreward.training.objectives import Objective, StepOutput
from visreward.training.optim import count_parameters, make_optimizer, rate_groups, set_rate
from visreward.training.pictures import shown_rows, write_pictures

WEIGHTS_DTYPES = {"float32": torch.float32, "float16": torch.float16}


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Return accelerate's view of this process, its device and its precision.

    Raises:
        UsageError: if the launcher asks for sharded training, or `device` is not there.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device is 'cuda', but no CUDA device is found. Use device=cpu.")
    # One process may train several recipes, each in its own precision.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        cpu=config.device == "cpu" or (config.device == "auto" and not torch.cuda.is_available()),
        mixed_precision="bf16" if config.precision == "bfloat16" else "no",
    )
    sharded = (DistributedType.FSDP, DistributedType.DEEPSPEED)
    if accelerator.distributed_type in sharded:
        raise UsageError(
            f"The launcher asks for {accelerator.distributed_type.value}, which shards the model. "
            "Launch with plain data parallelism (accelerate launch --multi_gpu)."
        )
    return accelerator


def with_precision(config: TrainConfig) -> TrainConfig:
    """Return the configuration with `precision` auto decided by the device."""
    if config.precision != "auto":
        return config
    fast = is_native(torch.bfloat16, find_device(config.device))
    return config.model_copy(update={"precision": "bfloat16" if fast else "float32"})


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
        self._check_shares()
        objective.to(accelerator.device)
        self.state = TrainState(module=objective, optimizer=make_optimizer(objective, config.optim))
        self.resumed = load_checkpoint(self.state, config.output)
        self._check_steps()
        # accelerate wraps for DDP; the state keeps the bare module.
        self.wrapped, self.optimizer = accelerator.prepare(objective, self.state.optimizer)

    def _check_shares(self) -> None:
        parts = self.accelerator.num_processes * self.config.optim.accumulation
        if self.config.optim.batch_size % parts:
            raise UsageError(
                f"optim.batch_size {self.config.optim.batch_size} is not a multiple of "
                f"{self.accelerator.num_processes} process(es) x {self.config.optim.accumulation} "
                "accumulation steps. Choose a multiple."
            )

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
        """
        config = self.config
        self._announce()
        metrics: dict[str, float] = {}
        with Journal(
            config,
            console=self.console,
            is_main=self.accelerator.is_main_process,
            first_step=self.state.step,
        ) as journal:
            self.wrapped.train()
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
                is_last = self.state.step == config.optim.steps
                if is_last or self.state.step % config.validate_every == 0:
                    metrics = self.validate()
                    journal.validation(self.state.step, metrics)
                    self._draw(metrics)
                    self._keep_best(metrics)
                if is_last or self.state.step % config.save_every == 0:
                    self._save_last()
                started = time.perf_counter()
        return metrics or self.validate()

    def _announce(self) -> None:
        trained, frozen = count_parameters(self.objective)
        self._say(
            f"{self.config.model.name}: {trained / 1e6:.2f} M parameters trained, "
            f"{frozen / 1e6:.2f} M frozen, {len(self.train_feed.usable)} rows, "
            f"{self.config.optim.steps} steps of {self.config.optim.batch_size} rows, "
            f"{self.accelerator.num_processes} process(es) on {self.accelerator.device}"
            + (f", resumed at step {self.state.step}" if self.resumed else "")
        )
        if len(groups := [*rate_groups(self.state.optimizer)]) > 1:
            self._say(f"learning rates: {', '.join(groups)}")
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
        self.optimizer.zero_grad()
        parts = batch.to(self.accelerator.device).split(self.config.optim.accumulation)
        outputs = []
        for part in parts:
            with self.accelerator.autocast():
                output = self.wrapped(part)
            self._require_finite(output.loss, part)
            self.accelerator.backward(output.loss / len(parts))
            outputs.append(output)
        limit = self.config.optim.grad_clip
        norm = self.accelerator.clip_grad_norm_(
            self.wrapped.parameters(), float("inf") if limit is None else limit
        )
        self._require_finite(norm, batch)
        self.optimizer.step()
        self.objective.after_step()
        self.state.step += 1
        return StepOutput.mean(outputs), rate, float(norm)

    def _seed_step(self) -> None:
        """Make dropout depend on seed, step and process alone, so that a resumed run repeats it."""
        number = self.state.step * self.accelerator.num_processes + self.accelerator.process_index
        torch.manual_seed(self.config.seed * 1_000_000_007 + number)

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
            if batch.rows:
                yield batch

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
        """Write the model as a native folder, which replaces one that is there as a whole."""
        building = folder.with_name(f"{folder.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        dtype = WEIGHTS_DTYPES[self.config.weights_dtype]
        model = self.objective.model
        weights = native_weights(model, model.state_dict())
        save_native(model, building, dtype=dtype, weights=weights)
        replace_folder(building, folder)

    def _say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            say(self.console, text)
