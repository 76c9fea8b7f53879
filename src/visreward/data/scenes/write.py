"""Write the synthetic world to disk: Pick-High's published layout, and captioned images.

Every file is the same for the same settings, whatever the number of processes. An interrupted
run goes on where it stopped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visreward.core.whole_files import whole_file
from visreward.data.base import Arrow, Progress, load_optional, write_parquet
from visreward.data.scenes.families import plan_caption_family
from visreward.data.scenes.grammar import SPLITS
from visreward.data.scenes.render import render
from visreward.data.scenes.resumable import (
    Job,
    Row,
    WriteSettings,
    made,
    output_folder,
    run_jobs,
)
from visreward.data.scenes.triplets import TripletPlan, plan_triplet, render_triplet

if TYPE_CHECKING:
    import pandas

DEFAULT_SHARES = (0.90, 0.05, 0.05)
EASY_FOLDER, REFINE_FOLDER, TABLE_FOLDER = "pick_easy_img", "pick_refine_img", "Pick-High"
CAPTION_FOLDER = "captions"
_PNG_LEVEL = 3
_PICKLE_PROTOCOL = 4


def write_pick_high(
    output: str | os.PathLike[str],
    *,
    num: int,
    seed: int,
    size: int = 128,
    shares: tuple[float, float, float] = DEFAULT_SHARES,
    finish_share: float = 0.0,
    progress: Progress | None = None,
    num_workers: int | None = None,
) -> None:
    """Write triplets in the layout of Pick-High.

    `Pick-High/{train,val,test}.pkl` are pickled pandas frames with the published columns
    easy_prompt, refine_prompt, easy_image_0 (losing), easy_image_1 (winning) and refine_image
    (names of files in `pick_easy_img/{split}` and `pick_refine_img/{split}`), and with votes_0,
    votes_1, confidence, loss_kind, severity (NaN where there is no flaw) and losing_prompt. The
    labels E1, E2, R1 and R2 are not here: they come from a CLIP model.

    Args:
        output: Folder, absent or empty, or holding an interrupted run of the same settings, which
            goes on. A complete run of the same settings is left as it is.
        num: Triplets in all splits together, at least 3.
        seed: Seed of the world, at least 0; the same seed gives the same bytes.
        size: Side of the images in pixels, 64 to 512.
        shares: Shares of train, val and test.
        finish_share: Share of triplets with a photographic finish, 0 to 1.
        progress: Called with the number of triplets that were just done, or None.
        num_workers: Processes; None takes the number of cores.

    Raises:
        UsageError: if a setting is out of range or the folder holds something else.
        MissingExtraError: if pandas is not installed.
    """
    settings = WriteSettings(
        kind="pick-high", num=num, seed=seed, size=size, shares=shares, finish_share=finish_share
    )
    load_optional("pandas", extra="train")
    folder = Path(output)
    with output_folder(folder, settings) as has_work:
        if not has_work:
            return
        rows = run_jobs(
            _write_triplets, folder, settings, progress=progress, num_workers=num_workers
        )
        for split in SPLITS:
            path = made(folder / TABLE_FOLDER) / f"{split}.pkl"
            with whole_file(path) as part:
                _frame(rows[split]).to_pickle(part, compression=None, protocol=_PICKLE_PROTOCOL)


def write_captions(
    output: str | os.PathLike[str],
    *,
    num: int,
    seed: int,
    size: int = 64,
    shares: tuple[float, float, float] = DEFAULT_SHARES,
    progress: Progress | None = None,
    num_workers: int | None = None,
) -> None:
    """Write families of captioned images.

    `captions/{train,val,test}.parquet` have the columns family (number), image (path of a file
    under `captions`) and caption; four rows make a family.

    Args:
        output: Folder, as for `write_pick_high`.
        num: Families in all splits together, at least 3.
        seed: Seed of the world, at least 0; the same seed gives the same bytes.
        size: Side of the images in pixels, 64 to 512.
        shares: Shares of train, val and test.
        progress: Called with the number of families that were just done, or None.
        num_workers: Processes; None takes the number of cores.

    Raises:
        UsageError: if a setting is out of range or the folder holds something else.
        MissingExtraError: if pyarrow is not installed.
    """
    settings = WriteSettings(kind="captions", num=num, seed=seed, size=size, shares=shares)
    load_optional("pyarrow", extra="train")
    folder = Path(output)
    with output_folder(folder, settings) as has_work:
        if not has_work:
            return
        rows = run_jobs(
            _write_families, folder, settings, progress=progress, num_workers=num_workers
        )
        for split in SPLITS:
            write_parquet(_table(rows[split]), folder / CAPTION_FOLDER / f"{split}.parquet")


def _write_triplets(job: Job) -> list[Row]:
    easy = made(job.output / EASY_FOLDER / job.split)
    refine = made(job.output / REFINE_FOLDER / job.split)
    rows = []
    for index in range(job.start, job.stop):
        plan = plan_triplet(
            seed=job.settings.seed,
            split=job.split,
            index=index,
            finish_share=job.settings.finish_share,
        )
        # Names say the split, so that no name stands in two tables for two images.
        stem = f"{job.split}_{index:07d}"
        paths = [easy / f"{stem}_0.png", easy / f"{stem}_1.png", refine / f"{stem}.png"]
        if not all(path.exists() for path in paths):
            triplet = render_triplet(plan, size=job.settings.size)
            images = (triplet.losing_image, triplet.winning_image, triplet.refined_image)
            for path, image in zip(paths, images, strict=True):
                write_png(path, image)
        rows.append(_triplet_row(plan, [path.name for path in paths]))
    return rows


def _triplet_row(plan: TripletPlan, names: Sequence[str]) -> Row:
    return {
        "easy_prompt": plan.basic_prompt,
        "refine_prompt": plan.refined_prompt,
        "easy_image_0": names[0],
        "easy_image_1": names[1],
        "refine_image": names[2],
        "votes_0": plan.votes[1],
        "votes_1": plan.votes[0],
        "confidence": plan.confidence,
        "loss_kind": plan.loss_kind,
        "severity": float("nan") if plan.severity is None else float(plan.severity),
        "losing_prompt": plan.losing_prompt,
    }


def _write_families(job: Job) -> list[Row]:
    folder = made(job.output / CAPTION_FOLDER / job.split)
    rows: list[Row] = []
    for index in range(job.start, job.stop):
        plan = plan_caption_family(seed=job.settings.seed, split=job.split, index=index)
        for member, (scene, caption) in enumerate(plan):
            path = folder / f"{index:07d}_{member}.png"
            if not path.exists():
                write_png(path, render(scene, job.settings.size))
            rows.append({"family": index, "image": f"{job.split}/{path.name}", "caption": caption})
    return rows


def _frame(rows: Sequence[Row]) -> pandas.DataFrame:
    """Return a frame of plain object, int64 and float64 columns.

    Equal strings are made one object: a pickle stores a repeated object by reference, and whether
    two equal strings are one object depends on the process that they came from.
    """
    frames = load_optional("pandas", extra="train")
    columns = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if isinstance(values[0], str):
            values = [sys.intern(str(value)) for value in values]
            columns[name] = frames.Series(values, dtype=object)
        else:
            columns[name] = frames.Series(values)
    frame: pandas.DataFrame = frames.DataFrame(columns)
    frame.columns = frames.Index([sys.intern(name) for name in columns], dtype=object)
    return frame


def _table(rows: Sequence[Row]) -> Arrow:
    arrow = load_optional("pyarrow", extra="train")
    return arrow.table({name: [row[name] for row in rows] for name in rows[0]})


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image in one step; the same pixels give the same bytes."""
    with whole_file(path) as part:
        Image.fromarray(image).save(part, format="PNG", optimize=False, compress_level=_PNG_LEVEL)
