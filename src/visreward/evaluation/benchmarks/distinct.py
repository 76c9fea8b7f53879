"""The distinct (prompt, source images, image) of groups: each is scored once."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from visreward.core.errors import DataError
from visreward.core.types import ImageSource, Sample
from visreward.data.base import ProblemLog
from visreward.data.preferences import ImageBytes
from visreward.evaluation.benchmarks.records import BenchGroup, CandidateResult, GroupResult

if TYPE_CHECKING:
    from pathlib import Path

    from visreward.data.preferences import JudgedImage


def sample_key(sample: Sample) -> bytes:
    """Return 16 bytes that stand for prompt and images, which go by path, or by content as bytes.

    Files are not opened: the same content under two names has two keys, and is left to the
    scoring engine to find.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (sample.prompt, sample.image, *sample.sources):
        data = _as_bytes(part)
        digest.update(b"%d:" % len(data) + data)
    return digest.digest()


def _as_bytes(part: ImageSource) -> bytes:
    if isinstance(part, bytes):
        return b"\0" + part
    assert isinstance(part, str | os.PathLike), "groups hold files or bytes"
    return os.fsencode(part)


class GroupStream:
    """Draws groups one by one and keeps what results need of them, which is all but the images.

    Attributes:
        results: The groups drawn so far, without any answers.
        places: For each of them, its place in the sequence.
        ends: For each of them, how many distinct samples were drawn up to its end.
        problems: Groups that could not be made.
    """

    def __init__(self, groups: Sequence[BenchGroup], *, limit: int | None = None) -> None:
        """Take the groups; none is made yet.

        Args:
            groups: In order.
            limit: How many of them are drawn; None means all.
        """
        self._groups = groups
        self._num = len(groups) if limit is None else min(limit, len(groups))
        self._keys: dict[bytes, int] = {}
        self._indices = array("q")
        self.results: list[GroupResult] = []
        self.places: list[int] = []
        self.ends = array("q")
        self.problems = ProblemLog()

    def __len__(self) -> int:
        return self._num

    def groups(self) -> Iterator[BenchGroup]:
        """Yield the groups, once; one that cannot be made is a problem."""
        for place in range(self._num):
            try:
                group = self._groups[place]
            except DataError as error:
                self.problems.add("group that cannot be read", [str(error)])
                continue
            self.results.append(_without_answers(group))
            self.places.append(place)
            yield group

    def samples(self) -> Iterator[Sample]:
        """Yield each distinct sample of the groups once, in the order of first sight."""
        for group in self.groups():
            row = group.row
            for place, image in enumerate(row.images):
                sample = Sample(
                    prompt=row.prompt,
                    image=image.source,
                    source_image=row.source_image,
                    id=_sample_id(group, place),
                )
                key = sample_key(sample)
                is_new = key not in self._keys
                self._indices.append(self._keys.setdefault(key, len(self._keys)))
                if is_new:
                    yield sample
            self.ends.append(len(self._keys))

    def indices(self) -> Iterator[tuple[GroupResult, list[int]]]:
        """Yield each group with the number of each candidate's distinct sample."""
        start = 0
        for result in self.results:
            stop = start + len(result.candidates)
            yield result, self._indices[start:stop].tolist()
            start = stop


def _sample_id(group: BenchGroup, place: int) -> str:
    """Return what a score log knows a sample by; of bytes, their content is part of it."""
    image = group.row.images[place].image
    if not isinstance(image, ImageBytes):
        return f"{group.row.id}/{place}"
    digest = hashlib.blake2b(image.data, digest_size=8).hexdigest()
    return f"{group.row.id}/{place} ({digest})"


def _without_answers(group: BenchGroup) -> GroupResult:
    row = group.row
    return GroupResult(
        id=row.id,
        prompt=row.prompt,
        sources=tuple(_name(source) for source in row.sources),
        candidates=tuple(_candidate(image) for image in row.images),
        category=group.category,
        cluster=group.cluster,
    )


def _candidate(image: JudgedImage) -> CandidateResult:
    return CandidateResult(
        image=_name(image.image),
        generator=image.generator,
        rank=image.rank,
        human=image.overall,
    )


def _name(image: Path | ImageBytes) -> str:
    if isinstance(image, ImageBytes):
        return image.name
    return os.fsencode(image).decode("utf-8", "replace")
