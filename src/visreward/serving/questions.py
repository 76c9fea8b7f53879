"""What clients ask, whatever route they come by, and what they are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from visreward.models.facts import ModelFacts
from visreward.serving.batching import Job
from visreward.serving.decoding import Picture
from visreward.serving.exchange import Candidate, Hello, Outcome
from visreward.serving.problems import Code, Problem
from visreward.serving.settings import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a client wants scored, whatever route it came by.

    Attributes:
        model: Name of a served model, or None for the first.
        sources: Source images: bytes, base64 text, or URLs where those are allowed.
        candidates: Images to score, likewise.
        timeout_s: How long the answer is of use; None takes the server's limit.
        client: Whose turn it is on.
    """

    model: str | None
    prompt: str
    candidates: Sequence[str | bytes]
    sources: Sequence[str | bytes] = ()
    timeout_s: float | None = None
    client: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outcome of each candidate, in order.

    Attributes:
        num_tokens: About how many were asked of the model, as batches are counted.
    """

    facts: ModelFacts
    outcomes: tuple[Outcome, ...]
    num_tokens: int


def check_question(question: Question, facts: ModelFacts, limits: Limits) -> None:
    """Refuse what cannot be scored, before anything is decoded.

    Raises:
        Problem: naming the field.
    """
    if not question.candidates:
        raise Problem(Code.NO_CANDIDATES, field="candidates")
    if len(question.candidates) + len(question.sources) > limits.images:
        raise Problem(Code.TOO_MANY_IMAGES, field="candidates")
    if len(question.prompt) > limits.prompt_chars:
        raise Problem(Code.PROMPT_TOO_LONG, field="prompt")
    if facts.needs_prompt and not question.prompt.strip():
        raise Problem(Code.PROMPT_REQUIRED, field="prompt")
    if facts.needs_source and not question.sources:
        raise Problem(Code.SOURCE_REQUIRED, field="source_images")
    if question.sources and not facts.needs_source:
        raise Problem(Code.SOURCE_NOT_WANTED, field="source_images")


def job_of(
    question: Question, hello: Hello, sources: list[Picture], pictures: list[Picture | Code]
) -> Job[Candidate]:
    """Return the job of the candidates that could be decoded."""
    fit = [picture for picture in pictures if isinstance(picture, Picture)]
    text = hello.work.text_tokens(question.prompt)
    return Job(
        client=question.client,
        group=" ".join(source.key for source in sources),
        items=tuple(
            Candidate(prompt=question.prompt, picture=picture, sources=tuple(sources))
            for picture in fit
        ),
        item_work=tuple(text + hello.work.image_tokens(each.num_pixels) for each in fit),
        shared_work=sum(hello.work.image_tokens(source.num_pixels) for source in sources),
    )
