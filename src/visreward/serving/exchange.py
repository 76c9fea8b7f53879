"""What goes between the server and a model's process, and who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from visreward.core.types import DimensionScore, Score
from visreward.models.facts import ModelFacts
from visreward.serving.batching import Job, Part
from visreward.serving.decoding import Picture
from visreward.serving.problems import Code
from visreward.serving.workers.frames import Message
from visreward.serving.workers.shared_pixels import SharedPixels
from visreward.serving.workers.work import WorkFacts

Outcome: TypeAlias = Score | Code
"""What becomes of one candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One candidate, decoded, with what it shares with others."""

    prompt: str
    picture: Picture
    sources: tuple[Picture, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a request went through, in seconds of `time.perf_counter`."""

    name: str
    start_s: float
    end_s: float


@dataclass(eq=False, slots=True, kw_only=True)
class Ticket:
    """A job in the queue, and what its request waits for.

    Attributes:
        outcomes: A score or a code for each candidate, in order; None until it is known.
        done: Set when all are known, or with the problem of the whole.
        since: When it came into the queue, by `time.perf_counter`.
        stages: What it went through so far.
    """

    job: Job[Candidate]
    outcomes: list[Outcome | None]
    done: asyncio.Future[None]
    since: float
    stages: list[Stage] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a model's process says about its model.

    Attributes:
        facts: Of the model.
        kind: Likewise.
        work: What its work depends on.
        warm_up: The score of a picture of the process's own.
        streams: How many batches it computes at once.
    """

    facts: ModelFacts
    kind: str
    work: WorkFacts
    warm_up: float
    streams: int


def batch_message(parts: list[Part[Candidate]]) -> tuple[Message, list[SharedPixels]]:
    """Return a batch as the model's process takes it: distinct pictures once, and pixels."""
    places: dict[str, int] = {}
    images: list[Message] = []
    files: list[SharedPixels] = []

    def place(picture: Picture) -> int:
        if picture.key not in places:
            places[picture.key] = len(images)
            images.append({"key": picture.key, "width": picture.width, "height": picture.height})
            files.append(picture.pixels)
        return places[picture.key]

    items = [
        {
            "prompt": item.prompt,
            "image": place(item.picture),
            "sources": [place(source) for source in item.sources],
        }
        for part in parts
        for item in part.job.items[part.start : part.stop]
    ]
    return {"images": images, "items": items}, files


def batch_tokens(parts: list[Part[Candidate]]) -> int:
    """Return a batch's tokens, the source images of each group once."""
    groups = {part.job.group or id(part.job): part.job.shared_work for part in parts}
    items = sum(sum(part.job.item_work[part.start : part.stop]) for part in parts)
    return items + sum(groups.values())


def laid_out(seconds: Mapping[str, float], end_s: float) -> list[Stage]:
    """Return the stages of a batch one after the other, the last of them ending at a time.

    The model's process says how long each took in sum; they may alternate within a batch.
    """
    start_s = end_s - sum(seconds.values())
    stages = []
    for name, duration_s in seconds.items():
        stages.append(Stage(name=name, start_s=start_s, end_s=start_s + duration_s))
        start_s += duration_s
    return stages


def read_hello(message: Message) -> Hello:
    """Return what a process says when it is ready."""
    facts = message["facts"]
    return Hello(
        facts=ModelFacts(
            **{
                **facts,
                "dimensions": tuple(facts["dimensions"]),
                "score_range": tuple(facts["score_range"]),
            }
        ),
        kind=message["kind"],
        work=WorkFacts(**message["work"]),
        warm_up=message["warm_up"],
        streams=message["streams"],
    )


def read_outcome(result: Mapping[str, Any], facts: ModelFacts) -> Outcome:  # plain values
    """Return one item's outcome."""
    if "error" in result:
        return Code(result["error"])
    return Score(
        value=result["value"],
        sigma=result["sigma"],
        dimensions={
            name: DimensionScore(mu=mu, sigma=sigma)
            for name, (mu, sigma) in result["dimensions"].items()
        },
        model=facts.name,
        revision=facts.revision,
        notes=tuple(result["notes"]),
    )
