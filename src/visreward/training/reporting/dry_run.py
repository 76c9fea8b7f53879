"""What a run would do, found out without taking a step or writing a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from visreward.models.clip.family import CLIPRewardModel
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.data.batches import Batch, Row
from visreward.training.data.feeds import Feed
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.reading import read_splits
from visreward.training.distributed.processes import check_shares, with_precision
from visreward.training.modeling.fitting_parts import check_parts, wanted_rows
from visreward.training.modeling.trained_model import trained_model
from visreward.training.optim import count_parameters
from visreward.training.reporting.estimates import (
    MemoryEstimate,
    TokenCounts,
    count_tokens,
    estimate_memory,
)
from visreward.training.reporting.journal import say
from visreward.training.schedule import with_steps

NUM_SAMPLED: Final = 64
"""How many rows tokens are counted on."""

_SHOWN_ROWS: Final = 4


def dry_run(config: TrainConfig, *, console: Console, num_processes: int = 1) -> None:
    """Print what a run would train, need and see. No step is taken and no file is written.

    Args:
        config: The run.
        console: Where it is printed.
        num_processes: How many would take part.

    Raises:
        UsageError: as `train` does.
        DataError: as `train` does, but for images, of which the first batch alone is read.
    """
    config = with_precision(config)
    check_parts(config)
    check_shares(config, num_processes)
    splits = read_splits(config.data, wanted=wanted_rows(config.objective))
    model = trained_model(config, (prompt for row in splits.train for prompt in row.prompts))
    feed = Feed(
        splits.train,
        pixel_reader(model),
        config=config.data.model_copy(update={"cache_pixels": False, "num_workers": 0}),
        batch_size=config.optim.batch_size,
        seed=config.seed,
    )
    config = with_steps(config, feed.batches_per_epoch)
    batch = feed[0]
    for note in splits.train.left_out:
        say(console, f"left out: {note}")
    console.print(_parameters(model))
    counts = None
    if isinstance(model, VLMReward):
        chosen = np.linspace(0, len(feed.rows) - 1, min(NUM_SAMPLED, len(feed.rows)))
        counts = count_tokens(model, feed.batch_of([int(row) for row in chosen]))
    console.print(_steps(config, feed, len(splits.validation), counts))
    estimate = estimate_memory(model, config, batch, num_processes=num_processes)
    console.print(_memory(estimate, config.parallel.strategy, num_processes))
    console.print(_first_batch(batch))


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", show_header=False, title_style="bold")


def _parameters(model: CLIPRewardModel | VLMReward) -> Table:
    table = Table(title="Parameters", title_justify="left", title_style="bold")
    for name in ("part", "trained", "frozen"):
        table.add_column(name, justify="left" if name == "part" else "right")
    backbone = model.backbone.model if isinstance(model, VLMReward) else model.backbone.clip
    parts = [(name, part) for name, part in backbone.named_children()]
    parts += [(name, part) for name, part in model.named_children() if name != "backbone"]
    for name, part in [*parts, ("all", model)]:
        trained, frozen = count_parameters(part)
        if trained or frozen:
            table.add_row(name, f"{trained:,}", f"{frozen:,}")
    return table


def _steps(
    config: TrainConfig, feed: Feed, num_validation: int, counts: TokenCounts | None
) -> Table:
    table = _table("Steps")
    epochs = config.optim.steps * config.optim.batch_size / len(feed.usable)
    table.add_row("rows", f"{len(feed.usable):,} for training, {num_validation:,} for validation")
    table.add_row("steps", f"{config.optim.steps:,} of {config.optim.batch_size} rows")
    table.add_row("epochs", f"{epochs:.2f}, {feed.batches_per_epoch:,} steps each")
    if counts is not None and any(counts.pairs):
        pairs = sum(counts.pairs)
        per_row = [
            each / max(num, 1) for each, num in zip(counts.packed, counts.pairs, strict=True)
        ]
        table.add_row(
            "tokens per pair",
            f"mean {sum(counts.packed) / pairs:,.0f}, most {max(per_row):,.0f}, with shared "
            f"beginnings once ({sum(counts.plain) / pairs:,.0f} without)",
        )
        table.add_row(
            "tokens per row",
            f"mean {np.mean(counts.packed):,.0f}, most {max(counts.packed):,}, of "
            f"{len(counts.packed)} rows with {pairs / len(counts.pairs):.1f} pairs each",
        )
    return table


def _memory(estimate: MemoryEstimate, strategy: str, num_processes: int) -> Table:
    among = f" of {num_processes} with {strategy}" if num_processes > 1 else ""
    table = _table(f"Memory of a process{among}, roughly")
    how = {
        "weights": "as they are kept",
        "gathered": "whole weights, which come together while layers compute",
        "gradients": "one number for each that is trained",
        "optimizer": "two moments of AdamW for each",
        "activations": "what each layer keeps of each token for the backward pass",
        "total": "without the scores of attention, and the space that torch keeps in reserve",
    }
    for name, explanation in how.items():
        num_bytes = getattr(estimate, name)
        if name == "gathered" and num_bytes == 0:
            continue
        size = f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
        table.add_row(name, size, explanation)
    return table


def _first_batch(batch: Batch) -> Table:
    assert batch.pixels is not None
    table = Table(title="First batch", title_justify="left", title_style="bold")
    for name in ("row", "prompt", "images", "ratings"):
        table.add_column(name, overflow="fold")
    for number, row in enumerate(batch.rows[:_SHOWN_ROWS]):
        sizes = Counter(f"{image.shape[2]}x{image.shape[1]}" for image in batch.pixels[number])
        before = f", {len(row.sources)} before the edit" if row.sources else ""
        table.add_row(
            row.id or str(int(batch.row_ids[number])),
            " / ".join(dict.fromkeys(row.prompts)),
            ", ".join(f"{num} of {size}" for size, num in sizes.items()) + before,
            _ratings(row),
        )
    rest = len(batch.rows) - _SHOWN_ROWS
    if rest > 0:
        table.add_row("...", f"{rest} more", "", "")
    for reason in batch.skipped.values():
        table.add_row("skipped", reason, "", "")
    return table


def _ratings(row: Row) -> str:
    lines = []
    for known in row.comparisons():
        lines.append("overall " + _numbers(known.overall))
        by_dimension = zip(*known.dimensions, strict=True)
        lines += [f"dimension {n} {_numbers(each)}" for n, each in enumerate(by_dimension, 1)]
        lines += [f"votes {each.for_one}:{each.for_other}" for each in known.votes]
    return "\n".join(lines)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
