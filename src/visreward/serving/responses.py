"""Responses in the encoding that a client asks for."""

from __future__ import annotations

from typing import Final

import msgpack
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from visreward.serving.problems import CATALOGUE, Code, Problem
from visreward.serving.schemas import AllFailedProblem, ErrorResponse, error_body

_MSGPACK: Final = "application/msgpack"


def body_response(request: Request, body: BaseModel, status: int = 200) -> Response:
    """Return a body as msgpack where the Accept header names it, else as JSON."""
    if _MSGPACK in request.headers.get("accept", ""):
        return Response(msgpack.packb(body.model_dump(mode="json")), status, media_type=_MSGPACK)
    return Response(body.model_dump_json(), status, media_type="application/json")


def error_response(problem: Problem, request_id: str) -> Response:
    """Return a problem as JSON, with its status and its headers."""
    body = ErrorResponse(
        error=error_body(problem.code, problem.field),
        request_id=request_id,
        results=problem.results if isinstance(problem, AllFailedProblem) else None,
    )
    headers = {}
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(problem.retry_after_s)
    if problem.code is Code.UNAUTHORISED:
        headers["www-authenticate"] = "Bearer"
    return Response(
        body.model_dump_json(),
        CATALOGUE[problem.code].status,
        headers=headers,
        media_type="application/json",
    )
