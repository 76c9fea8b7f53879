"""The tables of the synthetic world: triplets, one-attribute swaps, the price of detail, edits.

Run: python benchmarks/scenes.py {triplets,swaps,richness,edits} [--num N] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any  # JSON values

from rich.console import Console

from record import percent, write_run
from visreward import load_model
from visreward.evaluation.edits import edit_table
from visreward.evaluation.metrics.intervals import Accuracy
from visreward.evaluation.scenes import (
    Drawing,
    Progress,
    richness_table,
    swap_table,
    triplet_table,
)
from visreward.models.base import RewardModel
from visreward.training.reporting.journal import shown

Table = tuple[dict[str, Any], list[str]]
"""The figures as data, and as lines of Markdown."""

DEFAULT_NUM = {"triplets": 10_000, "swaps": 2_000, "richness": 5_000, "edits": 2_000}
IMAGE_MODELS, EDIT_MODELS = ("clip-mini", "ict-hp-mini", "hpsv3-mini"), ("editreward-mini",)
ROWS = {
    "clip-mini": "clip-mini",
    "ict-hp-mini/ict": "ict-mini",
    "ict-hp-mini/hp": "hp-mini",
    "ict-hp-mini": "ict-hp-mini",
    "hpsv3-mini": "hpsv3-mini",
}


def cell(accuracy: Accuracy) -> str:
    """Return a share and its 95 % interval, in per cent."""
    return percent(accuracy.value, accuracy.low, accuracy.high)


def _rows_of(table: Mapping[str, object]) -> dict[str, str]:
    """Return the scores in a table that get a line, with its title."""
    return {key: ROWS.get(key, key) for key in table if key in ROWS or "/" not in key}


def triplets(models: list[RewardModel], drawing: Drawing, progress: Progress) -> Table:
    """Return table 1 as data and as Markdown lines."""
    table = triplet_table(models, drawing, progress=progress)
    lines = ["| model | average | I2>I1 | I3>I2 | I3>I1 |", "|---|---|---|---|---|"]
    rows = _rows_of(table)
    for key, name in rows.items():
        row = table[key]
        columns = (
            row.average,
            row.winning_over_losing,
            row.refined_over_winning,
            row.refined_over_losing,
        )
        lines.append(f"| {name} | " + " | ".join(cell(column) for column in columns) + " |")
    return {name: asdict(table[key]) for key, name in rows.items()}, lines


def swaps(models: list[RewardModel], drawing: Drawing, progress: Progress) -> Table:
    """Return the swap table as data and as Markdown lines."""
    table = swap_table(models, drawing, progress=progress)
    names = {key: name for key, name in ROWS.items() if name in ("clip-mini", "ict-mini")}
    lines = ["| swapped | " + " | ".join(names.values()) + " |", "|---" * (len(names) + 1) + "|"]
    for kind, row in table.items():
        lines.append(f"| {kind} | " + " | ".join(cell(row[key]) for key in names) + " |")
    data = {
        kind: {name: asdict(row[key]) for key, name in names.items()} for kind, row in table.items()
    }
    return data, lines


def richness(models: list[RewardModel], drawing: Drawing, progress: Progress) -> Table:
    """Return the price of detail as data and as Markdown lines."""
    table = richness_table(models, drawing, progress=progress)
    lines = ["| model | rich image marked down | mean change of the score |", "|---|---|---|"]
    rows = _rows_of(table)
    for key, name in rows.items():
        effect = table[key]
        lines.append(f"| {name} | {cell(effect.marked_down)} | {effect.mean_change:+.4f} |")
    return {name: asdict(table[key]) for key, name in rows.items()}, lines


def edits(models: list[RewardModel], drawing: Drawing, progress: Progress) -> Table:
    """Return what is known of edits as data and as Markdown lines."""
    table = edit_table(models, drawing, progress=progress)
    titles = {
        "pairs": "pairs that differ overall",
        "following": "pairs that differ in following only",
        "quality": "pairs that differ in quality only",
        "order_of_four": "exact order of four",
        "other_instruction": "another instruction lowers following",
        "untouched": "right edit beats the untouched source",
        "black": "black picture is lowest",
    }
    lines = ["| share of | " + " | ".join(table) + " |", "|---" * (len(table) + 1) + "|"]
    for field, title in titles.items():
        cells = (cell(getattr(row, field)) for row in table.values())
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return {name: asdict(row) for name, row in table.items()}, lines


def main() -> None:
    """Print one table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=sorted(DEFAULT_NUM))
    parser.add_argument("--num", type=int, help="rows (for swaps: of each kind)")
    parser.add_argument("--models", nargs="+", help="names or native folders")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in pixels")
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args()
    names = EDIT_MODELS if options.table == "edits" else IMAGE_MODELS
    models = [load_model(name) for name in options.models or names]
    drawing = Drawing(
        num=options.num or DEFAULT_NUM[options.table],
        size=options.size,
        num_workers=os.cpu_count() or 1,
    )
    make = {"triplets": triplets, "swaps": swaps, "richness": richness, "edits": edits}[
        options.table
    ]
    with shown(Console(stderr=True), options.table) as progress:
        data, lines = make(models, drawing, progress)
    print("\n".join(lines))
    write_run(options.output, settings=asdict(drawing), results=data)


if __name__ == "__main__":
    main()
