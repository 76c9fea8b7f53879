"""The same scores in others' shapes: /rerank of vLLM and Cohere, /score of UniRL.

A failed item is never a number here either: it is missing among the results and named under
`errors`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from typing import Annotated, Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from visreward.core.types import Score
from visreward.serving.bodies import read_model
from visreward.serving.disconnects import until_disconnected
from visreward.serving.model_host import ModelHost
from visreward.serving.openapi import documented
from visreward.serving.problems import Code, Problem
from visreward.serving.questions import Question
from visreward.serving.responses import body_response
from visreward.serving.schemas import ErrorBody, checked_items, error_body
from visreward.serving.service import RewardService, service_of

router = APIRouter()

UNIRL_DIMENSIONS: Final = {
    "instruction_following": "edit_following",
    "visual_quality": "edit_quality",
}
"""UniRL's names of our dimensions."""

_RERANK_FIELDS: Final = {"candidates": "documents", "source_images": "query", "prompt": "query"}


class ForeignSchema(BaseModel):
    """Base of requests whose fields are others' to name: what we do not know is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ImageURL(ForeignSchema):
    """Where vLLM looks for an image; a `data:` URI, or a URL where the server allows those."""

    url: str


class TextPart(ForeignSchema):
    """Words."""

    type: Literal["text"]
    text: str


class ImagePart(ForeignSchema):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageURL


class Content(ForeignSchema):
    """Words and images, in order."""

    content: list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]

    def images(self) -> list[str]:
        """Return the images as `data:` URIs or URLs."""
        return [part.image_url.url for part in self.content if isinstance(part, ImagePart)]

    def text(self) -> str:
        """Return the words."""
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))


class RerankRequest(ForeignSchema):
    """Query = prompt, and source images for an edit; documents = candidates."""

    query: str | Content
    documents: list[str | Content]
    model: str | None = None
    top_n: int | None = Field(default=None, ge=0)


class RerankDocument(ForeignSchema):
    """A document is named by its index; its image is not sent back."""

    text: str | None = None


class RerankResult(ForeignSchema):
    """One candidate; the relevance score is the model's score, of any size and sign."""

    index: int
    document: RerankDocument
    relevance_score: float


class RerankUsage(ForeignSchema):
    """About how many tokens the model saw, as batches are counted."""

    total_tokens: int


class RerankError(ForeignSchema):
    """A candidate without a score."""

    index: int
    error: ErrorBody


class RerankResponse(ForeignSchema):
    """Candidates with the best score first."""

    id: str
    model: str
    usage: RerankUsage
    results: list[RerankResult]
    errors: list[RerankError]


class Turn(ForeignSchema):
    """One turn of UniRL's history."""

    text: str = ""
    image_b64: str | None = None


class UniRLItem(ForeignSchema):
    """Turn 0: instruction and source image, turn 1: edited image; or one turn: prompt and image."""

    history: list[Turn] = Field(min_length=1, max_length=2)
    required_rewards: list[str] = Field(min_length=1, max_length=16)


class UniRLRequest(ForeignSchema):
    """Several items, each for several models."""

    requests: list[UniRLItem] = Field(min_length=1)


class UniRLResponse(ForeignSchema):
    """For each item: numbers by model and dimension, and messages by model where there are none."""

    results: list[dict[str, dict[str, float]]]
    errors: list[dict[str, str]]


@router.post("/rerank", **documented(RerankResponse, takes=RerankRequest, is_json=True))
@router.post("/v1/rerank", **documented(RerankResponse, takes=RerankRequest, is_json=True))
@router.post("/v2/rerank", **documented(RerankResponse, takes=RerankRequest, is_json=True))
async def rerank(request: Request) -> Response:
    """Rank candidates in the shape of vLLM and Cohere, at all the paths that their clients use."""
    service = service_of(request)
    asked = await read_model(request, RerankRequest, service.settings.limits)
    query = asked.query
    question = Question(
        model=asked.model,
        prompt=query if isinstance(query, str) else query.text(),
        sources=() if isinstance(query, str) else query.images(),
        candidates=[_document_image(each, place) for place, each in enumerate(asked.documents)],
        client=request.state.client,
    )
    try:
        answer = await until_disconnected(request, service.score(question))
    except Problem as problem:
        name, dot, number = (problem.field or "").partition(".")
        renamed = _RERANK_FIELDS.get(name, name)
        problem.field = (renamed if renamed == "query" else renamed + dot + number) or None
        raise
    items = checked_items(answer, field="documents")
    results = [
        RerankResult(index=index, document=RerankDocument(), relevance_score=outcome.value)
        for index, outcome in enumerate(answer.outcomes)
        if isinstance(outcome, Score)
    ]
    results.sort(key=lambda result: -result.relevance_score)
    body = RerankResponse(
        id=f"rerank-{uuid.uuid4().hex}",
        model=answer.facts.name,
        usage=RerankUsage(total_tokens=answer.num_tokens),
        results=results[: asked.top_n],
        errors=[RerankError(index=each.index, error=each.error) for each in items if each.error],
    )
    return body_response(request, body)


@router.post("/score", **documented(UniRLResponse, takes=UniRLRequest, is_json=True))
async def score(request: Request) -> Response:
    """Score items in the shape of UniRL."""
    service = service_of(request)
    asked = await read_model(request, UniRLRequest, service.settings.limits)
    pairs = [(item, name) for item in asked.requests for name in item.required_rewards]
    if len(pairs) > service.settings.limits.images:
        raise Problem(Code.TOO_MANY_IMAGES, field="requests")
    work = (_unirl_reward(service, item, name, request.state.client) for item, name in pairs)
    found = iter(await until_disconnected(request, _gathered(*work)))
    results: list[dict[str, dict[str, float]]] = []
    errors: list[dict[str, str]] = []
    for item in asked.requests:
        outcomes = {name: next(found) for name in item.required_rewards}
        results.append({name: each for name, each in outcomes.items() if isinstance(each, dict)})
        errors.append(
            {name: _sentence(each) for name, each in outcomes.items() if isinstance(each, Code)}
        )
    return body_response(request, UniRLResponse(results=results, errors=errors))


@router.get("/health")
async def health(request: Request) -> Response:
    """Say in UniRL's shape whether the models score."""
    is_ready = service_of(request).is_ready
    return JSONResponse(
        {"status": "ok" if is_ready else "starting"}, status_code=200 if is_ready else 503
    )


@router.get("/rewards")
async def rewards(request: Request) -> Response:
    """List the names that `required_rewards` may hold."""
    return JSONResponse({"rewards": list(service_of(request).hosts)})


async def _gathered(
    *work: Coroutine[None, None, dict[str, float] | Code],
) -> list[dict[str, float] | Code]:
    return await asyncio.gather(*work)


async def _unirl_reward(
    service: RewardService, item: UniRLItem, name: str, client: str
) -> dict[str, float] | Code:
    """Return one item's numbers under one model; what another try may mend is raised instead."""
    first, last = item.history[0], item.history[-1]
    is_edit = len(item.history) == 2
    if last.image_b64 is None or (is_edit and first.image_b64 is None):
        return Code.IMAGE_EMPTY
    sources = (first.image_b64,) if is_edit and first.image_b64 is not None else ()
    try:
        question = Question(
            model=_named(service, name).setup.name,
            prompt=first.text,
            candidates=(last.image_b64,),
            sources=sources,
            client=client,
        )
        outcome = (await service.score(question)).outcomes[0]
    except Problem as problem:
        if problem.entry.is_retryable:
            raise
        return problem.code
    if isinstance(outcome, Code):
        return outcome
    parts = {
        UNIRL_DIMENSIONS.get(dimension, dimension): part.mu
        for dimension, part in outcome.dimensions.items()
    }
    return parts or {"score": outcome.value}


def _named(service: RewardService, name: str) -> ModelHost:
    """Return the model of a name, or of a kind such as `editreward` where one model is of it."""
    if name in service.hosts:
        return service.hosts[name]
    kin = [
        host
        for host in service.hosts.values()
        if host.hello is not None and host.hello.kind == name
    ]
    return kin[0] if len(kin) == 1 else service.host(name)


def _document_image(document: str | Content, place: int) -> str:
    if isinstance(document, str):
        return document
    images = document.images()
    if len(images) != 1:
        raise Problem(Code.INVALID_REQUEST, field=f"documents.{place}")
    return images[0]


def _sentence(code: Code) -> str:
    return f"{code.value}: {error_body(code).message}"
