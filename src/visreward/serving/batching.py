"""Which candidates go to the model next: fair between clients, one source together, by work.

Plain data structures, without a clock and without a loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False, slots=True, kw_only=True)
class Job(Generic[T]):
    """The candidates of one request, which share a prompt and their source images.

    Attributes:
        client: Who asked; clients take turns by the work they cause.
        group: What the source images are; jobs with one non-empty group are batched together.
        items: The candidates.
        item_work: Tokens of each candidate with its prompt; as many as items.
        shared_work: Tokens of the source images, which a batch pays once per group.
    """

    client: str
    group: str
    items: tuple[T, ...]
    item_work: tuple[int, ...]
    shared_work: int = 0
    num_taken: int = 0

    @property
    def num_tokens(self) -> int:
        """Return the tokens of the whole."""
        return sum(self.item_work) + self.shared_work

    @property
    def num_left(self) -> int:
        """Return how many candidates wait."""
        return len(self.items) - self.num_taken

    @property
    def work_left(self) -> int:
        """Return the tokens of the candidates that wait, without the source images."""
        return sum(self.item_work[self.num_taken :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Generic[T]):
    """Some candidates of a job, in one batch."""

    job: Job[T]
    start: int
    stop: int


@dataclass(slots=True)
class _Lane(Generic[T]):
    """The jobs of one client, and the work done for it on the queue's own time scale."""

    turn: float
    jobs: deque[Job[T]] = field(default_factory=deque)


class FairQueue(Generic[T]):
    """Jobs in lanes, one for each client; the lane with the least work done is next.

    A lane that was empty starts level with the others, so that waiting earns no credit. A batch
    holds at most `max_work` tokens, or one single candidate that has more: every job ends.

    Attributes:
        work: Tokens of all candidates that wait.
    """

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane[T]] = {}
        self._turn = 0.0
        self.work = 0

    def push(self, job: Job[T]) -> None:
        """Add a job at the end of its client's lane."""
        lane = self._lanes.setdefault(job.client, _Lane(self._turn))
        lane.jobs.append(job)
        self.work += job.work_left

    def jobs(self) -> Iterator[Job[T]]:
        """Yield every job that waits."""
        for lane in self._lanes.values():
            yield from lane.jobs

    def remove(self, job: Job[T]) -> None:
        """Take a job out that nobody waits for; what is left of it, if anything is."""
        lane = self._lanes.get(job.client)
        if lane is not None and job in lane.jobs:
            lane.jobs.remove(job)
            self.work -= job.work_left
            if not lane.jobs:
                del self._lanes[job.client]

    def clear(self) -> list[Job[T]]:
        """Remove and return every job."""
        found = list(self.jobs())
        self._lanes.clear()
        self.work = 0
        return found

    def take(self, max_work: int) -> list[Part[T]]:
        """Remove and return the next batch; empty if nothing waits."""
        parts: list[Part[T]] = []
        groups: set[str] = set()
        left = max_work
        while left > 0 and (job := self._next(groups)) is not None:
            shared = 0 if job.group in groups else job.shared_work
            count, work = _fitting(job, left - shared, is_first=not parts)
            if not count:
                break
            self._charge(job, count, work=work, shared=shared)
            parts.append(Part(job=job, start=job.num_taken - count, stop=job.num_taken))
            left -= work + shared
            if job.group:
                groups.add(job.group)
        return parts

    def _next(self, groups: set[str]) -> Job[T] | None:
        """Return a job whose source images are in the batch already, else that of the next lane."""
        lanes = sorted(self._lanes.values(), key=lambda lane: lane.turn)
        if lanes:
            self._turn = max(self._turn, lanes[0].turn)
        for lane in lanes:
            for job in lane.jobs:
                if job.group in groups:
                    return job
        return lanes[0].jobs[0] if lanes else None

    def _charge(self, job: Job[T], count: int, *, work: int, shared: int) -> None:
        self._lanes[job.client].turn += work + shared
        self.work -= work
        job.num_taken += count
        if not job.num_left:
            self.remove(job)


def _fitting(job: Job[T], max_work: int, *, is_first: bool) -> tuple[int, int]:
    """Return how many of a job's next candidates fit, and their tokens.

    A job that would fit as a whole into an empty batch is not split to fill one up: its
    candidates share their source images, and a later batch would encode them again.
    """
    count = work = 0
    for tokens in job.item_work[job.num_taken :]:
        if work + tokens > max_work and not (is_first and count == 0):
            break
        count, work = count + 1, work + tokens
    is_whole = count == job.num_left
    return (count, work) if is_first or is_whole else (0, 0)
