"""Runs that write many files in many processes, and that go on after an interruption.

The output folder holds its settings. Files get their final name only when they are complete, so
that what is there can be trusted and only what is missing is made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from visreward.core.errors import UsageError
from visreward.core.whole_files import whole_file
from visreward.data.base import Progress
from visreward.data.scenes.grammar import SPLITS
from visreward.data.scenes.render import check_size

Row = dict[str, str | int | float | None]

SETTINGS_FILE = "scenes.json"
_CHUNK = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSettings:
    """What decides every byte of an output folder.

    Attributes:
        kind: pick-high, captions or edit.
        num: Items in all splits together: triplets, families or edits.
        seed: Seed of the world, at least 0.
        size: Side of the images in pixels, 64 to 512.
        shares: Shares of train, val and test; they sum to 1.
        finish_share: Share of triplets with a photographic finish, 0 to 1; 0 for other kinds.
    """

    kind: str
    num: int
    seed: int
    size: int
    shares: tuple[float, float, float]
    finish_share: float = 0.0

    def __post_init__(self) -> None:
        split_sizes(self.num, self.shares)
        check_size(self.size)
        if self.seed < 0:
            raise UsageError(f"The seed is {self.seed}. Give a whole number from 0 on.")
        if not 0 <= self.finish_share <= 1:
            raise UsageError(f"finish_share is {self.finish_share}. Give a share from 0 to 1.")


@dataclass(frozen=True, slots=True)
class Job:
    """Items `start` to `stop` (not included) of one split, for one process."""

    output: Path
    settings: WriteSettings
    split: str
    start: int
    stop: int


def split_sizes(num: int, shares: tuple[float, float, float]) -> dict[str, int]:
    """Return the number of items of each split; val and test get at least one.

    Args:
        num: Items in all splits together, at least 3.
        shares: Shares of train, val and test.

    Raises:
        UsageError: if `num` is below 3, or the shares are negative, do not sum to 1 or leave
            nothing to train on.
    """
    if num < len(SPLITS):
        raise UsageError(f"num is {num}. Ask for at least {len(SPLITS)} items, one per split.")
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise UsageError(f"The shares are {shares}. Give three shares that sum to 1.")
    held_out = [max(1, round(num * share)) for share in shares[1:]]
    train = num - sum(held_out)
    if train < 1:
        raise UsageError(f"The shares {shares} of {num} items leave none to train on. Raise num.")
    return dict(zip(SPLITS, (train, *held_out), strict=True))


@contextmanager
def output_folder(folder: Path, settings: WriteSettings) -> Iterator[bool]:
    """Open a folder for a run, and mark the run as complete at the end of the block.

    Gives False where a complete run of the same settings lies there already: nothing is to do.

    Raises:
        UsageError: if the folder is a file, or holds anything but a run of the same settings.
    """
    wanted = json.loads(json.dumps(asdict(settings)))
    marker = folder / SETTINGS_FILE
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"The output {str(folder)!r} is a file. Name a folder.")
    if folder.is_dir() and any(folder.iterdir()):
        found = _read_settings(marker)
        is_complete = found.pop("complete", False)
        if found != wanted:
            raise UsageError(
                f"The output folder {str(folder)!r} is not empty and holds no run of these "
                f"settings (found: {found or 'other files'}). Name another folder or empty it."
            )
        if is_complete:
            yield False
            return
    made(folder)
    _write_text(marker, json.dumps({**wanted, "complete": False}, indent=2))
    yield True
    _write_text(marker, json.dumps({**wanted, "complete": True}, indent=2))


def run_jobs(
    work: Callable[[Job], list[Row]],
    output: Path,
    settings: WriteSettings,
    *,
    progress: Progress | None,
    num_workers: int | None,
) -> dict[str, list[Row]]:
    """Do all items in chunks and return the rows of each split, in order.

    Args:
        work: Writes the images of a job and returns its rows; a function of a module.
        output: Folder to write to.
        settings: What to write.
        progress: Called with the number of items that were just done, or None.
        num_workers: Processes; None takes the number of cores.

    Raises:
        UsageError: if `num_workers` is below 1.
    """
    if num_workers is not None and num_workers < 1:
        raise UsageError(f"num_workers is {num_workers}. Give at least 1.")
    jobs = [
        Job(output, settings, split, start, min(start + _CHUNK, size))
        for split, size in split_sizes(settings.num, settings.shares).items()
        for start in range(0, size, _CHUNK)
    ]
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    with _mapper(min(num_workers or os.cpu_count() or 1, len(jobs))) as run_all:
        for job, done in zip(jobs, run_all(work, jobs), strict=True):
            rows[job.split] += done
            if progress is not None:
                progress(job.stop - job.start)
    return rows


def made(folder: Path) -> Path:
    """Return the folder after making it and its parents where needed."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[..., Iterator[list[Row]]]]:
    """Give a `map` in this process, or over fresh processes that share nothing with it."""
    if workers == 1:
        yield map
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def _read_settings(marker: Path) -> dict[str, object]:
    """Return the settings that a folder was written with; empty where there are none."""
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(found) if isinstance(found, Mapping) else {}
