"""The pictures that a run leaves at each validation: curves, and rows with their scores."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from visreward.scoring.text_output import text_output
from visreward.training.config import TrainConfig
from visreward.training.data.batches import Batch
from visreward.training.data.feeds import Feed
from visreward.training.objectives.base import Objective
from visreward.training.reporting.curves import CURVES, draw_curves
from visreward.training.reporting.journal import LOG
from visreward.training.reporting.validation_page import (
    PAGE,
    ShownRow,
    choose_rows,
    validation_page,
)

_HEADINGS = ("Lowest margins", "Some of all")


@torch.no_grad()
def shown_rows(
    objective: Objective, feed: Feed, margins: Mapping[int, float], *, device: torch.device
) -> dict[str, list[ShownRow]]:
    """Return the rows that people look at, with their scores; nothing where there are none.

    Every process takes part, as a sharded model needs all of them. Nothing random is drawn.

    Args:
        objective: Put into evaluation mode, and back.
        feed: Of the validation rows.
        margins: Mean score difference by row, see `choose_rows`.
        device: Where the model is.
    """
    chosen = choose_rows(margins)
    is_training = objective.training
    objective.eval()
    found = {
        heading: _scored(objective, feed.batch_of(rows).to(device))
        for heading, rows in zip(_HEADINGS, chosen, strict=True)
        if rows
    }
    objective.train(is_training)
    return {heading: rows for heading, rows in found.items() if rows}


def _scored(objective: Objective, batch: Batch) -> list[ShownRow]:
    if not batch.rows:
        return []
    scores = objective.shown_scores(batch) or [[] for _ in batch.rows]
    return [
        ShownRow(row=row, scores=tuple(own))
        for row, own in zip(batch.rows, scores, strict=True)
        if own
    ]


def write_pictures(
    config: TrainConfig,
    rows: Mapping[str, list[ShownRow]],
    *,
    step: int,
    metrics: Mapping[str, float],
) -> None:
    """Write `curves.png` and, where there are rows to show, `validation.html`."""
    draw_curves(config.output / LOG, config.output / CURVES)
    if rows:
        title = f"{config.model.name}, step {step:,}"
        with text_output(config.output / PAGE) as page:
            page.write(validation_page(rows, title=title, figures=metrics))
