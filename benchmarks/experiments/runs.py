"""Trainings, each done once: train, score the held-out edits, keep the figures."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.console import Console

from experiments.figures import doubt_figures, order_figures
from experiments.held_out import scored_pairs, scored_rows
from visreward.core.preference import Calibration
from visreward.core.whole_files import whole_file
from visreward.evaluation.calibration import read_chance
from visreward.training.config import TrainConfig
from visreward.training.recipe import parse_config, read_recipe, with_overrides
from visreward.training.run import train

RECIPE: Final = "editreward-mini"
RESULT: Final = "result.json"
SCORES: Final = "scores.json"
_NUM_CURVE_POINTS: Final = 15


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training.

    Attributes:
        arm: Which arm of the experiment.
        seed: Of its first weights, its labels and the order of its rows.
        folder: Where it is done.
        init: What it begins with.
        train: Its rows.
        validation: A few rows that the training code looks at.
        held_out: The rows that its figures are of.
        overrides: What this arm sets in the recipe.
        noise: Share of wrong labels among its rows.
        has_doubt: Whether differences of its scores are log-odds, so that doubt can be read off.
        to_score: Rows to score with the trained model, for a filter; None scores none.
        notes: Figures that are known before, such as what a filter kept.
    """

    arm: str
    seed: int
    folder: Path
    init: Path
    train: Path
    validation: Path
    held_out: Path
    overrides: tuple[str, ...]
    noise: float = 0.0
    has_doubt: bool = True
    to_score: Path | None = None
    notes: tuple[tuple[str, float], ...] = ()

    def noting(self, **notes: float) -> Run:
        """Return the run with figures that are known before."""
        return replace(self, notes=(*self.notes, *notes.items()))

    @property
    def settings(self) -> dict[str, Any]:  # JSON values
        """Return what decides the outcome."""
        names = ("arm", "seed", "init", "train", "held_out", "noise", "to_score")
        return {name: str(getattr(self, name)) for name in names} | {
            "overrides": list(self.overrides)
        }


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run.

    Attributes:
        arm: Which arm of the experiment.
        seed: Of the run.
        noise: Share of wrong labels among its rows.
        figures: By name.
        curve: Accuracy on the training pairs along the way, by step.
    """

    arm: str
    seed: int
    noise: float
    figures: dict[str, float]
    curve: dict[int, float] = field(default_factory=dict)


def do_all(runs: Sequence[Run], *, num_workers: int) -> list[Outcome]:
    """Do those runs that are not done yet, several at a time; return the outcomes of all."""
    waiting = [run for run in runs if _known(run) is None]
    console = Console(stderr=True)
    console.print(f"{len(runs)} runs, {len(runs) - len(waiting)} done before")
    if num_workers == 1:
        for number, run in enumerate(waiting, start=1):
            do(run)
            console.print(f"{number} of {len(waiting)}: {run.arm}, seed {run.seed}")
    elif waiting:
        with ProcessPoolExecutor(
            num_workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(sys.path,)
        ) as pool:
            futures = {pool.submit(do, run): run for run in waiting}
            for number, future in enumerate(as_completed(futures), start=1):
                future.result()
                run = futures[future]
                console.print(f"{number} of {len(waiting)}: {run.arm}, seed {run.seed}")
    outcomes = [_known(run) for run in runs]
    return [outcome for outcome in outcomes if outcome is not None]


def _begin(paths: list[str]) -> None:
    """Prepare a process: one thread each, as there are as many processes as cores."""
    sys.path[:] = paths
    torch.set_num_threads(1)


def do(run: Run) -> None:
    """Train one arm with one seed, and measure it."""
    shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir(parents=True)
    with (run.folder / "console.txt").open("w", encoding="utf-8") as said:
        train(_config(run), console=Console(file=said, width=100))
    model = run.folder / "run" / "model"
    pairs = scored_pairs(scored_rows(model, run.held_out))
    figures = order_figures(pairs)
    if run.has_doubt:
        figures |= doubt_figures(pairs, noise=run.noise)
    if run.to_score is not None:
        found = _agreements(model, run.to_score)
        (run.folder / SCORES).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    figures |= dict(run.notes)
    record = {"settings": run.settings, "figures": figures, "curve": _curve(run)}
    with whole_file(run.folder / RESULT) as part:
        part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for name in ("checkpoints", "best", "tensorboard"):
        shutil.rmtree(run.folder / "run" / name, ignore_errors=True)


def _known(run: Run) -> Outcome | None:
    """Return the outcome of a run that is done already, with the same settings."""
    file = run.folder / RESULT
    if not file.is_file():
        return None
    record = json.loads(file.read_text(encoding="utf-8"))
    if record["settings"] != run.settings:
        return None
    curve = {int(step): value for step, value in record["curve"].items()}
    return Outcome(
        arm=run.arm, seed=run.seed, noise=run.noise, figures=record["figures"], curve=curve
    )


def _config(run: Run) -> TrainConfig:
    values = with_overrides(read_recipe(RECIPE), list(run.overrides))
    steps = values["optim"]["steps"]
    values["output"] = str(run.folder / "run")
    values["seed"] = run.seed
    values["model"]["init"] = str(run.init)
    values["data"] |= {"path": str(run.train), "validation": {"path": str(run.validation)}}
    values |= {
        "validate_every": steps,
        "save_every": steps,
        "log_every": max(1, steps // _NUM_CURVE_POINTS),
        "weights_dtype": "float32",
    }
    return parse_config(values)


def _curve(run: Run) -> dict[int, float]:
    lines = (run.folder / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    return {each["step"]: each["accuracy"] for each in entries if each["kind"] == "train"}


def _agreements(model: Path, file: Path) -> dict[str, float]:
    """Return how much a model agrees with the labels of each edit of a file, by source image.

    That is the mean, over every two images that are labelled as different, of the probability that
    the one labelled as better is the better one.
    """
    found: dict[str, float] = {}
    for each in scored_rows(model, file):
        pairs = scored_pairs([each])
        is_clear = pairs.overall != 0
        chance = read_chance(
            (pairs.gap * np.sign(pairs.overall))[is_clear],
            pairs.deviation[is_clear],
            Calibration(),
        )
        source = each.row.sources[0]
        assert isinstance(source, Path)
        found[source.relative_to(file.parent).as_posix()] = float(chance.mean())
    return found
