"""What requests and responses look like, on the wire and in /openapi.json.

Unknown fields are refused. The same schemas serve JSON, where an image is base64 text, and msgpack,
where it may be raw bytes.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from visreward.core.types import Score
from visreward.serving.problems import CATALOGUE, Code, Problem
from visreward.serving.questions import Answer

EncodedImage: TypeAlias = Annotated[
    str | bytes,
    WithJsonSchema(
        {
            "type": "string",
            "contentEncoding": "base64",
            "description": "A JPEG, PNG or WebP file in base64; in msgpack, its bytes; where the "
            "server allows it, an http or https URL.",
        }
    ),
]
"""The bytes of an image file, or base64 text of them."""


class Schema(BaseModel):
    """Base of all schemas: frozen, and without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ScoreRequest(Schema):
    """Score some candidates for one prompt; to /v1/score and /v1/rank."""

    candidates: list[EncodedImage] = Field(description="The images to score.")
    prompt: str = Field(default="", description="The text asked for, or the edit instruction.")
    source_images: list[EncodedImage] = Field(
        default_factory=list, description="The image before the edit, or several in order."
    )
    model: str | None = Field(default=None, description="None takes the server's first model.")
    timeout_s: float | None = Field(
        default=None, gt=0, description="Seconds after which the answer is of no use."
    )


class DimensionBody(Schema):
    """What a model says about one dimension."""

    mu: float
    sigma: float | None


class ScoreBody(Schema):
    """A score; higher is better, comparable within one model and revision only."""

    value: float
    sigma: float | None
    dimensions: dict[str, DimensionBody]
    notes: list[str]


class ErrorBody(Schema):
    """Why there is no score; the message is the catalogue's sentence for the code."""

    code: Code
    message: str
    is_retryable: bool
    field: str | None = None


class ItemBody(Schema):
    """The outcome of one candidate: a score or an error, never both."""

    index: int
    score: ScoreBody | None
    error: ErrorBody | None


class ScoreResponse(Schema):
    """One outcome per candidate, in the request's order."""

    model: str
    revision: str
    results: list[ItemBody]


class RankedBody(Schema):
    """One place of a ranking; equal scores share a rank."""

    rank: int
    index: int
    score: ScoreBody


class FailedBody(Schema):
    """A candidate that has no place in a ranking."""

    index: int
    error: ErrorBody


class RankResponse(Schema):
    """Candidates best first, and those that failed."""

    model: str
    revision: str
    ranking: list[RankedBody]
    failed: list[FailedBody]


class ModelBody(Schema):
    """One served model; of a range, None is an open end."""

    name: str
    state: str
    kind: str | None = None
    revision: str | None = None
    needs_prompt: bool | None = None
    needs_source: bool | None = None
    dimensions: list[str] = Field(default_factory=list)
    score_range: tuple[float | None, float | None] = (None, None)
    licence: str = ""
    note: str = ""


class ModelsResponse(Schema):
    """All served models; the first answers requests that name none."""

    models: list[ModelBody]


class ErrorResponse(Schema):
    """A request failed; `results` are there where each of its candidates did."""

    error: ErrorBody
    request_id: str
    results: list[ItemBody] | None = None


def error_body(code: Code, field: str | None = None) -> ErrorBody:
    """Return a code with its sentence."""
    entry = CATALOGUE[code]
    return ErrorBody(code=code, message=entry.message, is_retryable=entry.is_retryable, field=field)


def score_body(score: Score) -> ScoreBody:
    """Return a score for the wire."""
    return ScoreBody(
        value=score.value,
        sigma=score.sigma,
        dimensions={
            name: DimensionBody(mu=part.mu, sigma=part.sigma)
            for name, part in score.dimensions.items()
        },
        notes=list(score.notes),
    )


def item_bodies(answer: Answer, *, field: str = "candidates") -> list[ItemBody]:
    """Return the outcome of each candidate for the wire; `field` is what the request calls them."""
    return [
        ItemBody(index=index, score=None, error=error_body(outcome, f"{field}.{index}"))
        if isinstance(outcome, Code)
        else ItemBody(index=index, score=score_body(outcome), error=None)
        for index, outcome in enumerate(answer.outcomes)
    ]


class AllFailedProblem(Problem):
    """Every candidate of a request failed; the first one's code speaks for the request."""

    def __init__(self, results: list[ItemBody]) -> None:
        first = results[0].error
        assert first is not None
        super().__init__(first.code, field=first.field)
        self.results = results


def checked_items(answer: Answer, *, field: str = "candidates") -> list[ItemBody]:
    """Return the outcomes for the wire; `field` is what the request calls the candidates.

    Raises:
        AllFailedProblem: if there is no score among them.
    """
    items = item_bodies(answer, field=field)
    if all(item.score is None for item in items):
        raise AllFailedProblem(items)
    return items
