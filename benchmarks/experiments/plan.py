"""The edits that an experiment learns from and is measured on, and how long it trains."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from experiments.label_data import (
    JSONRow,
    LabelledEdit,
    rated_rows,
    read_edits,
    write_rows,
)
from experiments.runs import Run
from experiments.start import Start
from visreward.data.scenes.write_edits import IMAGE_FOLDER, write_edits

EDIT_SEED: Final = 21
EDIT_SIZE: Final = 96
NUM_VALIDATION: Final = 8


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is the same for all runs of an experiment.

    Attributes:
        work: Folder of edits, labels and runs; what is there is used again.
        start: What runs begin with.
        num_seeds: How many seeds each arm is trained with: 0, 1, ...
        steps: Of each training.
        batch_size: Edits of each step.
        num_edits: Edits to learn from.
        num_held_out: Edits to measure on.
        num_workers: Processes.
        wrong_labels: Shares of wrong labels that losses are compared at.
    """

    work: Path
    start: Start
    num_seeds: int
    steps: int
    batch_size: int
    num_edits: int
    num_held_out: int
    num_workers: int
    wrong_labels: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3)

    @property
    def folder(self) -> Path:
        """Return the folder of the edits, and of all labels of them."""
        return self.work / f"edits-{self.num_edits}-{self.num_held_out}"

    @property
    def seeds(self) -> range:
        """Return the seeds."""
        return range(self.num_seeds)

    def edits(self) -> list[LabelledEdit]:
        """Return the edits to learn from with their true ratings, made on first use."""
        return read_edits(self._written() / "train.json")

    def labels(self, name: str, rows: Sequence[JSONRow]) -> Path:
        """Write rows as a file of labels beside the images; other rows give another file."""
        digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:8]
        file = self.folder / f"{name}-{digest}.json"
        if not file.is_file():
            write_rows(file, rows)
        return file

    def run(
        self,
        experiment: str,
        arm: str,
        *,
        seed: int,
        train: Path,
        overrides: Sequence[str],
        noise: float = 0.0,
        has_doubt: bool = True,
        to_score: Path | None = None,
    ) -> Run:
        """Return a run of an arm; see `Run`."""
        layers = self.start.num_layers
        size = f"{self.num_edits}-{self.batch_size}x{self.steps}-{layers}"
        where = self.work / experiment / size / f"{_file_name(arm, noise)}-{seed}"
        shared = (
            "objective.other_prompt_weight=0",
            "objective.blank_weight=0",
            f"optim.steps={self.steps}",
            f"optim.batch_size={self.batch_size}",
            f"optim.warmup_steps={self.steps // 10}",
            f"data.num_validation={NUM_VALIDATION}",
        )
        return Run(
            arm=arm,
            seed=seed,
            folder=where,
            init=self.start.of_seed(seed),
            train=train,
            validation=self.folder / "val.json",
            held_out=self._held_out(),
            overrides=(*shared, *overrides),
            noise=noise,
            has_doubt=has_doubt,
            to_score=to_score,
        )

    def _held_out(self) -> Path:
        """Return the held-out rows, ties too; they stay true in every experiment."""
        file = self.folder / "held-out.json"
        if not file.is_file():
            write_rows(file, rated_rows(read_edits(self._written() / "test.json"), has_ties=True))
        return file

    def _written(self) -> Path:
        """Write images and true labels, where they are not there yet."""
        total = self.num_edits + NUM_VALIDATION + self.num_held_out
        if not (self.folder / "train.json").is_file():
            made = self.work / f"{self.folder.name}.making"
            write_edits(
                made,
                num=total,
                seed=EDIT_SEED,
                size=EDIT_SIZE,
                num_workers=self.num_workers,
                shares=(
                    self.num_edits / total,
                    NUM_VALIDATION / total,
                    self.num_held_out / total,
                ),
            )
            shutil.rmtree(self.folder, ignore_errors=True)
            made.rename(self.folder)
        assert (self.folder / IMAGE_FOLDER).is_dir()
        return self.folder


def _file_name(arm: str, noise: float) -> str:
    words = "".join(letter if letter.isalnum() else "-" for letter in arm)
    return f"{words}-{100 * noise:.0f}" if noise else words
