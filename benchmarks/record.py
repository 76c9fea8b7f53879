"""What every benchmark writes beside its figures: when, on what machine, with which versions."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
from collections.abc import Collection, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def percent(value: float, low: float, high: float) -> str:
    """Return a share with its interval, in per cent: `93.1 (92.6 to 93.6)`."""
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def cpu_name() -> str:
    """Return the processor's model name, as far as the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def machine() -> dict[str, Any]:
    """Return what a reader needs to judge a figure."""
    facts: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "command": " ".join(["python", *sys.argv]),
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "transformers", "pillow", "numpy")},
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def write_run(
    output: str | Path | None, *, settings: dict[str, Any], results: dict[str, Any]
) -> None:
    """Write one benchmark run as JSON; None writes nothing."""
    if output is None:
        return
    record = {**machine(), "settings": settings, "results": results}
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Path(output).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def conclude(
    options: argparse.Namespace,
    results: dict[str, Any],
    *,
    rows: Iterable[dict[str, Any]],
    tolerance: float,
    without: Collection[str] = ("output",),
) -> None:
    """Write the run of two sides; exit status 1 where their scores are not the same.

    Args:
        options: What the command was given; `output` is the JSON file, or None.
        results: Every figure of the run.
        rows: The rows of it that hold a `largest_difference`.
        tolerance: How large that may be.
        without: Options that are no settings.
    """
    settings = {key: value for key, value in vars(options).items() if key not in without}
    write_run(options.output, settings=settings, results=results)
    worst = max(row["largest_difference"] for row in rows)
    if worst > tolerance:
        sys.exit(f"The scores of both sides differ by {worst:.1e}.")
