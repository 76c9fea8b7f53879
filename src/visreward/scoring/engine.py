"""Score a stream of samples: decode ahead, encode each thing once, keep failures apart."""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias, TypeVar

import torch

from visreward.core.errors import InputError, NonFiniteError, UsageError
from visreward.core.images import content_key
from visreward.core.types import Sample, Score
from visreward.models.base import RewardModel
from visreward.models.loaded import LoadedSample, load_sample
from visreward.scoring.records import RowError, ScoredItem, sample_name

T = TypeVar("T")

ContentKey: TypeAlias = "tuple[str, str, str]"
"""Digests of the image and of its source images, and the prompt where the model reads it."""

MAX_REMEMBERED = 100_000
"""How many distinct (image, prompt) outcomes are kept for repeats; about 50 MB."""

_MIN_WINDOW = 64


@dataclass(slots=True)
class _Outcome:
    """Where the result of one distinct (image, prompt) goes; its repeats share it.

    It holds no sample: outcomes are remembered for long, and a sample may hold a picture.
    """

    score: Score | None = None
    error: str | None = None


@dataclass(slots=True)
class _Row:
    """One input, from reading to result."""

    index: int
    entry: Sample | RowError
    keys: Future[tuple[str, str]] | None = None
    outcome: _Outcome | None = None
    is_repeat: bool = False

    def is_done(self) -> bool:
        """Return whether the result is known; a row without an outcome has failed."""
        if self.outcome is None:
            return True
        return self.outcome.score is not None or self.outcome.error is not None


@dataclass(slots=True)
class _Job:
    """One distinct (image, prompt) to score."""

    sample: Sample
    outcome: _Outcome


@dataclass(slots=True)
class _Group:
    """One distinct image on its way through a thread, and what it is scored for."""

    loading: Future[LoadedSample]
    jobs: list[_Job]


class ScoringEngine:
    """Score streams of samples with one model.

    Samples are read in windows. Within a window each distinct image is decoded and encoded once,
    in threads, while the model computes; a repeated (image, prompt) takes the result of the
    first one. At most `2 * batch_size` pictures are held decoded, and 8 source images that several
    edits may share.

    Attributes:
        model: The reward model.
        batch_size: How many distinct images go through the model at once.
        num_workers: How many threads hash, decode and prepare files.
    """

    def __init__(
        self, model: RewardModel, *, batch_size: int = 16, num_workers: int | None = None
    ) -> None:
        for name, value in (("batch_size", batch_size), ("num_workers", num_workers)):
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}. Give 1 or more.")
        self.model = model
        self.batch_size = batch_size
        self.num_workers = num_workers or min(8, os.cpu_count() or 1)

    def content_key(self, sample: Sample) -> ContentKey:
        """Return what a sample shares with its repeats.

        Raises:
            InputError: if a file is missing or cannot be read.
        """
        return self._with_prompt(_content_keys(sample), sample)

    def run(
        self,
        samples: Iterable[Sample | RowError],
        *,
        first_index: int = 0,
        known: Mapping[ContentKey, Score] | None = None,
    ) -> Iterator[ScoredItem]:
        """Score samples as they come.

        Args:
            samples: What to score. A `RowError` in between passes through as a failed item.
            first_index: Index of the first item.
            known: Scores that an earlier run of the same model gave; their repeats take them.

        Yields:
            One item per sample, in input order: a score, or the reason why there is none.
            Scores do not depend on what else is scored, up to the rounding of the model's dtype.

        Raises:
            UsageError: if a batch does not fit into the device's memory.
        """
        with ThreadPoolExecutor(self.num_workers, thread_name_prefix="decode") as pool:
            rows: deque[_Row] = deque()
            windows = _ahead(self._hashed(samples, first_index, pool))
            for batch in _ahead(self._decoded(windows, rows, pool, known or {})):
                self._score(batch)
                while rows and rows[0].is_done():
                    yield self._item(rows.popleft())

    def _hashed(
        self, samples: Iterable[Sample | RowError], first_index: int, pool: ThreadPoolExecutor
    ) -> Iterator[list[_Row]]:
        """Cut the input into windows and start naming the content of their images."""
        entries = enumerate(samples, start=first_index)
        size = max(_MIN_WINDOW, 4 * self.batch_size)
        while window := [_Row(index, entry) for index, entry in islice(entries, size)]:
            for row in window:
                if isinstance(row.entry, Sample):
                    row.keys = pool.submit(_content_keys, row.entry)
            yield window

    def _decoded(
        self,
        windows: Iterable[list[_Row]],
        rows: deque[_Row],
        pool: ThreadPoolExecutor,
        known: Mapping[ContentKey, Score],
    ) -> Iterator[list[_Group]]:
        """Plan each window's batches and start decoding; queue its rows for the result."""
        remembered: OrderedDict[ContentKey, _Outcome] = OrderedDict(
            (key, _Outcome(score=score)) for key, score in known.items()
        )
        reader = self.model.reader()
        for window in windows:
            jobs: dict[str, list[_Job]] = {}
            for row in window:
                self._assign(row, remembered, jobs)
            rows.extend(window)
            groups = list(jobs.values())
            # A window of nothing but repeats still makes a batch, so that its rows are handed on.
            for start in range(0, max(len(groups), 1), self.batch_size):
                yield [
                    _Group(pool.submit(self.model.load, group[0].sample, reader), group)
                    for group in groups[start : start + self.batch_size]
                ]

    def _assign(
        self,
        row: _Row,
        remembered: OrderedDict[ContentKey, _Outcome],
        jobs: dict[str, list[_Job]],
    ) -> None:
        """Give a row its outcome, and add to the jobs of its image where there is work to do."""
        if row.keys is None or isinstance(row.entry, RowError):
            return
        try:
            key = self._with_prompt(row.keys.result(), row.entry)
        except InputError as error:
            row.outcome = _Outcome(error=str(error))
            return
        image_key, source_key, prompt = key
        row.is_repeat = key in remembered
        row.outcome = remembered.setdefault(key, _Outcome())
        remembered.move_to_end(key)
        if row.is_repeat:
            return
        if len(remembered) > MAX_REMEMBERED:
            remembered.popitem(last=False)
        # Whether a sample is fit to be scored depends on its pictures and on a blank prompt, so
        # that the jobs of one group are fit or unfit together.
        group = f"{image_key} {source_key} {bool(prompt.strip())}"
        jobs.setdefault(group, []).append(_Job(row.entry, row.outcome))

    def _with_prompt(self, keys: tuple[str, str], sample: Sample) -> ContentKey:
        return (*keys, sample.prompt if self.model.facts.needs_prompt else "")

    def _score(self, batch: list[_Group]) -> None:
        """Fill the outcomes of one batch; empty it, so that its pictures are freed."""
        loaded: list[LoadedSample] = []
        outcomes: list[_Outcome] = []
        for group in batch:
            try:
                first = group.loading.result()
            except InputError as error:
                for job in group.jobs:
                    job.outcome.error = str(error)
                continue
            loaded += [replace(first, prompt=job.sample.prompt) for job in group.jobs]
            outcomes += [job.outcome for job in group.jobs]
        batch.clear()
        if not loaded:
            return
        try:
            for outcome, score in zip(outcomes, self._batch_scores(loaded), strict=True):
                outcome.score = score
        except (NonFiniteError, InputError):
            for outcome, sample in zip(outcomes, loaded, strict=True):
                self._score_alone(outcome, sample)

    def _batch_scores(self, loaded: list[LoadedSample]) -> list[Score]:
        try:
            return self.model.score_batch(loaded)
        except torch.OutOfMemoryError as error:
            raise UsageError(
                f"A batch of {self.batch_size} images does not fit into the memory of "
                f"{self.model.device}. Give a smaller batch size."
            ) from error

    def _score_alone(self, outcome: _Outcome, sample: LoadedSample) -> None:
        try:
            outcome.score = self._batch_scores([sample])[0]
        except NonFiniteError:
            outcome.error = (
                f"'{self.model.facts.name}' gave a score that is not finite. "
                "Check the weights, or use dtype float32."
            )
        except InputError as error:
            outcome.error = str(error)

    def _item(self, row: _Row) -> ScoredItem:
        if isinstance(row.entry, RowError):
            name, reason = row.entry.name, row.entry.reason
            return ScoredItem(index=row.index, sample=None, name=name, error=reason)
        assert row.outcome is not None
        score, error = row.outcome.score, row.outcome.error
        if error is not None and row.is_repeat:
            error = self._own_error(row.entry) or error
        name = sample_name(row.entry, row.index)
        return ScoredItem(index=row.index, sample=row.entry, name=name, score=score, error=error)

    def _own_error(self, sample: Sample) -> str | None:
        """Return why a repeat fails, under its own file name; None where loading is not why."""
        try:
            load_sample(sample, self.model.facts)
        except InputError as error:
            return str(error)
        return None


def _content_keys(sample: Sample) -> tuple[str, str]:
    return content_key(sample.image), " ".join(map(content_key, sample.sources))


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield items, each after the next one has been drawn, so that its work has started."""
    previous = next(items, None)
    for item in items:
        assert previous is not None
        yield previous
        previous = item
    if previous is not None:
        yield previous
