"""Read a request's body within its limits, and make it what its route takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

import msgpack
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from visreward.serving.problems import Code, Problem
from visreward.serving.schemas import ScoreRequest
from visreward.serving.settings import Limits

M = TypeVar("M", bound=BaseModel)

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
MULTIPART: Final = "multipart/form-data"

_FORM_FIELDS: Final = 8
_FIELD_BYTES: Final = 64 << 10


class _InMemoryParser(MultiPartParser):
    """Keep uploads in memory: the whole body is there already, and within its limit."""

    spool_max_size = 0


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return the whole body, counted while it comes.

    Raises:
        Problem: if it is too large or too slow, or the client is gone.
    """
    declared = request.headers.get("content-length", "0")
    chunks: list[bytes] = []
    num_bytes = int(declared) if declared.isdecimal() else 0
    try:
        async with asyncio.timeout(limits.body_s):
            if num_bytes <= limits.body_bytes:
                num_bytes = 0
                async for chunk in request.stream():
                    num_bytes += len(chunk)
                    if num_bytes > limits.body_bytes:
                        break
                    chunks.append(chunk)
            if num_bytes > limits.body_bytes:
                raise Problem(Code.BODY_TOO_LARGE)
    except TimeoutError:
        raise Problem(Code.BODY_TOO_SLOW) from None
    except ClientDisconnect:
        raise Problem(Code.CANCELLED) from None
    return b"".join(chunks)


def content_type(request: Request) -> str:
    """Return a request's content type, without parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_model(request: Request, schema: type[M], limits: Limits) -> M:
    """Return a JSON or msgpack body as a schema.

    Raises:
        Problem: if it cannot be read or does not fit; names the field.
    """
    kind = content_type(request)
    if kind not in (JSON, MSGPACK):
        raise Problem(Code.UNSUPPORTED_CONTENT_TYPE)
    body = await read_body(request, limits)
    try:
        if kind == JSON:
            return schema.model_validate_json(body)
        return schema.model_validate(_unpacked(body))
    except ValidationError as error:
        raise _problem(error, schema) from None


async def read_score_request(request: Request, limits: Limits) -> ScoreRequest:
    """Return a JSON, msgpack or multipart body as a score request.

    Raises:
        Problem: likewise.
    """
    if content_type(request) != MULTIPART:
        return await read_model(request, ScoreRequest, limits)
    body = await read_body(request, limits)

    async def whole() -> AsyncIterator[bytes]:
        yield body

    parser = _InMemoryParser(
        request.headers,
        whole(),  # type: ignore[arg-type]  # any async iterator will do
        max_files=limits.images,
        max_fields=_FORM_FIELDS,
        max_part_size=_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError, ValueError):
        raise Problem(Code.NOT_MULTIPART) from None
    try:
        values = {name: await _form_value(form, name) for name in form}
        return ScoreRequest.model_validate(values)
    except ValidationError as error:
        raise _problem(error, ScoreRequest) from None
    finally:
        await form.close()


async def _form_value(form: FormData, name: str) -> Any:  # noqa: ANN401  the schema checks it
    entries = form.getlist(name)
    if name in ("candidates", "source_images"):
        return [await entry.read() if isinstance(entry, UploadFile) else entry for entry in entries]
    if len(entries) > 1 or isinstance(entries[0], UploadFile):
        if name not in ScoreRequest.model_fields:
            raise Problem(Code.UNKNOWN_FIELD)
        raise Problem(Code.INVALID_REQUEST, field=name)
    if name == "timeout_s":
        try:
            return float(entries[0])
        except ValueError:
            raise Problem(Code.INVALID_REQUEST, field=name) from None
    return entries[0]


def _unpacked(body: bytes) -> Any:  # noqa: ANN401  the schema checks it
    try:
        return msgpack.unpackb(body, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError):
        raise Problem(Code.NOT_MSGPACK) from None


def _problem(error: ValidationError, schema: type[BaseModel]) -> Problem:
    """Return the first thing wrong, by the name of its field where the name is one of ours."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Problem(Code.NOT_JSON)
    place = first["loc"]
    if first["type"] == "extra_forbidden":
        return Problem(Code.UNKNOWN_FIELD)  # without its name, which is the client's own text
    if not place or place[0] not in schema.model_fields:
        return Problem(Code.INVALID_REQUEST)
    index = place[1] if len(place) > 1 and isinstance(place[1], int) else None
    field = str(place[0]) if index is None else f"{place[0]}.{index}"
    return Problem(Code.INVALID_REQUEST, field=field)
