"""Who scores candidates alone: a reward model in an engine, which resumes, and chance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from visreward.core.errors import InputError
from visreward.core.types import Sample, Score
from visreward.evaluation.benchmarks.distinct import sample_key
from visreward.scoring.records import RowError, ScoredItem, sample_name
from visreward.scoring.score_log import ScoreLog

if TYPE_CHECKING:
    from visreward.scoring.engine import ContentKey, ScoringEngine

RANDOM: Final = "random"

MAX_KNOWN: Final = 100_000
"""How many scores of an interrupted run are held for repeats of their images; about 50 MB."""


class EngineScorer:
    """A reward model that keeps a log of its scores, and goes on where an earlier run stopped.

    Attributes:
        name: What results call the model.
        num_resumed: How many scores the log held when scoring began.
    """

    def __init__(
        self, engine: ScoringEngine, *, name: str, log: Path, dtype: str = "float32"
    ) -> None:
        """Prepare a scorer; nothing is read or written yet.

        Args:
            engine: Holds the model.
            name: What results call it.
            log: File of scores, one JSON object a line; its folder is there.
            dtype: What the model computes in. Where that is not float32, it is part of the
                revision, so that scores of two dtypes are never mixed.
        """
        self.name = name
        self.num_resumed = 0
        self._engine, self._log_path = engine, log
        revision = engine.model.facts.revision
        self._revision = revision if dtype == "float32" else f"{revision} {dtype}"

    @property
    def revision(self) -> str:
        """Return which weights they are."""
        return self._revision

    def run(self, samples: Iterable[Sample | RowError]) -> Iterator[ScoredItem]:
        """Score samples as they come: one item each, in order, a score or a reason.

        Raises:
            DataError: if the log is of other samples or of another model.
        """
        facts = replace(self._engine.model.facts, name=self.name, revision=self._revision)
        entries = iter(samples)
        known: dict[ContentKey, Score] = {}
        log = ScoreLog(self._log_path, facts)
        with log:
            for item in log.resume(entries):
                self._remember(item, known)
                yield item
            self.num_resumed = log.num_done
            for item in self._engine.run(entries, first_index=log.num_done, known=known):
                log.write(item)
                yield item

    def _remember(self, item: ScoredItem, known: dict[ContentKey, Score]) -> None:
        """Keep a score for images of the same content under other names."""
        if item.score is None or item.sample is None or len(known) >= MAX_KNOWN:
            return
        try:
            known.setdefault(self._engine.content_key(item.sample), item.score)
        except InputError:  # the file went away; what was scored stays scored
            return


class RandomScorer:
    """Chance: a uniform score in [0, 1) that depends on the seed and the sample only.

    No image is opened, so that one that is missing has a score as well.

    Attributes:
        name: What results call it.
    """

    def __init__(self, *, seed: int = 0, name: str = RANDOM) -> None:
        self.name = name
        self._seed = seed

    @property
    def revision(self) -> str:
        """Return the seed."""
        return f"seed-{self._seed}"

    def run(self, samples: Iterable[Sample | RowError]) -> Iterator[ScoredItem]:
        """Draw a score for each sample; deterministic."""
        for index, entry in enumerate(samples):
            if isinstance(entry, RowError):
                yield ScoredItem(index=index, sample=None, name=entry.name, error=entry.reason)
                continue
            digest = hashlib.sha256(f"{self._seed} ".encode() + sample_key(entry)).digest()
            value = int.from_bytes(digest[:6], "big") / 2**48
            score = Score(value=value, model=self.name, revision=self.revision)
            yield ScoredItem(index=index, sample=entry, name=sample_name(entry, index), score=score)
