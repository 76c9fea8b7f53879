"""Write edits of the synthetic world to disk, in the JSON layout of EditReward's training data.

Every file is the same for the same settings, whatever the number of processes. An interrupted
run goes on where it stopped.
"""

from __future__ import annotations

import json
import os
from itertools import combinations
from pathlib import Path

from visreward.core.whole_files import whole_file
from visreward.data.base import Progress
from visreward.data.scenes.edits import EditCandidate, EditPlan, plan_edit, render_edit
from visreward.data.scenes.grammar import SPLITS
from visreward.data.scenes.resumable import (
    Job,
    Row,
    WriteSettings,
    made,
    output_folder,
    run_jobs,
)
from visreward.data.scenes.write import DEFAULT_SHARES, write_png

IMAGE_FOLDER = "edits"


def write_edits(
    output: str | os.PathLike[str],
    *,
    num: int,
    seed: int,
    size: int = 112,
    shares: tuple[float, float, float] = DEFAULT_SHARES,
    progress: Progress | None = None,
    num_workers: int | None = None,
) -> None:
    """Write edits as preference pairs.

    `{train,val,test}.json` hold lists of pairs with EditReward's keys: prompt, path_src, path1 (the
    preferred one), path2, model1, model2 (here: what the candidate is), choice_dist and confidence
    (null), and model{1,2}_dim{1,2}_score (instruction following and visual quality, 1 to 4) and
    model{1,2}_overall_score. Paths are relative to the folder. Every two candidates of an edit with
    different overall scores make a pair.

    Args:
        output: Folder, absent or empty, or holding an interrupted run of the same settings, which
            goes on. A complete run of the same settings is left as it is.
        num: Edits in all splits together, at least 3; each makes up to 15 pairs.
        seed: Seed of the world, at least 0; the same seed gives the same bytes.
        size: Side of the images in pixels, 64 to 512.
        shares: Shares of train, val and test.
        progress: Called with the number of edits that were just done, or None.
        num_workers: Processes; None takes the number of cores.

    Raises:
        UsageError: if a setting is out of range or the folder holds something else.
    """
    settings = WriteSettings(kind="edit", num=num, seed=seed, size=size, shares=shares)
    folder = Path(output)
    with output_folder(folder, settings) as has_work:
        if not has_work:
            return
        rows = run_jobs(_write_images, folder, settings, progress=progress, num_workers=num_workers)
        for split in SPLITS:
            with whole_file(folder / f"{split}.json") as part:
                part.write_text(json.dumps(rows[split], indent=1) + "\n", encoding="utf-8")


def _write_images(job: Job) -> list[Row]:
    folder = made(job.output / IMAGE_FOLDER / job.split)
    rows: list[Row] = []
    for index in range(job.start, job.stop):
        plan = plan_edit(seed=job.settings.seed, split=job.split, index=index)
        stem = f"{job.split}_{index:07d}"
        names = [f"{stem}_{number}.png" for number in range(len(plan.candidates))]
        source = f"{stem}_source.png"
        if not all((folder / name).exists() for name in (source, *names)):
            edit = render_edit(plan, size=job.settings.size)
            images = (edit.source_image, *edit.images)
            for name, image in zip((source, *names), images, strict=True):
                write_png(folder / name, image)
        rows += _pairs(plan, f"{IMAGE_FOLDER}/{job.split}/", source, names)
    return rows


def _pairs(plan: EditPlan, folder: str, source: str, names: list[str]) -> list[Row]:
    """Return a row for every two candidates that differ overall, the better one first."""
    rows: list[Row] = []
    for pair in combinations(zip(plan.candidates, names, strict=True), 2):
        better, worse = sorted(pair, key=lambda entry: -entry[0].overall)
        if better[0].overall == worse[0].overall:
            continue
        row: Row = {
            "prompt": plan.instruction,
            "choice_dist": None,
            "confidence": None,
            "path_src": folder + source,
            "path1": folder + better[1],
            "path2": folder + worse[1],
            "model1": better[0].kind,
            "model2": worse[0].kind,
        }
        for number, (candidate, _) in enumerate((better, worse), start=1):
            row |= _scores(number, candidate)
        rows.append(row)
    return rows


def _scores(number: int, candidate: EditCandidate) -> Row:
    return {
        f"model{number}_dim1_score": candidate.following,
        f"model{number}_dim2_score": candidate.quality,
        f"model{number}_overall_score": candidate.overall,
    }
