"""The HTTP application: routes, and the errors that they end in."""

from __future__ import annotations

import math
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from visreward import __version__
from visreward.core.types import Score
from visreward.models.ranked import order
from visreward.serving import bodies
from visreward.serving.compatible import router as compatible_router
from visreward.serving.disconnects import until_disconnected
from visreward.serving.flow_grpo_route import router as flow_grpo_router
from visreward.serving.model_host import ModelHost
from visreward.serving.openapi import describe_bodies, documented
from visreward.serving.problems import Code, Problem
from visreward.serving.questions import Answer, Question
from visreward.serving.responses import body_response, error_response
from visreward.serving.schemas import (
    FailedBody,
    ModelBody,
    ModelsResponse,
    RankedBody,
    RankResponse,
    ScoreRequest,
    ScoreResponse,
    checked_items,
    score_body,
)
from visreward.serving.service import RewardService, service_of

_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

router = APIRouter()


def create_app(service: RewardService) -> FastAPI:
    """Return the application of a service; `Gate` must stand before it."""
    app = FastAPI(title="visreward", version=__version__, docs_url=None, redoc_url=None)
    app.state.service = service
    app.include_router(router)
    app.include_router(compatible_router)
    if service.settings.has_flow_grpo:
        app.include_router(flow_grpo_router)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)
    describe_bodies(app)
    return app


@router.get("/live")
async def live() -> Response:
    """Say that the server runs."""
    return JSONResponse({"live": True})


@router.get("/ready", responses={503: {"description": "A model starts, or the server stops."}})
async def ready(request: Request) -> Response:
    """Say whether every model has scored its warm-up and new requests are taken."""
    is_ready = service_of(request).is_ready
    return JSONResponse({"ready": is_ready}, status_code=200 if is_ready else 503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return the server's metrics in the Prometheus text format."""
    return Response(service_of(request).metrics.text(), media_type=_METRICS_TYPE)


@router.get("/v1/models", **documented(ModelsResponse))
async def models(request: Request) -> Response:
    """List the served models, and what each of them needs."""
    hosts = service_of(request).hosts.values()
    return body_response(request, ModelsResponse(models=[_model_body(host) for host in hosts]))


@router.post("/v1/score", **documented(ScoreResponse, takes=ScoreRequest))
async def score(request: Request) -> Response:
    """Score some candidates for one prompt."""
    answer = await _answer(request)
    body = ScoreResponse(
        model=answer.facts.name, revision=answer.facts.revision, results=checked_items(answer)
    )
    return body_response(request, body)


@router.post("/v1/rank", **documented(RankResponse, takes=ScoreRequest))
async def rank(request: Request) -> Response:
    """Rank some candidates for one prompt, best first; those that failed are listed apart."""
    answer = await _answer(request)
    items = checked_items(answer)
    fit = [index for index, each in enumerate(answer.outcomes) if isinstance(each, Score)]
    scores = [each for each in answer.outcomes if isinstance(each, Score)]
    body = RankResponse(
        model=answer.facts.name,
        revision=answer.facts.revision,
        ranking=[
            RankedBody(rank=place.rank, index=fit[place.index], score=score_body(place.score))
            for place in order(scores)
        ],
        failed=[
            FailedBody(index=item.index, error=item.error)
            for item in items
            if item.error is not None
        ],
    )
    return body_response(request, body)


async def _answer(request: Request) -> Answer:
    service = service_of(request)
    asked = await bodies.read_score_request(request, service.settings.limits)
    question = Question(
        model=asked.model,
        prompt=asked.prompt,
        candidates=asked.candidates,
        sources=asked.source_images,
        timeout_s=asked.timeout_s,
        client=request.state.client,
    )
    return await until_disconnected(request, service.score(question))


def _model_body(host: ModelHost) -> ModelBody:
    if host.hello is None:
        return ModelBody(name=host.setup.name, state=host.state)
    facts = host.hello.facts
    low, high = (end if math.isfinite(end) else None for end in facts.score_range)
    return ModelBody(
        name=host.setup.name,
        state=host.state,
        kind=host.hello.kind,
        revision=facts.revision,
        needs_prompt=facts.needs_prompt,
        needs_source=facts.needs_source,
        dimensions=list(facts.dimensions),
        score_range=(low, high),
        licence=facts.licence,
        note=facts.note,
    )


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    service_of(request).metrics.rejections.labels(error.code.value).inc()
    return error_response(error, request.state.request_id)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}
    code = codes.get(error.status_code, Code.INVALID_REQUEST)
    return error_response(Problem(code), request.state.request_id)


async def _on_bug(request: Request, _error: Exception) -> Response:
    return error_response(Problem(Code.INTERNAL_ERROR), request.state.request_id)
